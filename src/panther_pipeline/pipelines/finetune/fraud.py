"""valid_events + event_embeddings → event_features, fraud_head, fraud_scores."""

from kedro.pipeline import Node, Pipeline

from panther_pipeline.pipelines.finetune.nodes import (
    assemble_fraud_task,
    collect_scores,
    compute_features,
    fit_fraud_head,
    fit_tree_baselines,
    score_deviations,
    score_without_backbone,
)


def create_fraud_pipeline() -> Pipeline:
    """A calibrated fraud head beside deviation alone, boosted trees and itself without the backbone."""
    return Pipeline(
        [
            Node(
                compute_features,
                inputs=["valid_events", "params:finetuning.features"],
                outputs="event_features",
                name="compute_features",
            ),
            Node(
                assemble_fraud_task,
                inputs=[
                    "valid_events",
                    "event_features",
                    "event_embeddings",
                    "params:finetuning.task",
                    "params:ledger.splits",
                ],
                outputs="fraud_task",
                name="assemble_fraud_task",
            ),
            Node(
                fit_fraud_head,
                inputs=["fraud_task", "backbone", "params:finetuning.features", "params:finetuning.head"],
                outputs=["fraud_head", "head_scores"],
                name="fit_fraud_head",
            ),
            Node(
                score_without_backbone,
                inputs=["fraud_task", "params:finetuning.head"],
                outputs="feature_head_scores",
                name="score_without_backbone",
            ),
            Node(
                fit_tree_baselines,
                inputs=["fraud_task", "params:finetuning.trees"],
                outputs="tree_scores",
                name="fit_tree_baselines",
            ),
            Node(
                score_deviations,
                inputs="fraud_task",
                outputs="deviation_scores",
                name="score_deviations",
            ),
            Node(
                collect_scores,
                inputs=[
                    "deviation_scores",
                    "tree_scores",
                    "feature_head_scores",
                    "head_scores",
                    "history_scores",
                    "distilled_scores",
                    "tuned_scores",
                    "lora_scores",
                ],
                outputs="fraud_scores",
                name="collect_scores",
            ),
        ]
    )
