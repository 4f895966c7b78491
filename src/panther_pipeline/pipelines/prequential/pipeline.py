"""backbone + valid_events + event_features → prequential_scores, prequential_metrics, a table and a figure."""

from kedro.pipeline import Node, Pipeline

from panther_pipeline.pipelines.prequential.nodes import (
    embed_shifts,
    measure_shifts,
    plan_shifts,
    plot_prequential,
    score_shifts,
    write_prequential_table,
)


def create_pipeline(**kwargs) -> Pipeline:
    """Shifts in time, the rows they read, the scores of refitted and ageing models, what these amount to."""
    return Pipeline(
        [
            Node(
                plan_shifts,
                inputs=["valid_events", "params:prequential", "params:finetuning.task", "params:ledger.splits"],
                outputs="prequential_shifts",
                name="plan_shifts",
            ),
            Node(
                embed_shifts,
                inputs=[
                    "valid_events",
                    "backbone",
                    "token_sequences",
                    "event_surprises",
                    "prequential_shifts",
                    "params:embedding.events",
                ],
                outputs="shift_embeddings",
                name="embed_shifts",
            ),
            Node(
                score_shifts,
                inputs=[
                    "valid_events",
                    "event_features",
                    "shift_embeddings",
                    "prequential_shifts",
                    "params:prequential",
                    "params:finetuning.head",
                    "params:finetuning.trees",
                ],
                outputs="prequential_scores",
                name="score_shifts",
            ),
            Node(
                measure_shifts,
                inputs=["prequential_scores", "params:evaluation.bootstrap"],
                outputs="prequential_metrics",
                name="measure_shifts",
            ),
            Node(
                write_prequential_table,
                inputs=[
                    "prequential_metrics",
                    "prequential_shifts",
                    "params:prequential",
                    "token_sequences",
                    "backbone",
                    "code_version",
                    "params:pretraining.training.seed",
                    "transfer_report",
                ],
                outputs="prequential_table",
                name="write_prequential_table",
            ),
            Node(
                plot_prequential,
                inputs="prequential_metrics",
                outputs="prequential_plot",
                name="plot_prequential",
            ),
        ]
    )
