"""What a value of an event may be, wherever it comes from: amounts and instants never pass through a float."""

import re
from datetime import datetime
from decimal import Decimal
from typing import Any

from panther_pipeline.ledger.texts import SCIENTIFIC_ID
from panther_pipeline.units import from_us, to_us

MAX_ID_CHARS = 128
MAX_CATEGORY_CHARS = 256
LARGEST_NUMBER = 10**18
AMOUNT = r"-?[0-9]{1,15}(\.[0-9]{1,2})?"
_AMOUNT = re.compile(AMOUNT)
_UNUSABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # control characters, halves of surrogate pairs
_ROUNDED = re.compile(SCIENTIFIC_ID)
_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_INSTANT_WORDS = "must be ISO 8601 text with seconds and an offset, such as '2024-12-31T23:59:59.5+01:00'"


class RefusedValueError(ValueError):
    """Says what is allowed, and nothing of what was sent; `reason` is a code for it."""

    def __init__(self, reason: str, allowed: str) -> None:
        super().__init__(allowed)
        self.reason = reason


def read_id(value: Any) -> str:
    """An id of a user, an event or a counterparty, as in the ledger.

    Raises:
        RefusedValueError: not_text, wrong_length (1 to 128 characters), control_character, malformed_id (white space
            around it, or what a float has made of a number).
    """
    text = _read_text(value, MAX_ID_CHARS)
    if text != text.strip() or _ROUNDED.fullmatch(text):
        raise RefusedValueError(
            "malformed_id", "must be an id without white space around it, and not a rounded number such as 4.1E+15"
        )
    return text


def read_category(value: Any) -> str:
    """A value of an attribute that is a category.

    Raises:
        RefusedValueError: not_text, wrong_length (1 to 256 characters), control_character.
    """
    return _read_text(value, MAX_CATEGORY_CHARS)


def _read_text(value: Any, most: int) -> str:
    if not isinstance(value, str):
        raise RefusedValueError("not_text", "must be text, as in the ledger")
    if not 1 <= len(value) <= most:
        raise RefusedValueError("wrong_length", f"must have 1 to {most} characters")
    if _UNUSABLE.search(value):
        raise RefusedValueError("control_character", "must have no control characters and be writable in UTF-8")
    return value


def check_number(value: Any) -> None:
    """Refuse what is no value of an attribute that is a number.

    Raises:
        RefusedValueError: not_a_number, out_of_range.
    """
    allowed = f"must be a number of at most {LARGEST_NUMBER:.0e}"
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise RefusedValueError("not_a_number", allowed)
    if value != value or abs(value) > LARGEST_NUMBER:  # NaN is not what it is
        raise RefusedValueError("out_of_range", allowed)


def read_amount(text: Any, lowest: int, highest: int) -> int:
    """Cents of an amount in decimal text, exactly.

    Args:
        text: such as '12.50'.
        lowest: cents, inclusive.
        highest: likewise.

    Raises:
        RefusedValueError: not_an_amount, out_of_range.

    Example:
        >>> read_amount("-0.29", -100, 100)
        -29
    """
    if not isinstance(text, str) or not _AMOUNT.fullmatch(text):
        raise RefusedValueError("not_an_amount", describe_amount(lowest, highest))
    cents = int(Decimal(text) * 100)
    check_cents(cents, lowest, highest)
    return cents


def check_cents(cents: int, lowest: int, highest: int) -> None:
    """Refuse an amount outside its range.

    Raises:
        RefusedValueError: out_of_range.
    """
    if not lowest <= cents <= highest:
        raise RefusedValueError("out_of_range", describe_amount(lowest, highest))


def describe_amount(lowest: int, highest: int) -> str:
    """What is allowed, for errors; lowest and highest in cents."""
    return f"must be text such as '12.50', at most 2 decimals, {in_units(lowest)} to {in_units(highest)}"


def in_units(cents: int) -> str:
    """An amount as `read_amount` reads it.

    Example:
        >>> in_units(-29)
        '-0.29'
    """
    sign = "-" if cents < 0 else ""
    return f"{sign}{abs(cents) // 100}.{abs(cents) % 100:02d}"


def read_instant(text: Any) -> int:
    """Microseconds UTC of an instant with an offset.

    Raises:
        RefusedValueError: not_an_instant_with_offset, no_such_instant.

    Example:
        >>> read_instant("1970-01-01T01:00:00.5+01:00")
        500000
    """
    if not isinstance(text, str) or not _INSTANT.fullmatch(text):
        raise RefusedValueError("not_an_instant_with_offset", _INSTANT_WORDS)
    try:
        instant = datetime.fromisoformat(text.upper())
    except ValueError:
        raise RefusedValueError("no_such_instant", f"{_INSTANT_WORDS}; there is no such instant") from None
    return to_us(instant)


def check_instant(time_us: int, earliest_us: int, latest_us: int) -> None:
    """Refuse the instant of an event outside the range of its ledger.

    Raises:
        RefusedValueError: out_of_range.
    """
    if not earliest_us <= time_us <= latest_us:
        first, last = (write_instant(us) for us in (earliest_us, latest_us))
        raise RefusedValueError("out_of_range", f"must lie between {first} and {last}")


def write_instant(time_us: int) -> str:
    """Microseconds UTC as `read_instant` reads them.

    Example:
        >>> write_instant(500_000)
        '1970-01-01T00:00:00.500000+00:00'
    """
    return from_us(time_us).isoformat()
