"""Card numbers where an id or a category is expected: they are refused, so that none enters the state or a log."""

import re

_GROUPS = re.compile(r"[0-9]+(?:[ .-][0-9]+)*")
_FEWEST_DIGITS, _MOST_DIGITS = 13, 19
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)  # twice a digit, its digits added


def holds_card_number(text: str) -> bool:
    """Whether 13 to 19 digits that satisfy the Luhn check stand in a text.

    They stand alone or in groups of 3 to 6 (4-4-4-4, 4-6-5) with a blank, '-' or '.' between; smaller groups, as in a
    date and time, are not read as one number.

    Source: ISO/IEC 7812-1, annex B (Luhn).

    Example:
        >>> holds_card_number("card 4111-1111-1111-1111"), holds_card_number("4111111111111112")
        (True, False)
    """
    if len(text) < _FEWEST_DIGITS:
        return False
    return any(_is_card(re.split("[ .-]", match)) for match in _GROUPS.findall(text))


def _is_card(groups: list[str]) -> bool:
    if any(_is_luhn(group) for group in groups):
        return True
    for first in range(len(groups)):
        digits = ""
        for group in groups[first:]:
            digits += group
            if not 3 <= len(group) <= 6 or len(digits) > _MOST_DIGITS:
                break
            if _is_luhn(digits):
                return True
    return False


def _is_luhn(digits: str) -> bool:
    if not _FEWEST_DIGITS <= len(digits) <= _MOST_DIGITS:
        return False
    numbers = [int(digit) for digit in reversed(digits)]
    return (sum(numbers[::2]) + sum(_DOUBLED[number] for number in numbers[1::2])) % 10 == 0 and any(numbers)
