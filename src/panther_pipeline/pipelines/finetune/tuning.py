"""fraud_task + fraud_head + backbone + token_sequences → a tuned backbone, its head and their scores, per method."""

from kedro.pipeline import Node, Pipeline

from panther_pipeline.pipelines.finetune.nodes import tune_low_rank_updates, tune_whole_backbone

_INPUTS = [
    "fraud_task",
    "fraud_head",
    "backbone",
    "token_sequences",
    "params:embedding.events",
    "params:finetuning.tuning",
]


def create_tuning_pipeline() -> Pipeline:
    """The backbone tuned as a whole, and by low-rank updates; `finetuning.tuning.methods` says which of them."""
    return Pipeline(
        [
            Node(
                tune_whole_backbone,
                inputs=_INPUTS,
                outputs=["tuned_backbone", "tuned_head", "tuned_scores"],
                name="tune_whole_backbone",
            ),
            Node(
                tune_low_rank_updates,
                inputs=_INPUTS,
                outputs=["lora_backbone", "lora_head", "lora_scores"],
                name="tune_low_rank_updates",
            ),
        ]
    )
