"""events → valid_events, quarantined_events, validation_report, validation_page."""

from kedro.pipeline import Node, Pipeline

from panther_pipeline.pipelines.validate.nodes import accept_events, check_expectations, quarantine_events


def create_pipeline(**kwargs: object) -> Pipeline:
    """Events → accepted and quarantined, a report, and a gate."""
    return Pipeline([
        Node(
            quarantine_events,
            inputs=["events", "params:ledger.schema", "params:validation.rules"],
            outputs=["accepted_events", "quarantined_events"],
            name="quarantine_events",
        ),
        Node(
            check_expectations,
            inputs=[
                "accepted_events",
                "quarantined_events",
                "params:ledger.schema",
                "params:validation.expectations",
            ],
            outputs=["validation_report", "validation_page"],
            name="check_expectations",
        ),
        Node(
            accept_events,
            inputs=["accepted_events", "validation_report", "params:validation.gate"],
            outputs="valid_events",
            name="accept_events",
        ),
    ])  # fmt: skip
