"""raw_transactions, raw_profiles → events, profiles."""

from kedro.pipeline import Node, Pipeline

from panther_pipeline.pipelines.ingest.nodes import map_profiles, map_transactions


def create_pipeline(**kwargs: object) -> Pipeline:
    """Raw tables → typed event log."""
    return Pipeline([
        Node(
            map_transactions,
            inputs=["raw_transactions", "params:ledger.schema"],
            outputs="events",
            name="map_transactions",
        ),
        Node(
            map_profiles,
            inputs=["raw_profiles", "params:ledger.schema"],
            outputs="profiles",
            name="map_profiles",
        ),
    ])  # fmt: skip
