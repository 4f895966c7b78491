"""Events → accepted and quarantined, a report, and a gate."""

from typing import Any

import polars as pl

from panther_pipeline.ledger import expectations, quarantine, report
from panther_pipeline.ledger.expectations import ExpectationsConfig
from panther_pipeline.ledger.quarantine import GateConfig, QuarantineRules
from panther_pipeline.ledger.schema import LedgerSchema


def quarantine_events(
    events: pl.DataFrame, schema: LedgerSchema, rules: QuarantineRules
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Accepted events, ordered and numbered, and quarantined ones with their reason; none is lost."""
    return quarantine.split_events(events, schema, rules)


def check_expectations(
    accepted_events: pl.DataFrame,
    quarantined_events: pl.DataFrame,
    schema: LedgerSchema,
    config: ExpectationsConfig,
) -> tuple[dict[str, Any], str]:
    """The Great Expectations results with the counts by reason, as JSON and as a page that opens offline."""
    findings = expectations.check_expectations(accepted_events, quarantined_events, schema, config)
    return findings, report.render_validation_page(findings)


def accept_events(accepted_events: pl.DataFrame, validation_report: dict[str, Any], gate: GateConfig) -> pl.DataFrame:
    """The accepted events; stops the run when too much was quarantined or an expectation failed."""
    return quarantine.accept_events(accepted_events, validation_report, gate)
