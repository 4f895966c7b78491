"""The cells of one role in a batch of rows: one source column, or several joined to one text."""

from collections.abc import Sequence

import polars as pl

from panther_pipeline.errors import SourceError


def take_cells(rows: pl.DataFrame, columns: Sequence[str], *, separator: str, missing: Sequence[str] = ()) -> pl.Series:
    """One column as the source types it, or the texts of several joined; missing texts are null.

    Args:
        rows: a batch of source rows.
        columns: one or more of its columns.
        separator: between the parts of several columns; the joined text is null where a part is empty.
        missing: texts, besides nothing and blanks, that mean an empty cell.

    Returns:
        A series named after the columns.

    Raises:
        SourceError: a column of lists, structs or bytes.
    """
    parts = [_without(_plain(rows[column]), missing) for column in columns]
    if len(parts) == 1:
        return parts[0]
    texts = [part.cast(pl.String).str.strip_chars().replace("", None) for part in parts]
    joined = pl.DataFrame([text.alias(str(i)) for i, text in enumerate(texts)]).select(
        pl.concat_str(pl.all(), separator=separator, ignore_nulls=False)
    )
    return joined.to_series().rename(" + ".join(columns))


def _plain(column: pl.Series) -> pl.Series:
    if column.dtype.is_nested() or column.dtype == pl.Binary:
        raise SourceError(
            f"column '{column.name}' holds {column.dtype} values; text, numbers and times can be read. Take it apart "
            "where the table is made, or name another column."
        )
    return column


def _without(column: pl.Series, missing: Sequence[str]) -> pl.Series:
    if not missing:
        return column
    text = column.cast(pl.String).str.strip_chars()
    if column.dtype.is_float():  # the text "0" is meant to find the number 0.0 too
        text = text.str.replace(r"\.0$", "")
    is_missing = text.is_in(list(missing)).fill_null(False)
    nothing = pl.repeat(None, column.len(), dtype=column.dtype, eager=True)
    return column.zip_with(~is_missing, nothing) if is_missing.any() else column


def text_of(column: pl.Series) -> pl.Series:
    """Text with surrounding white space removed; an empty cell becomes null."""
    return column.cast(pl.String).str.strip_chars().replace("", None)
