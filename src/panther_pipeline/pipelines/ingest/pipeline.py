"""raw_transactions, raw_profiles, raw_user_labels → events, source_account, profiles, user_labels."""

from kedro.pipeline import Node, Pipeline

from panther_pipeline.pipelines.ingest.nodes import map_profiles, map_transactions, map_user_labels


def create_pipeline(**kwargs: object) -> Pipeline:
    """Raw tables → typed event log."""
    return Pipeline([
        Node(
            map_transactions,
            inputs=["raw_transactions", "params:ledger.schema"],
            outputs=["events", "source_account"],
            name="map_transactions",
        ),
        Node(
            map_profiles,
            inputs=["raw_profiles", "params:ledger.schema"],
            outputs="profiles",
            name="map_profiles",
        ),
        Node(
            map_user_labels,
            inputs=["raw_user_labels", "params:ledger.schema"],
            outputs="user_labels",
            name="map_user_labels",
        ),
    ])  # fmt: skip
