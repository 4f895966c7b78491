"""What was not accepted, line by line, and when a run must stop because of it; rows in = accepted + quarantined."""

from collections.abc import Iterator
from typing import Any

import polars as pl
from pydantic import Field

from panther_pipeline.config import Config
from panther_pipeline.errors import QuarantineError
from panther_pipeline.ledger.mapping import event_schema
from panther_pipeline.ledger.ordering import order_events
from panther_pipeline.ledger.reasons import EXPLANATIONS, Reason
from panther_pipeline.ledger.schema import LedgerSchema
from panther_pipeline.ledger.source import main_source
from panther_pipeline.ledger.stream import batches_of, lazy_table

_SHOWN_REASONS = 3
_SHOWN_ROWS = 3


class GateConfig(Config):
    """When a run must stop rather than go on with what was accepted."""

    max_quarantined_share: float = Field(ge=0, le=1)  # of all rows
    max_quarantined_rows: int | None = Field(ge=0)  # null = no limit beside the share
    stop_on_failed_expectation: bool  # false: report only


def quarantine_events(
    events: pl.DataFrame | pl.LazyFrame,
    event_faults: pl.DataFrame,
    raw: Any,
    account: dict[str, Any],
    schema: LedgerSchema,
) -> pl.LazyFrame:
    """The rows at fault with all that is known of them, sorted by source_row.

    Args:
        events: what `mapping.map_events` returns.
        event_faults: what `faults.find_faults` returns.
        raw: the source the events came from, for the original lines; text files are read through once more, and
            only if a row is at fault.
        account: what became of every line of the source.
        schema: which table of the source comes first.

    Returns:
        The columns of `events`, reason, source_file, source_line (from 1), original_line (long numbers masked; null
        for tables, which have no lines). Lazy.
    """
    types = event_schema(schema)
    columns = {
        **types,
        "reason": pl.String,
        "source_file": pl.String,
        "source_line": pl.Int64,
        "original_line": pl.String,
    }
    source = main_source(raw, schema.table, "raw_transactions")
    reasons = event_faults.rename({"problem_column": "_column", "problem_value": "_value"})

    def batches() -> Iterator[pl.DataFrame]:
        if event_faults.is_empty():
            return
        faulty = event_faults.lazy().select("source_row")
        at_fault = events.lazy().join(faulty, on="source_row", how="semi", maintain_order="left")
        for batch in batches_of(at_fault):
            described = batch.join(reasons, on="source_row", how="left", maintain_order="left")
            described = described.with_columns(problem_column=pl.col("_column"), problem_value=pl.col("_value"))
            yield _place(described, source.original_lines(batch["source_row"].to_list()), account).select(list(columns))

    return lazy_table(batches, pl.Schema(columns))


def accept_events(
    events: pl.DataFrame | pl.LazyFrame,
    event_faults: pl.DataFrame,
    report: dict[str, Any],
    gate: GateConfig,
    schema: LedgerSchema,
) -> pl.LazyFrame:
    """The accepted events, ordered and numbered, unless the report says that they cannot be relied on.

    Args:
        events: what `mapping.map_events` returns.
        event_faults: the rows that are not accepted.
        report: what `expectations.check_expectations` returns.
        gate: how much may be quarantined.
        schema: the schema of the events.

    Raises:
        QuarantineError: too many rows quarantined, nothing accepted, or an expectation failed; the message
            counts them, gives the most frequent reasons with an example, and says where all of them stand.
    """
    counts = report["counts"]
    stops = []
    if not counts["accepted"]:
        stops.append("no row was accepted")
    if counts["quarantine_share"] > gate.max_quarantined_share:
        stops.append(
            f"{counts['quarantined']} of {counts['rows_in']} rows ({counts['quarantine_share']:.2%}) "
            "were quarantined, more than validation.gate.max_quarantined_share = "
            f"{gate.max_quarantined_share:.2%}"
        )
    if gate.max_quarantined_rows is not None and counts["quarantined"] > gate.max_quarantined_rows:
        stops.append(
            f"{counts['quarantined']} rows were quarantined, more than "
            f"validation.gate.max_quarantined_rows = {gate.max_quarantined_rows}"
        )
    failed = [check for check in report["expectations"] if not check["success"]]
    if failed and gate.stop_on_failed_expectation:
        named = "; ".join(_failure(check) for check in failed[:_SHOWN_REASONS])
        stops.append(f"{len(failed)} of {len(report['expectations'])} expectations failed: {named}")
    if stops:
        raise QuarantineError(_stop_message(stops, report))
    return order_events(events, event_faults, schema)


def _place(rows: pl.DataFrame, lines: list[str | None], account: dict[str, Any]) -> pl.DataFrame:
    """Where each row stands: file, line, and the line itself."""
    files = pl.DataFrame(account["files"], schema_overrides={"first_row": pl.Int64}).select("file", "first_row")
    place = rows.select("source_row").join_asof(files, left_on="source_row", right_on="first_row")
    return rows.with_columns(
        source_file=place["file"],
        source_line=place["source_row"] - place["first_row"] + 1,
        original_line=pl.Series(lines, dtype=pl.String),
    )


def _failure(check: dict[str, Any]) -> str:
    places = ", ".join(f"{row['file']}:{row['line']}" for row in check.get("rows", [])[:_SHOWN_ROWS])
    return f"{check['statement']}{f' (for example {places})' if places else ''}"


def _stop_message(stops: list[str], report: dict[str, Any]) -> str:
    lines = ["validation stopped the run: " + "; ".join(stops) + "."]
    for reason, number in list(report["reasons"].items())[:_SHOWN_REASONS]:
        example = report["examples"][reason][0]
        shown = f"{example['file']} line {example['line']}, column {example['column']}: {example['value']!r}"
        lines.append(f"  {number} x {reason} ({EXPLANATIONS[Reason(reason)]}), for example {shown}")
    lines.append(
        "All of them are in the dataset 'quarantined_events', and 'validation_page' shows them in a "
        "browser (paths: conf/base/catalog/validate.yml). Mend the source and run again from 'ingest', "
        "correct ledger.schema if it describes the source wrongly, or raise "
        "the limit (validation.gate) in this environment's parameters_ledger.yml if this is expected."
    )
    return "\n".join(lines)
