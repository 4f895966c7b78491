"""events → valid_events, quarantined_events, validation_report, validation_page."""

from kedro.pipeline import Node, Pipeline

from panther_pipeline.pipelines.validate.nodes import (
    accept_events,
    check_expectations,
    find_faults,
    quarantine_events,
)


def create_pipeline(**kwargs: object) -> Pipeline:
    """Events → accepted and quarantined, a report, and a gate."""
    return Pipeline([
        Node(
            find_faults,
            inputs=["events", "params:ledger.schema", "params:validation.rules"],
            outputs="event_faults",
            name="find_faults",
        ),
        Node(
            quarantine_events,
            inputs=["events", "event_faults", "raw_transactions", "source_account", "params:ledger.schema"],
            outputs="quarantined_events",
            name="quarantine_events",
        ),
        Node(
            check_expectations,
            inputs=[
                "events",
                "event_faults",
                "source_account",
                "params:ledger.schema",
                "params:validation.expectations",
            ],
            outputs=["validation_report", "validation_page"],
            name="check_expectations",
        ),
        Node(
            accept_events,
            inputs=[
                "events",
                "event_faults",
                "validation_report",
                "params:validation.gate",
                "params:ledger.schema",
            ],
            outputs="valid_events",
            name="accept_events",
        ),
    ])  # fmt: skip
