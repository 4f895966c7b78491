"""valid_events + event_surprises → merchant_risk_rows, merchant_risk_scores."""

from kedro.pipeline import Node, Pipeline

from panther_pipeline.pipelines.finetune.nodes import score_merchant_risk, tabulate_merchant_risk


def create_merchant_risk_pipeline() -> Pipeline:
    """Which counterparties will see a fraud, from their customers' deviations beside activity and known frauds."""
    return Pipeline(
        [
            Node(
                tabulate_merchant_risk,
                inputs=[
                    "valid_events",
                    "event_surprises",
                    "token_sequences",
                    "params:embedding.events",
                    "params:finetuning.merchant_risk.rows",
                    "params:ledger.splits",
                ],
                outputs="merchant_risk_rows",
                name="tabulate_merchant_risk",
            ),
            Node(
                score_merchant_risk,
                inputs=[
                    "merchant_risk_rows",
                    "params:finetuning.merchant_risk.rows",
                    "params:finetuning.merchant_risk.trees",
                ],
                outputs="merchant_risk_scores",
                name="score_merchant_risk",
            ),
        ]
    )
