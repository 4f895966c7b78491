"""JSON as the standard says, and less: what other parsers read in two ways is refused.

The parser of the standard library accepts NaN, keeps the last of two equal keys, lets a lone surrogate through that no
encoder can write again, and turns 1e999 into infinity. Here each of these has a reason code. Numbers with a point or an
exponent become `Decimal`, so that an amount never passes through a float.
"""

import json
import re
from decimal import Decimal
from typing import Any, NoReturn

MAX_DEPTH = 8
_MOST_DIGITS = 32  # of a number as it is written; int64 has 19
_LARGEST_EXPONENT = 400  # a float ends at 308 and begins at -324
_UNUSABLE = re.compile("[\x00\ud800-\udfff]")


class MalformedJson(ValueError):
    """The text is not JSON that is accepted here; `reason` says why and holds nothing of the text."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def parse_json(raw: bytes) -> Any:
    """The value of a JSON text.

    Args:
        raw: UTF-8 without byte order mark.

    Returns:
        dicts, lists, str, int, Decimal, bool, None.

    Raises:
        MalformedJson: not_utf8, not_json, duplicate_key, not_finite, number_too_large, too_deep, unusable_character
            (NUL or a lone surrogate).

    Example:
        >>> parse_json(b'{"amount": 12.50}')
        {'amount': Decimal('12.50')}
    """
    try:
        value = _DECODER.decode(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise MalformedJson("not_utf8") from error
    except RecursionError as error:
        raise MalformedJson("too_deep") from error
    except json.JSONDecodeError as error:
        raise MalformedJson("not_json") from error
    # A walk costs more than parsing; the bytes say whether there is anything to find.
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH:
        _check_depth(value)
    if b"\\u" in raw:
        _check_text(value)
    return value


def _check_depth(value: Any) -> None:
    """Level by level: refuse what goes on below the last one."""
    level = [value]
    for _ in range(MAX_DEPTH):
        parts = [part for item in level for part in (item.values() if type(item) is dict else item)]
        level = [part for part in parts if type(part) is dict or type(part) is list]
        if not level:
            return
    raise MalformedJson("too_deep")


def _check_text(value: Any) -> None:
    """Refuse characters that cannot be stored or written again; only an escape can bring one in."""
    if isinstance(value, str) and _UNUSABLE.search(value):
        raise MalformedJson("unusable_character")
    if isinstance(value, dict | list):
        for part in [*value, *value.values()] if isinstance(value, dict) else value:
            _check_text(part)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise MalformedJson("duplicate_key")
    return result


def _whole(text: str) -> int:
    # Python itself refuses to read more than 4300 digits, with an error that names the limit only.
    if len(text) > _MOST_DIGITS:
        raise MalformedJson("number_too_large")
    return int(text)


def _decimal(text: str) -> Decimal:
    if len(text) > _MOST_DIGITS:
        raise MalformedJson("number_too_large")
    number = Decimal(text)
    # The exponent as well as the size: 0e999 and 1e-999 are as useless.
    if max(abs(number.adjusted()), abs(int(number.as_tuple().exponent))) > _LARGEST_EXPONENT:
        raise MalformedJson("number_too_large")
    return number


def _not_finite(_: str) -> NoReturn:
    raise MalformedJson("not_finite")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_without_duplicates, parse_int=_whole, parse_float=_decimal, parse_constant=_not_finite
)
