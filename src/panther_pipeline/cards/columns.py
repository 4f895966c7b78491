"""Card numbers in whole columns: polars looks for what may be one, and only those values are read digit by digit."""

from collections.abc import Callable, Iterable

import polars as pl

from panther_pipeline.cards.keys import TOKEN_PATTERN, TOKEN_START
from panther_pipeline.cards.numbers import MAY_HOLD_ONE, holds_card_number
from panther_pipeline.errors import ArtifactError

_FEWEST_DIGITS = 13
_SMALLEST = 10 ** (_FEWEST_DIGITS - 1)


def replace_in_column(column: pl.Series, replace: Callable[[str], str]) -> tuple[pl.Series, pl.Series]:
    """The column with `replace(value)` in place of each value that holds a card number, and which rows that were.

    Args:
        column: text.
        replace: of one value; called once for each different one.
    """
    cards = _values_with_cards(column)
    if not cards:
        return column, _nowhere(column)
    return column.replace(cards, [replace(value) for value in cards]), column.is_in(cards).fill_null(False)


def holds_card_numbers(column: pl.Series) -> pl.Series:
    """Of each value, text or number, whether it holds a card number; times hold none."""
    if column.dtype.is_integer():
        column = column.cast(pl.Int128)  # so that the bounds below fit, whatever the type
    if column.dtype.is_integer() or column.dtype.is_float():
        large = column.is_finite() if column.dtype.is_float() else column.is_not_null()
        large &= (column >= _SMALLEST) | (column <= -_SMALLEST)
        if not large.fill_null(False).any():
            return _nowhere(column)
        values = column.filter(large).unique()
        cards = [value for value in values.to_list() if holds_card_number(str(abs(int(value))))]
        return column.is_in(pl.Series(cards, dtype=column.dtype).implode()).fill_null(False)
    if column.dtype.is_decimal() or column.dtype in (pl.Categorical, pl.Enum):
        column = column.cast(pl.String)
    if column.dtype != pl.String:
        return _nowhere(column)
    cards = _values_with_cards(column)
    return column.is_in(cards).fill_null(False) if cards else _nowhere(column)


def key_id_of(columns: Iterable[pl.Series]) -> str | None:
    """The id of the key with which the tokens in these columns were made; None where there is none.

    Raises:
        ArtifactError: they were made with different keys, so that one card has several tokens; names the key ids.
    """
    found: set[str] = set()
    for column in columns:
        tokens = column.filter(column.str.contains(TOKEN_START, literal=True).fill_null(False))
        found |= set(tokens.str.extract(TOKEN_PATTERN).drop_nulls().unique())
    if len(found) > 1:
        raise ArtifactError(
            f"card numbers were replaced with different keys (ids {', '.join(sorted(found))}), so the tokens of one "
            "card differ and its rows do not meet. Run again from 'ingest' with one PANTHER_CARD_KEY."
        )
    return next(iter(found), None)


def _values_with_cards(column: pl.Series) -> list[str]:
    """The different values of a text column that hold a card number."""
    if (column.str.len_bytes().max() or 0) < _FEWEST_DIGITS:
        return []
    candidates = column.filter(column.str.contains(MAY_HOLD_ONE).fill_null(False)).unique()
    return [value for value in candidates.to_list() if holds_card_number(value)]


def _nowhere(column: pl.Series) -> pl.Series:
    return pl.repeat(False, column.len(), dtype=pl.Boolean, eager=True)
