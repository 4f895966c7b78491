"""Card numbers in a text: where they stand, and the text without them."""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

MASK = "[card number]"
_BETWEEN = r" .\-\u00a0\u202f\u2010-\u2015\u2212"  # blanks, dashes and the dot
SEPARATOR = rf"\\?[{_BETWEEN}]"  # the backslash is what ingestion writes before a '-' within an id
# What every text that holds one matches, and few others; no digit is asked for first, since that makes it slow.
MAY_HOLD_ONE = rf"[0-9\\{_BETWEEN}]{{13}}"
_GROUPS = re.compile(rf"[0-9]+(?:{SEPARATOR}[0-9]+)*")
_GROUP = re.compile("[0-9]+")
# What a float or a spreadsheet makes of a long number; with all its digits it is still the number.
_SCIENTIFIC = re.compile(r"(?<![0-9])([0-9])\.([0-9]{12,18})(?=[eE]\+?(1[2-8])(?![0-9]))")
_FEWEST_DIGITS, _MOST_DIGITS = 13, 19
_MOST_GROUPS = _MOST_DIGITS // 3
_DOUBLED = bytes.maketrans(b"0123456789", b"0246813579")  # twice a digit, its digits added


class CardNumber(NamedTuple):
    """A card number in a text, or several that share digits."""

    start: int
    end: int
    digits: str  # without what separates them


def holds_card_number(text: str) -> bool:
    """Whether 13 to 19 digits that satisfy the Luhn check stand in a text.

    They stand alone or in groups of 3 to 6 (4-4-4-4, 4-6-5) with a blank, a dash or '.' between; smaller groups, as in
    a date and time, are not read as one number.

    Source: ISO/IEC 7812-1, annex B (Luhn).

    Example:
        >>> holds_card_number("card 4111-1111-1111-1111"), holds_card_number("4111111111111112")
        (True, False)
    """
    return next(find_card_numbers(text), None) is not None


def mask_card_numbers(text: str) -> str:
    """The text with `[card number]` in place of each: no digit of it is left.

    Example:
        >>> mask_card_numbers("paid with 4111 1111 1111 1111 in May")
        'paid with [card number] in May'
    """
    return replace_card_numbers(text, lambda digits: MASK)


def replace_card_numbers(text: str, replacement: Callable[[str], str]) -> str:
    """The text with `replacement(digits)` in place of each card number; letters must stand at both its ends.

    A replacement that began or ended in digits could make a new number together with what stands beside it.
    """
    parts, done = [], 0
    for number in find_card_numbers(text):
        parts += [text[done : number.start], replacement(number.digits)]
        done = number.end
    return "".join([*parts, text[done:]]) if parts else text


def find_card_numbers(text: str) -> Iterator[CardNumber]:
    """The card numbers of a text from left to right; those that share digits are told as one."""
    if len(text) < _FEWEST_DIGITS:
        return
    if text.isdecimal() and text.isascii():  # nearly all that is looked at
        if _is_luhn(text):
            yield CardNumber(0, len(text), text)
        return
    last = None
    for number in sorted([*_find_grouped(text), *_find_scientific(text)]):
        if last is not None and number.start < last.end:
            end = max(last.end, number.end)
            last = CardNumber(last.start, end, "".join(_GROUP.findall(text[last.start : end])))
            continue
        if last is not None:
            yield last
        last = number
    if last is not None:
        yield last


def _find_grouped(text: str) -> Iterator[CardNumber]:
    for match in _GROUPS.finditer(text):
        groups = list(_GROUP.finditer(text, match.start(), match.end()))
        for first, group in enumerate(groups):
            if _is_luhn(group[0]):
                yield CardNumber(group.start(), group.end(), group[0])
            digits = ""
            for other in groups[first : first + _MOST_GROUPS]:
                digits += other[0]
                if not 3 <= len(other[0]) <= 6 or len(digits) > _MOST_DIGITS:
                    break
                if _is_luhn(digits):
                    yield CardNumber(group.start(), other.end(), digits)


def _find_scientific(text: str) -> Iterator[CardNumber]:
    for match in _SCIENTIFIC.finditer(text):
        digits = (match[1] + match[2]).ljust(int(match[3]) + 1, "0")
        if _is_luhn(digits):
            yield CardNumber(match.start(), match.end(), digits)


def _is_luhn(digits: str) -> bool:
    if not _FEWEST_DIGITS <= len(digits) <= _MOST_DIGITS:
        return False
    backwards = digits.encode()[::-1]
    total = sum(backwards[::2]) + sum(backwards[1::2].translate(_DOUBLED)) - ord("0") * len(digits)
    return total > 0 and total % 10 == 0
