"""Events → accepted and quarantined, a report, and a gate."""

from typing import Any

import polars as pl

from panther_pipeline.ledger import expectations, faults, quarantine, report
from panther_pipeline.ledger.expectations import ExpectationsConfig
from panther_pipeline.ledger.faults import QuarantineRules
from panther_pipeline.ledger.quarantine import GateConfig
from panther_pipeline.ledger.schema import LedgerSchema


def find_faults(events: pl.LazyFrame, schema: LedgerSchema, rules: QuarantineRules) -> pl.DataFrame:
    """The rows that cannot be accepted, each with its reason."""
    return faults.find_faults(events, schema, rules)


def quarantine_events(
    events: pl.LazyFrame,
    event_faults: pl.DataFrame,
    raw_transactions: Any,
    source_account: dict[str, Any],
    schema: LedgerSchema,
) -> pl.LazyFrame:
    """All that is known of the rows at fault, their original lines included; none is lost."""
    return quarantine.quarantine_events(events, event_faults, raw_transactions, source_account, schema)


def check_expectations(
    events: pl.LazyFrame,
    event_faults: pl.DataFrame,
    source_account: dict[str, Any],
    schema: LedgerSchema,
    config: ExpectationsConfig,
) -> tuple[dict[str, Any], str]:
    """The Great Expectations results with the counts by reason, as JSON and as a page that opens offline."""
    findings = expectations.check_expectations(events, event_faults, source_account, schema, config)
    return findings, report.render_validation_page(findings)


def accept_events(
    events: pl.LazyFrame,
    event_faults: pl.DataFrame,
    validation_report: dict[str, Any],
    gate: GateConfig,
    schema: LedgerSchema,
) -> pl.LazyFrame:
    """The accepted events in order; stops the run when too much was quarantined or an expectation failed."""
    return quarantine.accept_events(events, event_faults, validation_report, gate, schema)
