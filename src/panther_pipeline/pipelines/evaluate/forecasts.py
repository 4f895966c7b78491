"""backbone + token_sequences + next_value_heads → ranks, scores and metrics of what comes next."""

from kedro.pipeline import Node, Pipeline

from panther_pipeline.pipelines.evaluate.nodes import (
    measure_next_transaction,
    measure_next_tuples,
    measure_next_values,
    measure_oracle,
    rank_next_transactions,
    rank_next_values,
    score_next_tuples,
)


def create_forecast_pipeline() -> Pipeline:
    """What comes next, by the backbone and the baselines: transactions, combinations of attributes, single values."""
    return Pipeline(
        [
            Node(
                rank_next_transactions,
                inputs=["backbone", "token_sequences", "params:evaluation.ranking"],
                outputs="next_transaction_ranks",
                name="rank_next_transactions",
            ),
            Node(
                measure_next_transaction,
                inputs=["next_transaction_ranks", "params:evaluation.bootstrap"],
                outputs="next_transaction_metrics",
                name="measure_next_transaction",
            ),
            Node(
                score_next_tuples,
                inputs=["backbone", "token_sequences", "tokenizer", "params:evaluation.ranking"],
                outputs="next_tuple_scores",
                name="score_next_tuples",
            ),
            Node(
                measure_next_tuples,
                inputs=["next_tuple_scores", "params:evaluation.bootstrap"],
                outputs="next_tuple_metrics",
                name="measure_next_tuples",
            ),
            Node(
                measure_oracle,
                inputs=[
                    "ledger_oracle", "ledger_truth", "valid_events", "tokenizer", "next_transaction_ranks",
                    "params:evaluation.bootstrap",
                ],
                outputs="oracle_metrics",
                name="measure_oracle",
            ),
            Node(
                rank_next_values,
                inputs=[
                    "backbone", "token_sequences", "tokenizer", "valid_events", "next_value_heads",
                    "params:evaluation.ranking",
                ],
                outputs="next_value_ranks",
                name="rank_next_values",
            ),
            Node(
                measure_next_values,
                inputs=["next_value_ranks", "params:evaluation.bootstrap"],
                outputs="next_value_metrics",
                name="measure_next_values",
            ),
        ]
    )  # fmt: skip
