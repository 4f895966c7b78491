"""What must hold of the accepted events: a suite that follows from the schema, plus what the YAML adds.

The suite is made of Great Expectations' own expectations. Polars counts what they ask for in one streaming pass over
the events, whatever their number; Great Expectations judges the counts (`expectation_suite` says how). Row
accounting is part of the suite: counts that must be 0.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from pydantic import Field

from panther_pipeline.config import Config
from panther_pipeline.ledger import expectation_facts as facts
from panther_pipeline.ledger.expectation_suite import (
    SHOWN_ROWS,
    Check,
    Declared,
    declare,
    declare_zero,
    judge,
    judge_in_pandas,
)
from panther_pipeline.ledger.findings import find_oddities, oddity_counters
from panther_pipeline.ledger.mapping import event_schema
from panther_pipeline.ledger.reasons import Reason
from panther_pipeline.ledger.schema import LedgerSchema
from panther_pipeline.ledger.source import locate_row
from panther_pipeline.ledger.values import mask_values

_LABEL_TOO_EARLY = pl.col("label_time") < pl.col("event_time")
_FILE_KEYS = ("file", "lines", "header", "blank", "continuation")


class Expectation(Config):
    """One more expectation of the accepted events."""

    type: str  # as in the Great Expectations gallery, with or without "expect_"
    column: str | None = None  # column of `events`; null for an expectation of the table or several columns
    kwargs: dict[str, Any] = Field(default_factory=dict)  # the expectation's other arguments


class ExpectationsConfig(Config):
    """What is checked beside the schema, and how much of the quarantine the page shows."""

    extra: list[Expectation]
    sample_rows: int = Field(ge=1, le=100)  # quarantined rows shown per reason


def check_expectations(
    events: pl.LazyFrame | pl.DataFrame,
    event_faults: pl.DataFrame,
    source_account: Mapping[str, Any],
    schema: LedgerSchema,
    config: ExpectationsConfig,
) -> dict[str, Any]:
    """Validate the accepted events and summarise the quarantine, as plain JSON values.

    Args:
        events: every row of the source in file order, with the columns of `mapping.event_schema`; read in streaming
            passes.
        event_faults: one row per quarantined event: source_row, reason, problem_column, problem_value.
        source_account: what became of every line (`SourceAccount.as_json`).
        schema: what the columns mean and which ranges are allowed.
        config: further expectations.

    Returns:
        success: whether every expectation holds.
        counts: rows_in, accepted, quarantined, quarantine_share (0 to 1).
        account: totals and per file: lines, header, blank, continuation, accepted, quarantined.
        reasons: reason → rows, most frequent first.
        examples: reason → list of {source_row, file, line, column, value}; values are masked.
        card_key_id: of the key that card numbers in ids were replaced with; None where there were none.
        findings: see `findings.find_oddities`.
        expectations: list of {type, column, kwargs, statement, success, element_count, unexpected_count,
            unexpected_percent, observed_value, error, evaluated_by, rows}; `rows` are {file, line} of up to 20 rows
            that break a failed expectation.

    Raises:
        ConfigurationError: an unknown expectation or column, or arguments that Great Expectations refuses; before
            the events are read.
    """
    events, account = events.lazy(), dict(source_account)
    types = events.collect_schema()
    lines = sum(file["lines"] for file in account["files"])
    declared = declare(_suite(schema, config), types, lines)
    accepted = accepted_events(events, event_faults)
    counters = _number_counters(declared) | _fact_counters() | oddity_counters(schema)
    counted = facts.count(accepted, counters)
    doubled = facts.count(events, {"steps": (pl.col("source_row").diff() <= 0).sum()})["steps"]
    zeros = _facts(counted, doubled, events, event_faults, account, schema)
    expectations = _judge_suite(declared, counted, accepted, types, lines) + _judge_facts(zeros, accepted)
    for check in expectations:
        check["rows"] = [locate(account, row) for row in check["rows"]]
    num_rows = counted["rows"] + event_faults.height
    return {
        "success": all(check["success"] for check in expectations),
        "counts": {
            "rows_in": num_rows, "accepted": counted["rows"], "quarantined": event_faults.height,
            "quarantine_share": event_faults.height / num_rows if num_rows else 0.0,
        },
        "account": _account(accepted, counted["rows"], event_faults, account),
        "reasons": _count_reasons(event_faults),
        "examples": _sample_faults(event_faults, account, config.sample_rows),
        "card_key_id": account.get("card_numbers", {}).get("key_id"),
        "findings": find_oddities(events, accepted, event_faults, counted, account, schema),
        "expectations": expectations,
    }  # fmt: skip


def accepted_events(events: pl.LazyFrame, event_faults: pl.DataFrame) -> pl.LazyFrame:
    """Events without a fault."""
    if event_faults.is_empty():
        return events
    return events.join(event_faults.lazy().select("source_row"), on="source_row", how="anti", maintain_order="left")


def locate(account: Mapping[str, Any], source_row: int) -> dict[str, Any]:
    """{file, line} of a row."""
    file, line = locate_row(dict(account), source_row)
    return {"file": file, "line": line}


def _suite(schema: LedgerSchema, config: ExpectationsConfig) -> list[Check]:
    present = ["user_id", "event_id", "event_time", *(["amount_cents"] if schema.amount else [])]
    checks = [Check(kind="column_values_to_not_be_null", kwargs={"column": column}) for column in present]
    checks.append(Check(kind="column_values_to_be_unique", kwargs={"column": "event_id"}))
    first, end = schema.event_time.earliest_instant, schema.event_time.end_instant
    bounds = {"min_value": first, "max_value": end, "strict_max": True}
    checks.append(Check(kind="column_values_to_be_between", kwargs={"column": "event_time", **bounds}))
    if schema.amount:
        lowest, highest = schema.range_cents
        bounds = {"min_value": lowest, "max_value": highest}
        checks.append(Check(kind="column_values_to_be_between", kwargs={"column": "amount_cents", **bounds}))
    if schema.label:
        checks.append(Check(kind="column_values_to_be_in_set", kwargs={"column": "label", "value_set": [0, 1]}))
    return checks + [
        Check(kind=e.type.removeprefix("expect_"), kwargs={**({"column": e.column} if e.column else {}), **e.kwargs})
        for e in config.extra
    ]


def _number_counters(declared: list[Declared]) -> dict[str, pl.Expr]:
    """Metrics shared by several expectations are counted once; their ids become column names."""
    return {repr(id_): counter for d in declared for id_, counter in d.counters.items()}


def _fact_counters() -> dict[str, pl.Expr]:
    return {"rows": pl.len(), "labels_too_early": _LABEL_TOO_EARLY.sum()}


def _facts(
    counted: Mapping[str, Any],
    steps_back: int,
    events: pl.LazyFrame,
    event_faults: pl.DataFrame,
    account: Mapping[str, Any],
    schema: LedgerSchema,
) -> dict[str, int]:
    """Counts that must all be 0.

    Rows are numbered where they are read: a number missing or doubled here is a row lost on the way.
    """
    seen = counted["rows"] + event_faults.height
    rows = sum(f["lines"] - f["header"] - f["blank"] - f["continuation"] for f in account["files"])
    doubled = event_faults.height - event_faults["source_row"].n_unique()
    if steps_back:  # numbers ascend in file order; only where they do not is it worth counting them
        doubled += facts.count(events, {"n": pl.len().cast(pl.Int64) - pl.col("source_row").n_unique()})["n"]
    reasons = event_faults["reason"].is_in([reason.value for reason in Reason]).fill_null(False)
    return {
        "rows_unaccounted_for": rows - seen,
        "rows_doubled": doubled,
        "labels_known_before_their_event": counted["labels_too_early"],
        "columns_missing_or_extra": len(set(event_schema(schema)) ^ set(events.collect_schema())),
        "reasons_outside_the_closed_list": int((~reasons).sum()),
    }


def _judge_suite(
    declared: list[Declared], counted: Mapping[str, Any], accepted: pl.LazyFrame, types: pl.Schema, lines: int
) -> list[dict[str, Any]]:
    """Verdicts in the order of declaration."""
    results: dict[int, dict[str, Any]] = {}
    for position, one in enumerate(declared):
        if one.metrics is None:
            continue
        values = {id_: counted[repr(id_)] for id_ in one.counters}
        rows: list[int] = []
        for id_, metric in one.repeats.items():
            columns, where = facts.key_columns(metric), facts.kept_rows(metric, types)
            found = facts.find_repeats(accepted, columns, types, where=where, num_rows=lines, shown=SHOWN_ROWS)
            values[id_], rows = found.rows, found.examples
        result = judge(one, values)
        if not result["success"]:
            result["rows"] = rows or _unexpected_rows(one, values, accepted, types)
        results[position] = result
    others = [position for position, one in enumerate(declared) if one.metrics is None]
    if others:
        in_pandas = judge_in_pandas(accepted, [declared[position] for position in others], types)
        results |= dict(zip(others, in_pandas, strict=True))
    return [results[position] for position in range(len(declared))]


def _unexpected_rows(one: Declared, values: Mapping[Any, Any], accepted: pl.LazyFrame, types: pl.Schema) -> list[int]:
    for id_, metric in (one.metrics or {}).items():
        unexpected = facts.unexpected_rows(metric, types)
        # The count of empty cells is asked for by all of them; it is the verdict of one only.
        is_verdict = metric.condition != "column_values.nonnull" or one.check.kind == "column_values_to_not_be_null"
        if unexpected is not None and is_verdict and values.get(id_):
            return _first_rows(accepted, unexpected)
    return []


def _first_rows(events: pl.LazyFrame, where: pl.Expr) -> list[int]:
    found = events.filter(where).select(pl.col("source_row").bottom_k(SHOWN_ROWS)).collect(engine="streaming")
    return sorted(found["source_row"].to_list())


def _judge_facts(zeros: Mapping[str, int], accepted: pl.LazyFrame) -> list[dict[str, Any]]:
    results = []
    for fact, number in zeros.items():
        one = declare_zero(fact)
        result = judge(one, dict.fromkeys(one.counters, number))
        if number and fact == "labels_known_before_their_event":
            result["rows"] = _first_rows(accepted, _LABEL_TOO_EARLY)
        if number and fact == "rows_doubled":
            repeated = accepted.group_by("source_row").len().filter(pl.col("len") > 1)
            result["rows"] = _first_rows(repeated, pl.lit(True))
        results.append(result)
    return results


def _account(
    accepted: pl.LazyFrame, num_accepted: int, event_faults: pl.DataFrame, account: Mapping[str, Any]
) -> dict[str, Any]:
    """The lines of every file and what became of its rows."""
    files = account["files"]
    starts = [file["first_row"] for file in files]
    taken = np.array([num_accepted]) if len(files) == 1 else _rows_per_file(accepted, starts)
    refused = _rows_per_file(event_faults.lazy(), starts)
    listed = [
        {key: file[key] for key in _FILE_KEYS} | {"accepted": int(a), "quarantined": int(q)}
        for file, a, q in zip(files, taken, refused, strict=True)
    ]
    totals = {key: sum(f[key] for f in listed) for key in (*_FILE_KEYS[1:], "accepted", "quarantined")}
    return {**totals, "files": listed}


def _rows_per_file(rows: pl.LazyFrame, starts: list[int]) -> np.ndarray:
    per_file = np.zeros(len(starts), dtype=np.int64)
    for batch in rows.select("source_row").collect_batches(maintain_order=False):
        number = np.searchsorted(starts, batch["source_row"].to_numpy(), side="right") - 1
        # A file without lines begins where the next one does: `right` gives the row to the later one, which has it.
        per_file += np.bincount(number, minlength=len(starts))
    return per_file


def _count_reasons(event_faults: pl.DataFrame) -> dict[str, int]:
    counted = event_faults.group_by("reason").len("rows").sort("rows", "reason", descending=[True, False])
    return dict(counted.rows())


def _sample_faults(
    event_faults: pl.DataFrame, account: Mapping[str, Any], num_rows: int
) -> dict[str, list[dict[str, Any]]]:
    shown = event_faults.sort("source_row").group_by("reason", maintain_order=True).head(num_rows)
    samples: dict[str, list[dict[str, Any]]] = {reason: [] for reason in _count_reasons(event_faults)}
    masked = shown.select("reason", "source_row", "problem_column", value=mask_values(shown["problem_value"]))
    for reason, row, column, value in masked.iter_rows():
        samples[reason].append({"source_row": row, **locate(account, row), "column": column, "value": value})
    return samples
