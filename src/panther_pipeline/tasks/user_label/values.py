"""Columns for the frequent values of a category."""

import polars as pl


def frequent_values(column: pl.Series, most: int) -> list[str]:
    """The `most` most frequent values, the more frequent first, equals in alphabetical order; null is no value.

    Example:
        >>> frequent_values(pl.Series(["card", "cash", "card", None, "bank"]), 2)
        ['card', 'bank']
    """
    counts = column.drop_nulls().alias("value").value_counts()
    return counts.sort(["count", "value"], descending=[True, False])["value"].head(most).to_list()


def categories(table: pl.DataFrame, excluded: set[str]) -> list[str]:
    """The text columns."""
    return [name for name, kind in table.schema.items() if kind == pl.String and name not in excluded]


def numbers(table: pl.DataFrame, excluded: set[str]) -> list[str]:
    """The columns of floating-point numbers."""
    return [name for name, kind in table.schema.items() if kind.is_float() and name not in excluded]
