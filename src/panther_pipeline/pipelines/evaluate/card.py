"""All metrics and figures → metrics, model_candidate, model_card."""

from kedro.pipeline import Node, Pipeline

from panther_pipeline.pipelines.evaluate.nodes import (
    collect_metrics,
    describe_candidate,
    describe_run,
    write_model_card,
)


def create_card_pipeline() -> Pipeline:
    """One list of records, and the page that shows them."""
    return Pipeline(
        [
            Node(
                collect_metrics,
                inputs=[
                    "next_transaction_metrics", "next_tuple_metrics", "next_value_metrics", "oracle_metrics",
                    "fraud_metrics", "fraud_kind_metrics", "user_label_metrics", "merchant_risk_metrics",
                ],
                outputs="metrics",
                name="collect_metrics",
            ),
            Node(
                describe_run,
                inputs=[
                    "token_sequences", "backbone", "code_version", "params:pretraining.training.seed",
                    "transfer_report",
                ],
                outputs="run_facts",
                name="describe_run",
            ),
            Node(
                describe_candidate,
                inputs=["metrics", "fraud_scores", "run_facts", "params:evaluation.registry"],
                outputs="model_candidate",
                name="describe_candidate",
            ),
            Node(
                write_model_card,
                inputs={
                    "config": "params:evaluation.card",
                    "fraud_config": "params:evaluation.fraud",
                    "facts": "run_facts",
                    "metrics": "metrics",
                    "validation_report": "validation_report",
                    "coverage_report": "coverage_report",
                    "training": "training_plot",
                    "coverage": "coverage_plot",
                    "precision_recall": "precision_recall_plot",
                    "calibration": "calibration_plot",
                    "alert_budget": "alert_budget_plot",
                    "prototype_summary": "prototype_summary",
                    "prototypes": "prototype_plot",
                    "motifs": "motif_plot",
                    "timeline": "timeline_plot",
                    "users": "user_map",
                },
                outputs="model_card",
                name="write_model_card",
            ),
        ]
    )  # fmt: skip
