"""token_sequences + backbone + fraud_task → history_scores, distilled_head, distilled_scores."""

from kedro.pipeline import Node, Pipeline

from panther_pipeline.pipelines.finetune.nodes import distil_head, fit_history_heads, gather_histories


def create_history_pipeline() -> Pipeline:
    """Fraud heads that read recent transactions, and the served head taught by one of them."""
    return Pipeline(
        [
            Node(
                gather_histories,
                inputs=[
                    "fraud_task",
                    "token_sequences",
                    "backbone",
                    "params:finetuning.history",
                    "params:embedding.events",
                ],
                outputs="histories",
                name="gather_histories",
            ),
            Node(
                fit_history_heads,
                inputs=["fraud_task", "histories", "params:finetuning.head", "params:finetuning.history"],
                outputs="history_scores",
                name="fit_history_heads",
            ),
            Node(
                distil_head,
                inputs=[
                    "fraud_task",
                    "histories",
                    "backbone",
                    "params:finetuning.features",
                    "params:finetuning.head",
                    "params:finetuning.history",
                ],
                outputs=["distilled_head", "distilled_scores"],
                name="distil_head",
            ),
        ]
    )
