"""What Great Expectations asks to know of a table, counted by polars in streaming passes.

An expectation of the gallery states which metrics decide it: `column_values.between.unexpected_count`,
`table.row_count`, `column.mean`. Here each of those names has a polars expression, so that one pass over the events
answers all of them together in bounded memory, and Great Expectations judges (`expectation_suite`). Semantics are
those of its pandas engine: empty cells are left out, NaN is an empty cell (tests/ledger/test_expectation_facts.py
compares every one of them on random tables).

Uniqueness is looked for in sorted 64-bit hashes, which cannot overlook a repeat; where hashes repeat, the cells
themselves are compared.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import polars as pl

KEYS_PER_PASS = 1 << 25  # hashes held at a time, 256 MB; more are looked at in several passes
_UNEXPECTED = ".unexpected_count"
_UNIQUE = {"column_values.unique", "compound_columns.unique"}

Schema = Mapping[str, Any]  # column → polars type


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A number that decides an expectation, as Great Expectations names it."""

    name: str
    domain: Mapping[str, Any]  # column, column_A and column_B, or column_list; ignore_row_if
    arguments: Mapping[str, Any]  # min_value, value_set, regex, ...

    @property
    def condition(self) -> str:
        """`column_values.between` of `column_values.between.unexpected_count`."""
        return self.name.removesuffix(_UNEXPECTED)


def counter_of(metric: Metric, schema: Schema) -> pl.Expr | None:
    """The expression whose one value is the metric; null where polars has none of equal meaning.

    Args:
        metric: what is asked; uniqueness is `find_repeats`' matter.
        schema: columns and types of the table; every column of the metric's domain is among them.
    """
    if metric.domain.get("row_condition") is not None:
        return None
    if metric.name.endswith(_UNEXPECTED):
        unexpected = unexpected_rows(metric, schema)
        return None if unexpected is None else unexpected.sum()
    if metric.name.endswith(".filtered_row_count"):
        return kept_rows(metric, schema).sum()
    count = _AGGREGATES.get(metric.name)
    return count(metric, schema) if count else None


def is_uniqueness(metric: Metric) -> bool:
    """Whether the metric counts rows that equal another one: no condition on single rows says that."""
    return metric.name.endswith(_UNEXPECTED) and metric.condition in _UNIQUE


def unexpected_rows(metric: Metric, schema: Schema) -> pl.Expr | None:
    """Whether a row is one that the metric counts; null where polars has no condition of equal meaning."""
    condition = _CONDITIONS.get(metric.condition)
    return condition(metric, schema) if condition else None


def kept_rows(metric: Metric, schema: Schema) -> pl.Expr:
    """Rows that are judged at all: not those whose cells are empty, as `ignore_row_if` says."""
    empty = [_column(name, schema).is_null() for name in key_columns(metric)]
    ignore = metric.domain.get("ignore_row_if", "all_values_are_missing")
    if ignore in ("neither", "never"):
        return pl.col(key_columns(metric)[0]).is_null().is_not_null()  # every row; not a literal, which has one row
    if ignore in ("either_value_is_missing", "any_value_is_missing"):
        return ~pl.any_horizontal(empty)
    return ~pl.all_horizontal(empty)


def key_columns(metric: Metric) -> list[str]:
    """The columns that a metric looks at."""
    domain = metric.domain
    if "column_list" in domain:
        return list(domain["column_list"])
    names = [domain.get("column"), domain.get("column_A"), domain.get("column_B")]
    return [name for name in names if name is not None]


def count(events: pl.LazyFrame, counters: Mapping[str, pl.Expr]) -> dict[str, Any]:
    """All counters in one streaming pass."""
    if not counters:
        return {}
    return events.select(**counters).collect(engine="streaming").row(0, named=True)


def hash_of(columns: Sequence[str], schema: Schema) -> pl.Expr:
    """One 64-bit hash of several cells; equal rows have equal hashes."""
    first, *others = (_column(name, schema).hash(seed=i) for i, name in enumerate(columns))
    for other in others:
        first = first ^ other
    return first


@dataclass(frozen=True, kw_only=True)
class Repeats:
    """Rows that are equal to another one."""

    rows: int  # all of them, the first of each kind included
    kinds: int
    examples: list[int]  # source_row of a few that repeat an earlier row, lowest first


def find_repeats(
    events: pl.LazyFrame, columns: Sequence[str], schema: Schema, *, where: pl.Expr, num_rows: int, shown: int
) -> Repeats:
    """The rows that equal another one in `columns`, compared cell by cell where hashes are equal.

    Args:
        events: with source_row.
        columns: what must be equal.
        schema: columns and types.
        where: rows that count.
        num_rows: how long the table is, at most: decides in how many passes it is read.
        shown: how many examples.
    """
    keyed = events.filter(where).with_columns(_key=hash_of(columns, schema))
    parts = max(1, -(-num_rows // KEYS_PER_PASS))
    suspects = pl.concat([_repeated_keys(keyed.filter(pl.col("_key") % parts == i)) for i in range(parts)])
    if suspects.is_empty():
        return Repeats(rows=0, kinds=0, examples=[])
    found = (
        keyed.join(suspects.to_frame().lazy(), on="_key", how="semi")
        .group_by(columns)
        .agg(pl.len(), last=pl.col("source_row").max())
        .filter(pl.col("len") > 1)
        .select(rows=pl.col("len").sum(), kinds=pl.len(), examples=pl.col("last").bottom_k(shown).implode())
        .collect(engine="streaming")
    )
    rows, kinds, examples = found.row(0)
    return Repeats(rows=rows, kinds=kinds, examples=sorted(examples))


def _repeated_keys(keyed: pl.LazyFrame) -> pl.Series:
    """Sorting is three times as fast as a set of keys, and says which ones repeat."""
    keys = keyed.select("_key").collect(engine="streaming")["_key"].sort()
    return keys.filter(keys == keys.shift()).unique()


def bound(value: Any, dtype: Any) -> Any:
    """A bound as the column's type: instants are aware, naive and text ones are UTC."""
    if not dtype.is_temporal() or value is None:
        return value
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    if not isinstance(value, datetime):
        raise ValueError(f"{value!r} is no instant such as 2024-01-31T12:00:00")
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _column(name: str, schema: Schema) -> pl.Expr:
    column = pl.col(name)
    return column.fill_nan(None) if schema[name].is_float() else column


def _own(metric: Metric, schema: Schema) -> tuple[pl.Expr, Any]:
    name = metric.domain["column"]
    return _column(name, schema), schema[name]


def _is_null(metric: Metric, schema: Schema) -> pl.Expr:
    return _own(metric, schema)[0].is_null()


def _is_filled(metric: Metric, schema: Schema) -> pl.Expr:
    return _own(metric, schema)[0].is_not_null()


def _outside(value: pl.Expr, dtype: Any, arguments: Mapping[str, Any]) -> pl.Expr:
    low, high = (bound(arguments.get(key), dtype) for key in ("min_value", "max_value"))
    sides = []
    if low is not None:
        sides.append(value <= low if arguments.get("strict_min") else value < low)
    if high is not None:
        sides.append(value >= high if arguments.get("strict_max") else value > high)
    if not sides:
        raise ValueError("min_value and max_value cannot both be null")
    return sides[0] if len(sides) == 1 else sides[0] | sides[1]


def _not_between(metric: Metric, schema: Schema) -> pl.Expr:
    return _outside(*_own(metric, schema), metric.arguments)


def _length_not_between(metric: Metric, schema: Schema) -> pl.Expr | None:
    value, dtype = _own(metric, schema)
    return _outside(value.str.len_chars(), pl.UInt32(), metric.arguments) if dtype == pl.String else None


def _length_differs(metric: Metric, schema: Schema) -> pl.Expr | None:
    value, dtype = _own(metric, schema)
    return value.str.len_chars() != metric.arguments["value"] if dtype == pl.String else None


def _in_set(metric: Metric, schema: Schema) -> pl.Expr | None:
    """Null for values of another kind than the column's, whose equality is a matter of the engine."""
    value, dtype = _own(metric, schema)
    wanted = metric.arguments.get("value_set")
    if wanted is None:
        return None
    wanted = [item for item in wanted if item is not None]
    kinds = str if dtype == pl.String else (int, float) if dtype.is_numeric() else ()
    if not all(isinstance(item, kinds) and not isinstance(item, bool) for item in wanted):
        return None
    if dtype.is_integer():
        wanted = [int(item) for item in wanted if item == int(item)]
        return value.cast(pl.Int64).is_in(pl.Series(wanted, dtype=pl.Int64).implode())
    return value.is_in(pl.Series(wanted, dtype=dtype).implode())


def _not_in_set(metric: Metric, schema: Schema) -> pl.Expr | None:
    inside = _in_set(metric, schema)
    return None if inside is None else ~inside


def _matches(metric: Metric, schema: Schema) -> pl.Expr | None:
    """Null for what the engine of polars lacks: look-around and back-references."""
    value, dtype = _own(metric, schema)
    regex = metric.arguments.get("regex")
    if dtype != pl.String or not isinstance(regex, str):
        return None
    try:
        pl.Series(["probe"]).str.contains(regex)
    except pl.exceptions.ComputeError:
        return None
    return value.str.contains(regex)


def _matches_not(metric: Metric, schema: Schema) -> pl.Expr | None:
    matches = _matches(metric, schema)
    return None if matches is None else ~matches


def _pair(metric: Metric, schema: Schema) -> tuple[pl.Expr, pl.Expr]:
    return _column(metric.domain["column_A"], schema), _column(metric.domain["column_B"], schema)


def _not_greater(metric: Metric, schema: Schema) -> pl.Expr:
    """A row with one empty cell is unexpected, since nothing is greater than it."""
    first, second = _pair(metric, schema)
    greater = first >= second if metric.arguments.get("or_equal") else first > second
    return kept_rows(metric, schema) & ~greater.fill_null(False)


def _not_equal(metric: Metric, schema: Schema) -> pl.Expr:
    first, second = _pair(metric, schema)
    return kept_rows(metric, schema) & ~(first == second).fill_null(False)


def _num_distinct(metric: Metric, schema: Schema) -> pl.Expr:
    return _own(metric, schema)[0].drop_nulls().n_unique()


def _num_distinct_outside(metric: Metric, schema: Schema) -> pl.Expr | None:
    outside = _not_in_set(metric, schema)
    return None if outside is None else _own(metric, schema)[0].filter(outside).n_unique()


def _unique_proportion(metric: Metric, schema: Schema) -> pl.Expr:
    filled = _own(metric, schema)[0].drop_nulls()
    return pl.when(filled.len() > 0).then(filled.n_unique() / filled.len()).otherwise(0.0)


def _filled_proportion(metric: Metric, schema: Schema) -> pl.Expr:
    rows = pl.col(metric.domain["column"]).len()
    return pl.when(rows > 0).then(_own(metric, schema)[0].count() / rows).otherwise(0.0)


def _aggregate(method: str, *, numbers_only: bool = True) -> Callable[[Metric, Schema], pl.Expr | None]:
    def build(metric: Metric, schema: Schema) -> pl.Expr | None:
        value, dtype = _own(metric, schema)
        return getattr(value, method)() if dtype.is_numeric() or not numbers_only else None

    return build


_CONDITIONS: dict[str, Callable[[Metric, Schema], pl.Expr | None]] = {
    "column_values.nonnull": _is_null,
    "column_values.null": _is_filled,
    "column_values.between": _not_between,
    "column_values.in_set": _not_in_set,
    "column_values.not_in_set": _in_set,
    "column_values.match_regex": _matches_not,
    "column_values.not_match_regex": _matches,
    "column_values.value_length.between": _length_not_between,
    "column_values.value_length.equals": _length_differs,
    "column_pair_values.a_greater_than_b": _not_greater,
    "column_pair_values.equal": _not_equal,
    "column.distinct_values.not_in_set.count": _not_in_set,
}
_AGGREGATES: dict[str, Callable[[Metric, Schema], pl.Expr | None]] = {
    "table.row_count": lambda _metric, _schema: pl.len(),
    "column.max": _aggregate("max", numbers_only=False),
    "column.min": _aggregate("min", numbers_only=False),
    "column.mean": _aggregate("mean"),
    "column.median": _aggregate("median"),
    "column.sum": _aggregate("sum"),
    "column.standard_deviation": _aggregate("std"),
    "column.distinct_values.count": _num_distinct,
    "column.distinct_values.not_in_set.count": _num_distinct_outside,
    "column.unique_proportion": _unique_proportion,
    "column.non_null_proportion": _filled_proportion,
}
