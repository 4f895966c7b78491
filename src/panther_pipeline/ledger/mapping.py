"""From a source to the event log: a row out for each row in, in file order; nothing is dropped."""

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from panther_pipeline.errors import SourceError
from panther_pipeline.ledger.ahead import read_ahead
from panther_pipeline.ledger.card_guard import CardGuard
from panther_pipeline.ledger.cells import take_cells, text_of
from panther_pipeline.ledger.columns import TIME_SEPARATOR, IdColumn, OrderColumn, column_keys
from panther_pipeline.ledger.evidence import Evidence
from panther_pipeline.ledger.identifiers import IdReader
from panther_pipeline.ledger.joins import Lookup, prepare_lookups, present_columns
from panther_pipeline.ledger.money import read_amounts
from panther_pipeline.ledger.reasons import Reason
from panther_pipeline.ledger.schema import LedgerSchema
from panther_pipeline.ledger.source import Source, SourceAccount, SourceBatch, locate_row, main_source
from panther_pipeline.ledger.stream import counted, lazy_table
from panther_pipeline.ledger.values import (
    Reading,
    mask_values,
    no_problem,
    read_attribute,
    read_labels,
    read_order,
    read_times,
)
from panther_pipeline.units import DAY_US

INSTANT = pl.Datetime("us", "UTC")
_PROBLEM_SCHEMA = {"problem": pl.String, "problem_column": pl.String, "problem_value": pl.String}


def map_events(raw: Any, schema: LedgerSchema) -> tuple[pl.LazyFrame, dict[str, Any]]:
    """The event log of a source, in file order, with what could not be read marked row by row.

    Args:
        raw: a `Source`, a polars table, or several of them by name; only the columns that the schema names are
            read, forbidden ones never.
        schema: which column is what.

    Returns:
        events: `events` as in docs/data_contract.md: source_row, user_id, event_id, event_time, amount_cents, the
            declared attributes, counterparty, label, label_time, tie_break_0.., problem, problem_column,
            problem_value. Lazy: the source is read batch by batch while the table is written.
        account: what became of every line of every file (`SourceAccount.as_json`), and card_numbers
            (`CardGuard.as_json`) where there were any; empty until the events have been read, complete then.

    Raises:
        SourceError: a column is missing; later, while the events are read: the table is empty, an id column is of
            a type that destroys ids, or not one value of a column can be read as what the schema says it is.
        ConfigurationError: while the events are read: an id holds a card number and no key is set to replace it.
    """
    source = main_source(raw, schema.table, "raw_transactions")
    lookups = prepare_lookups(raw, schema.joins, "raw_transactions")
    columns = _check_columns(source, lookups, schema)
    report: dict[str, Any] = {}

    def batches() -> Iterator[pl.DataFrame]:
        account, evidence = SourceAccount(), Evidence(schema)
        guard = CardGuard(schema.card_numbers, lambda row: _place(account, row))
        readers = {name: IdReader(id_, key=f"ledger.schema.{name}") for name, id_ in _ids(schema).items()}
        for batch in counted(read_ahead(source.batches(columns, account)), "read"):
            yield _map_batch(batch, lookups, schema, readers, evidence, guard)
        evidence.conclude()
        for reader in readers.values():
            reader.conclude()
        report.clear()
        report.update(account.as_json())
        if cards := guard.as_json():
            report["card_numbers"] = cards

    return lazy_table(batches, pl.Schema(event_schema(schema))), report


def event_schema(schema: LedgerSchema) -> dict[str, Any]:
    """Columns and types of `events`."""
    kinds = {"category": pl.String, "number": pl.Float64}
    return {
        "source_row": pl.Int64, "user_id": pl.String, "event_id": pl.String, "event_time": INSTANT,
        "amount_cents": pl.Int64, **{a.name: kinds[a.kind] for a in schema.attributes}, "counterparty": pl.String,
        "label": pl.Int8, "label_time": INSTANT,
        **{name: pl.String for name in tie_columns(schema) if name.startswith("tie_break_")}, **_PROBLEM_SCHEMA,
    }  # fmt: skip


def event_columns(schema: LedgerSchema) -> list[str]:
    """Columns of `events` that hold data, in order; without tie-breaks and problem columns."""
    return [name for name in event_schema(schema) if name not in _PROBLEM_SCHEMA and not name.startswith("tie_break_")]


def tie_columns(schema: LedgerSchema) -> list[str]:
    """The columns of `events` that order events at the same instant; one that is there already is not kept twice."""
    own = {"event_id": schema.event_id, "counterparty": schema.counterparty}
    kept = {id_.columns[0]: name for name, id_ in own.items() if id_ and id_ == IdColumn(columns=id_.columns[:1])}
    return [kept.get(column, f"tie_break_{i}") for i, column in enumerate(schema.tie_break)]


def role_sources(schema: LedgerSchema) -> dict[str, str | None]:
    """The source column of each role and attribute; null where this ledger has none."""
    ids = {"user_id": schema.user_id, "event_id": schema.event_id, "counterparty": schema.counterparty}
    return {
        **{name: " + ".join(id_.columns) if id_ else None for name, id_ in ids.items()},
        "event_time": " + ".join(schema.event_time.columns),
        "amount_cents": schema.amount.column if schema.amount else None,
        "label": schema.label.column if schema.label else None,
        **{attribute.name: attribute.column for attribute in schema.attributes},
    }


def _check_columns(source: Source, lookups: list[Lookup], schema: LedgerSchema) -> list[str]:
    """The columns to read of the source itself, once every declared one is known to be there."""
    present = source.column_names()
    wanted = schema.event_keys() | ({"label.column": schema.label.column} if schema.label else {})
    so_far = list(present)
    for join, lookup in zip(schema.joins, lookups, strict=True):  # a join may use what the ones before it brought
        present_columns(column_keys(f"joins[{join.table}].match", join.columns), so_far, table="raw_transactions")
        so_far += lookup.columns
    present_columns(wanted, so_far, table="raw_transactions")
    if schema.header is not None and sorted(schema.header) != sorted(present):
        added, removed = sorted(set(present) - set(schema.header)), sorted(set(schema.header) - set(present))
        raise SourceError(
            f"{source.name}: the header is not the declared one: added {added or 'nothing'}, removed "
            f"{removed or 'nothing'}. If that is meant, change ledger.schema.header (null: only the columns that are "
            "used must be there)."
        )
    return [column for column in dict.fromkeys(wanted.values()) if column in present]


def _place(account: SourceAccount, source_row: int) -> str:
    file, line = locate_row(account.as_json(), source_row)
    return f"{file}, row {line}"


def _ids(schema: LedgerSchema) -> dict[str, IdColumn]:
    ids = {"user_id": schema.user_id, "event_id": schema.event_id, "counterparty": schema.counterparty}
    return {name: id_ for name, id_ in ids.items() if id_}


def _map_batch(
    batch: SourceBatch,
    lookups: list[Lookup],
    schema: LedgerSchema,
    readers: Mapping[str, IdReader],
    evidence: Evidence,
    guard: CardGuard,
) -> pl.DataFrame:
    rows = batch.rows
    for lookup in lookups:
        rows = lookup.extend(rows)
    ids = _read_ids(rows, schema, readers)
    ids = {name: guard.guard_ids(values, name, rows["source_row"]) for name, values in ids.items()}
    cells = ids | _take_roles(rows, schema)
    readings = {name: Reading(values, no_problem(values)) for name, values in ids.items()}
    readings |= _guard_roles(_read_roles(rows, cells, schema), cells, schema, guard)
    evidence.add(cells, readings)
    values = {name: reading.values.alias(name) for name, reading in readings.items()}
    ties = {
        name: guard.guard_ids(text_of(rows[column]), name, rows["source_row"]).alias(name)
        for name, column in zip(tie_columns(schema), schema.tie_break, strict=True)
        if name.startswith("tie_break_")
    }
    events = pl.DataFrame([rows["source_row"], *values.values(), *ties.values()])
    delay_us = round(schema.label.known_after_days * DAY_US) if schema.label else 0
    known = pl.when(pl.col("label").is_not_null()).then(pl.col("event_time") + pl.duration(microseconds=delay_us))
    events = events.with_columns(known.alias("label_time"))
    events = _mark_problems(events, cells, readings).select(list(event_schema(schema)))
    if batch.rejects.is_empty():
        return events
    return pl.concat([events, batch.rejects], how="diagonal").sort("source_row").select(events.columns)


def _read_ids(rows: pl.DataFrame, schema: LedgerSchema, readers: Mapping[str, IdReader]) -> dict[str, pl.Series]:
    """The ids of each row; a role that this ledger does not have is empty, but for the row's number as event id."""

    def parts(id_: IdColumn) -> list[pl.Series]:
        missing = [*schema.missing, *id_.missing]
        return [take_cells(rows, [column], separator="", missing=missing) for column in id_.columns]

    ids = {name: readers[name].read(parts(id_)) for name, id_ in _ids(schema).items()}
    if not schema.event_id:
        ids["event_id"] = rows["source_row"].cast(pl.String)
    if not schema.counterparty:
        ids["counterparty"] = pl.repeat(None, rows.height, dtype=pl.String, eager=True)
    return ids


def _take_roles(rows: pl.DataFrame, schema: LedgerSchema) -> dict[str, pl.Series]:
    """The raw cells of every other role that this ledger has."""

    def take(columns: list[str]) -> pl.Series:
        return take_cells(rows, columns, separator=TIME_SEPARATOR, missing=schema.missing)

    cells = {"event_time": take(schema.event_time.columns)}
    if schema.amount:
        cells["amount_cents"] = take([schema.amount.column])
    if schema.label:
        cells["label"] = take([schema.label.column])
    return cells | {a.name: take([a.column]) for a in schema.attributes}


def _read_roles(rows: pl.DataFrame, cells: Mapping[str, pl.Series], schema: LedgerSchema) -> dict[str, Reading]:
    readings = {}
    time = schema.event_time
    is_order = isinstance(time, OrderColumn)
    readings["event_time"] = (read_order if is_order else read_times)(cells["event_time"], time)
    if schema.amount:
        column = cells["amount_cents"].alias(schema.amount.column)
        readings["amount_cents"] = read_amounts(rows.with_columns(column), schema.amount)
    for attribute in schema.attributes:
        key = f"ledger.schema.attributes.{attribute.name}"
        readings[attribute.name] = read_attribute(cells[attribute.name], attribute, key=key)
    if schema.label:
        readings["label"] = read_labels(cells["label"], schema.label)
    absent = {"amount_cents": pl.Int64, "label": pl.Int8}
    for name in absent.keys() - readings.keys():
        nothing = pl.repeat(None, rows.height, dtype=absent[name], eager=True)
        readings[name] = Reading(nothing, no_problem(nothing))
    return readings


def _guard_roles(
    readings: dict[str, Reading], cells: Mapping[str, pl.Series], schema: LedgerSchema, guard: CardGuard
) -> dict[str, Reading]:
    """No card number among categories and numbers; the times and labels of a ledger hold none."""
    guarded = dict(readings)
    if schema.amount:
        guarded["amount_cents"] = guard.guard_numbers(
            readings["amount_cents"], cells["amount_cents"], "amount_cents", per_unit=100,
            reason=Reason.AMOUNT_NOT_A_NUMBER,
        )  # fmt: skip
    for attribute in schema.attributes:
        name, reading = attribute.name, readings[attribute.name]
        if attribute.kind == "number":
            reason = Reason.ATTRIBUTE_NOT_A_NUMBER
            guarded[name] = guard.guard_numbers(reading, cells[name], name, per_unit=1, reason=reason)
        else:
            guarded[name] = Reading(guard.guard_text(reading.values, name), reading.problem)
    return guarded


def _mark_problems(
    events: pl.DataFrame, cells: Mapping[str, pl.Series], readings: Mapping[str, Reading]
) -> pl.DataFrame:
    """Add problem, problem_column, problem_value: of each row the first of ids, time, amount, attributes, label."""
    in_order = sorted(readings, key="label".__eq__)
    troubled = [name for name in in_order if readings[name].problem.null_count() < events.height]
    nothing = pl.repeat(None, events.height, dtype=pl.String, eager=True)
    columns = dict.fromkeys(_PROBLEM_SCHEMA, nothing)
    if troubled:
        described = pl.concat([_describe_problem(readings[name].problem, cells[name]) for name in troubled])
        first = described.unique("at", keep="first", maintain_order=True)
        columns = {name: nothing.clone().scatter(first["at"], first[name]) for name in _PROBLEM_SCHEMA}
    return events.with_columns(**columns)


def _describe_problem(problem: pl.Series, cells: pl.Series) -> pl.DataFrame:
    """The rows that have a problem (`at`), few as a rule: only their values are masked."""
    at = problem.is_not_null().arg_true()
    return pl.DataFrame({
        "at": at,
        "problem": problem[at],
        "problem_column": pl.repeat(cells.name, at.len(), dtype=pl.String, eager=True),
        "problem_value": mask_values(cells[at]),
    })  # fmt: skip
