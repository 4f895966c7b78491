"""Further tables, looked up by a key: what the schema calls joins."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from panther_pipeline.errors import SourceError
from panther_pipeline.ledger.cells import text_of
from panther_pipeline.ledger.columns import ROW_COLUMN, Join
from panther_pipeline.ledger.source import Source, SourceAccount, as_source
from panther_pipeline.ledger.values import mask_values

_SHOWN_KEYS = 3


class Lookup:
    """One joined table, in memory, with at most one row per key."""

    def __init__(self, join: Join, rows: pl.DataFrame) -> None:
        self.table, self.on = join.table, join.columns
        keys = [_key(rows, column).alias(f"_key_{i}") for i, column in enumerate(join.keys)]
        own = [column for column in rows.columns if column not in ("source_row", ROW_COLUMN)]
        values = [rows[column].alias(f"{join.table}.{column}") for column in own]
        table = pl.DataFrame([*keys, *values])
        self._keys = [key.name for key in keys]
        self._rows = table.filter(pl.all_horizontal(pl.col(self._keys).is_not_null()))
        self._refuse_doubled(join)
        self.columns = [value.name for value in values]

    def extend(self, rows: pl.DataFrame) -> pl.DataFrame:
        """`rows` with this table's columns, empty where no key matches; as many rows, in the same order."""
        keys = [_key(rows, column).alias(key) for column, key in zip(self.on, self._keys, strict=True)]
        joined = rows.with_columns(keys).join(self._rows, on=self._keys, how="left", maintain_order="left")
        return joined.drop(self._keys).rechunk()

    def _refuse_doubled(self, join: Join) -> None:
        doubled = self._rows.filter(pl.struct(self._keys).is_duplicated()).select(self._keys).unique().sort(self._keys)
        if doubled.height:
            shown = [list(row) for row in pl.DataFrame(list(map(mask_values, doubled.head(_SHOWN_KEYS)))).rows()]
            raise SourceError(
                f"table '{join.table}' has {doubled.height} keys {join.keys} more than once, for example {shown}: a "
                "join would double rows. Match more columns, or narrow the table with `where`."
            )


def prepare_lookups(raw: Any, joins: Sequence[Join], entry: str) -> list[Lookup]:
    """The joined tables of a catalog entry, in order.

    Raises:
        SourceError: a table or column is missing, or a key occurs twice.
    """
    if not joins:
        return []
    if not isinstance(raw, Mapping):
        names = [join.table for join in joins]
        raise SourceError(
            f"the schema joins {names} to {entry}, which is one table. Make it a TablesDataset in the catalog."
        )
    return [Lookup(join, _select(read_table(_table(raw, join.table, entry), join.table), join)) for join in joins]


def read_table(source: Source, name: str) -> pl.DataFrame:
    """A small table as a whole, with `source_row`.

    Raises:
        SourceError: lines of it are no rows: a lookup must be complete to be believed.
    """
    columns = [name for name in source.column_names() if name != "source_row"]  # ours; a table of ours may have one
    batches = list(source.batches(columns, SourceAccount()))
    rejects = sum(batch.rejects.height for batch in batches)
    if rejects:
        first = next(batch.rejects for batch in batches if batch.rejects.height).row(0, named=True)
        raise SourceError(
            f"table '{name}' has {rejects} lines that are no rows, first line {first['source_row'] + 1}: "
            f"{first['problem']}. Mend the file: what is looked up in it must be complete."
        )
    nothing = pl.DataFrame(schema={"source_row": pl.Int64} | dict.fromkeys(columns, pl.String))
    return pl.concat([batch.rows for batch in batches], rechunk=True) if batches else nothing


def present_columns(wanted: Mapping[str, str], present: Sequence[str], *, table: str) -> None:
    """Refuse declared columns that are not there, all at once.

    Args:
        wanted: configuration key below ledger.schema → column.
        present: the columns there are.
        table: what the message calls the table.

    Raises:
        SourceError: names each with its key and the nearest column.
    """
    lines = []
    present = [name for name in present if name not in ("source_row", ROW_COLUMN)]
    for key, column in wanted.items():
        if column not in present:
            close = closest(column, present)
            lines.append(f"'{column}' (ledger.schema.{key}){f', did you mean {close!r}?' if close else ''}")
    if lines:
        raise SourceError(
            f"{table} lacks {len(lines)} declared column{'s' if len(lines) > 1 else ''}: {'; '.join(lines)} "
            f"It has: {', '.join(present) or 'no columns at all'}. Correct the key in this environment's "
            "parameters_ledger.yml (base: parameters/ledger.yml), or the table in its catalog."
        )


def closest(column: str, present: Sequence[str]) -> str | None:
    """The name most like `column`, if any is."""
    by_lower = {name.lower(): name for name in present}  # so that a difference of case is found first
    found = difflib.get_close_matches(column.lower(), by_lower, n=1)
    return by_lower[found[0]] if found else None


def _table(raw: Mapping[str, Any], name: str, entry: str) -> Source:
    if name not in raw:
        close = closest(name, list(raw))
        raise SourceError(
            f"{entry} has no table '{name}'{f', did you mean {close!r}?' if close else ''}; it has {', '.join(raw)}."
        )
    return as_source(raw[name], name)


def _select(rows: pl.DataFrame, join: Join) -> pl.DataFrame:
    wanted = [c for c in [*join.keys, *join.where] if c != ROW_COLUMN]
    present_columns({f"joins[{join.table}].{c}": c for c in wanted}, rows.columns, table=f"table '{join.table}'")
    # Numbered before any row is left out; a line of a file may be blank, so its number is no row number.
    rows = rows.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias(ROW_COLUMN))
    for column, values in join.where.items():
        rows = rows.filter(text_of(rows[column]).is_in(values).fill_null(False))
    return rows


def _key(rows: pl.DataFrame, column: str) -> pl.Series:
    """Text, so that a number in one table meets the same number written in another.

    Raises:
        SourceError: floats, whose text ('7.0') meets no other.
    """
    if rows[column].dtype.is_float():
        raise SourceError(
            f"column '{column}' of a join (ledger.schema.joins) holds {rows[column].dtype} values: a key must be text "
            "or an integer. Read the column as text in the catalog."
        )
    return text_of(rows[column])
