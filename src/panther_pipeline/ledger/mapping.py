"""From a source table to the event log: a row out for each row in, in file order; nothing is dropped."""

import difflib
import logging

import polars as pl

from panther_pipeline.errors import SourceError
from panther_pipeline.ledger.schema import Attribute, LedgerSchema
from panther_pipeline.ledger.values import (
    Reading,
    mask_values,
    read_categories,
    read_ids,
    read_labels,
    read_money,
    read_numbers,
    read_text,
    read_times,
)
from panther_pipeline.units import DAY_US

logger = logging.getLogger(__name__)

MISSING_CATEGORY = "(missing)"
_SHOWN_ROWS = 3


def map_events(raw: pl.DataFrame | pl.LazyFrame, schema: LedgerSchema) -> pl.DataFrame:
    """The event log of a source table, in file order, with what could not be read marked row by row.

    Args:
        raw: the source; only the columns that the schema names are read, forbidden ones never.
        schema: which column is what.

    Returns:
        `events` as in docs/data_contract.md: source_row, user_id, event_id, event_time, amount_cents, the
        declared attributes, counterparty, label, label_time, tie_break_0.., problem, problem_column,
        problem_value.

    Raises:
        SourceError: a column is missing, the table is empty, an id column is of a type that destroys ids, or
            not one value of a column can be read as what the schema says it is.
    """
    source = _take_columns(raw, _event_columns(schema), table="raw_transactions")
    if source.is_empty():
        raise SourceError(
            "raw_transactions has no rows. Check the path in the catalog and that the export is complete."
        )
    columns = _read_roles(source, schema) | _read_attributes(source, schema)
    values = {name: part.values if isinstance(part, Reading) else part for name, part in columns.items()}
    ties = {f"tie_break_{i}": _read_tie_break(source[c]) for i, c in enumerate(schema.tie_break)}
    events = pl.DataFrame({"source_row": pl.int_range(source.height, dtype=pl.Int64, eager=True), **values, **ties})
    delay_us = round(schema.label.known_after_days * DAY_US) if schema.label else 0
    known = pl.when(pl.col("label").is_not_null()).then(pl.col("event_time") + pl.duration(microseconds=delay_us))
    events = events.with_columns(known.alias("label_time")).select(*event_columns(schema), *ties)
    return _mark_problems(events, source, columns)


def map_profiles(raw: pl.DataFrame | pl.LazyFrame, schema: LedgerSchema) -> pl.DataFrame:
    """One row per user: user_id and the declared attributes, sorted by user_id.

    Args:
        raw: the profile table; not read when the schema declares none.
        schema: `profile_user_id` (null: this ledger has no profiles) and `profile_attributes`.

    Returns:
        user_id (text) and attributes: a category is text, "(missing)" where empty; a number is float64, null
        where empty or unreadable, of which a warning counts the rows. Without profiles: user_id only, no rows.

    Raises:
        SourceError: a column is missing, a user has two profiles that differ, or not one value of an
            attribute declared as number can be read.
    """
    if schema.profile_user_id is None:
        return pl.DataFrame(schema={"user_id": pl.String})
    declared = {f"profile_attributes.{a.name}": a.column for a in schema.profile_attributes}
    source = _take_columns(raw, {"profile_user_id": schema.profile_user_id, **declared}, table="raw_profiles")
    user_ids = read_ids(source[schema.profile_user_id], key="ledger.schema.profile_user_id")
    values = {a.name: _read_profile_attribute(source[a.column], a) for a in schema.profile_attributes}
    profiles = pl.DataFrame({"user_id": user_ids, **values})
    nameless = profiles["user_id"].null_count()
    if nameless:
        logger.warning("raw_profiles: %d of %d rows have no user id and are left out", nameless, profiles.height)
    profiles = profiles.filter(pl.col("user_id").is_not_null()).unique().sort("user_id")
    twice = profiles.filter(pl.col("user_id").is_duplicated())["user_id"].unique()
    if twice.len():
        raise SourceError(
            f"raw_profiles describes {twice.len()} users more than once, with different values. "
            f"Keep one row per user (column '{schema.profile_user_id}', ledger.schema.profile_user_id)."
        )
    return profiles


def event_columns(schema: LedgerSchema) -> list[str]:
    """Columns of `events` that hold data, in order; without tie-breaks and problem columns."""
    names = [attribute.name for attribute in schema.attributes]
    return [
        "source_row",
        "user_id",
        "event_id",
        "event_time",
        "amount_cents",
        *names,
        "counterparty",
        "label",
        "label_time",
    ]


def role_sources(schema: LedgerSchema) -> dict[str, str | None]:
    """The source column of each role and attribute; null where this ledger has none."""
    return {
        "user_id": schema.user_id, "event_id": schema.event_id, "event_time": schema.event_time.column,
        "amount_cents": schema.amount, "counterparty": schema.counterparty,
        "label": schema.label.column if schema.label else None,
        **{attribute.name: attribute.column for attribute in schema.attributes},
    }  # fmt: skip


def _event_columns(schema: LedgerSchema) -> dict[str, str]:
    """Configuration key below ledger.schema → source column."""
    keys: dict[str, str | None] = {
        "user_id": schema.user_id, "event_id": schema.event_id, "event_time.column": schema.event_time.column,
        "amount": schema.amount, "counterparty": schema.counterparty,
        "label.column": schema.label.column if schema.label else None,
        **{f"tie_break[{i}]": column for i, column in enumerate(schema.tie_break)},
        **{f"attributes.{attribute.name}": attribute.column for attribute in schema.attributes},
    }  # fmt: skip
    return {key: column for key, column in keys.items() if column is not None}


def _take_columns(raw: pl.DataFrame | pl.LazyFrame, wanted: dict[str, str], *, table: str) -> pl.DataFrame:
    """The named columns only, so that what the ledger must not know (a forbidden column) never comes in."""
    lazy = raw.lazy()
    present = lazy.collect_schema().names()
    lines = []
    for key, column in wanted.items():
        if column not in present:
            close = closest(column, present)
            hint = f", did you mean '{close}'?" if close else ""
            lines.append(f"'{column}' (ledger.schema.{key}){hint}")
    if lines:
        raise SourceError(
            f"{table} lacks {len(lines)} declared column{'s' if len(lines) > 1 else ''}: {'; '.join(lines)} "
            f"It has: {', '.join(present) or 'no columns at all'}. Correct the key in this environment's "
            "parameters_ledger.yml (base: parameters/ledger.yml), or the table in its catalog."
        )
    # One chunk per column: some Polars 2.1 expressions fail on a Series of several chunks.
    return lazy.select(list(dict.fromkeys(wanted.values()))).collect().rechunk()


def closest(column: str, present: list[str]) -> str | None:
    """The name most like `column`, if any is."""
    by_lower = {name.lower(): name for name in present}  # so that a difference of case is found first
    found = difflib.get_close_matches(column.lower(), by_lower, n=1)
    return by_lower[found[0]] if found else None


def _read_roles(source: pl.DataFrame, schema: LedgerSchema) -> dict[str, Reading | pl.Series]:
    rows = source.height
    user_ids = read_ids(source[schema.user_id], key="ledger.schema.user_id")
    event_ids = read_ids(source[schema.event_id], key="ledger.schema.event_id")
    times = read_times(source[schema.event_time.column], schema.event_time)
    _refuse_unreadable(source[schema.user_id], user_ids, "user_id", "a user id")
    _refuse_unreadable(source[schema.event_time.column], times.values, "event_time.column", "a time")
    columns: dict[str, Reading | pl.Series] = {
        "user_id": user_ids,
        "event_id": event_ids,
        "event_time": times,
    }
    if schema.amount:
        columns["amount_cents"] = read_money(source[schema.amount])
        _refuse_unreadable(source[schema.amount], columns["amount_cents"].values, "amount", "an amount")
    else:
        columns["amount_cents"] = pl.repeat(None, rows, dtype=pl.Int64, eager=True)
    if schema.counterparty:
        columns["counterparty"] = read_ids(source[schema.counterparty], key="ledger.schema.counterparty")
    else:
        columns["counterparty"] = pl.repeat(None, rows, dtype=pl.String, eager=True)
    if schema.label:
        labels = columns["label"] = read_labels(source[schema.label.column], schema.label)
        if labels.problem.null_count() < rows:
            _refuse_unreadable(source[schema.label.column], labels.values, "label.column", "a label")
    else:
        columns["label"] = pl.repeat(None, rows, dtype=pl.Int8, eager=True)
    return columns


def _read_attributes(source: pl.DataFrame, schema: LedgerSchema) -> dict[str, Reading | pl.Series]:
    columns: dict[str, Reading | pl.Series] = {}
    for attribute in schema.attributes:
        column, key = source[attribute.column], f"attributes.{attribute.name}"
        if attribute.kind == "category":
            columns[attribute.name] = read_categories(column, key=f"ledger.schema.{key}")
            continue
        numbers = columns[attribute.name] = read_numbers(column)
        if numbers.problem.null_count() < column.len():  # an attribute that is always empty is allowed
            _refuse_unreadable(column, numbers.values, key, "a number")
    return columns


def _read_profile_attribute(column: pl.Series, attribute: Attribute) -> pl.Series:
    key = f"profile_attributes.{attribute.name}"
    if attribute.kind == "category":
        return read_categories(column, key=f"ledger.schema.{key}").fill_null(MISSING_CATEGORY)
    numbers = read_numbers(column)
    unreadable = column.len() - numbers.problem.null_count()
    if unreadable:  # an attribute that is always empty is allowed
        _refuse_unreadable(column, numbers.values, key, "a number")
        logger.warning(
            "raw_profiles: %d of %d rows hold no number in column '%s' and count as unknown there",
            unreadable, column.len(), column.name,
        )  # fmt: skip
    return numbers.values


def _read_tie_break(column: pl.Series) -> pl.Series:
    """Int64 where every value is an integer, so that 9 comes before 10; text otherwise."""
    if column.dtype.is_temporal():
        return column.to_physical().cast(pl.Int64)
    if column.dtype.is_float():
        return column
    text = column.cast(pl.String)
    numbers = text.cast(pl.Int64, strict=False)
    return numbers if numbers.null_count() == text.null_count() else text


def _refuse_unreadable(column: pl.Series, values: pl.Series, key: str, noun: str) -> None:
    """Stop when a column yields nothing at all: the wrong column is mapped, no single row is to blame."""
    if values.null_count() < values.len():
        return
    samples = mask_values(read_text(column).drop_nulls().head(_SHOWN_ROWS)).to_list()
    shown = f"for example {samples}" if samples else "all cells are empty"
    raise SourceError(
        f"not one of {column.len()} rows has {noun} in column '{column.name}' "
        f"(type {column.dtype}; {shown}). "
        f"Probably ledger.schema.{key} names the wrong column, or its format is another one."
    )


def _mark_problems(events: pl.DataFrame, source: pl.DataFrame, columns: dict[str, Reading | pl.Series]) -> pl.DataFrame:
    """Add problem, problem_column and problem_value: of each row the first in the order of `Reason`."""
    in_order = sorted(columns, key="label".__eq__)  # time, amount, attributes, then the label
    readings = [part for name in in_order if isinstance(part := columns[name], Reading)]
    troubled = [reading for reading in readings if reading.problem.null_count() < events.height]
    parts = [_describe_problem(reading, source[reading.values.name]) for reading in troubled]
    nothing = pl.lit(None, dtype=pl.String)
    names = ("problem", "problem_column", "problem_value")
    return events.with_columns(
        pl.coalesce([part[name] for part in parts]).alias(name) if parts else nothing.alias(name) for name in names
    )


def _describe_problem(reading: Reading, column: pl.Series) -> pl.DataFrame:
    return pl.DataFrame({"problem": reading.problem, "value": column}).select(
        "problem",
        problem_column=pl.when(pl.col("problem").is_not_null()).then(pl.lit(column.name)),
        problem_value=pl.when(pl.col("problem").is_not_null()).then(mask_values(column)),
    )
