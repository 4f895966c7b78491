"""Scores of every task → metrics with intervals, and what alerts catch and save."""

from kedro.pipeline import Node, Pipeline

from panther_pipeline.pipelines.evaluate.nodes import (
    measure_fraud,
    measure_fraud_kinds,
    measure_merchant_risk,
    measure_user_labels,
    plot_alert_budgets,
    plot_fraud,
    score_fraud_oracle,
    tabulate_alert_budgets,
)


def create_decision_pipeline() -> Pipeline:
    """Fraud, as a whole and by kind, labels of users and merchant risk, each model on the same rows."""
    return Pipeline(
        [
            Node(
                score_fraud_oracle,
                inputs=["fraud_scores", "ledger_oracle", "ledger_truth"],
                outputs="oracle_fraud_scores",
                name="score_fraud_oracle",
            ),
            Node(
                measure_fraud,
                inputs=[
                    "fraud_scores", "oracle_fraud_scores", "params:evaluation.bootstrap", "params:evaluation.fraud",
                ],
                outputs="fraud_metrics",
                name="measure_fraud",
            ),
            Node(
                measure_fraud_kinds,
                inputs=["fraud_scores", "oracle_fraud_scores", "fraud_kinds", "params:evaluation.bootstrap"],
                outputs="fraud_kind_metrics",
                name="measure_fraud_kinds",
            ),
            Node(
                plot_fraud,
                inputs="fraud_scores",
                outputs=["precision_recall_plot", "calibration_plot"],
                name="plot_fraud",
            ),
            Node(
                tabulate_alert_budgets,
                inputs=["fraud_scores", "params:evaluation.costs"],
                outputs="alert_budgets",
                name="tabulate_alert_budgets",
            ),
            Node(
                plot_alert_budgets,
                inputs=["alert_budgets", "params:evaluation.costs"],
                outputs="alert_budget_plot",
                name="plot_alert_budgets",
            ),
            Node(
                measure_user_labels,
                inputs=["user_label_scores", "params:evaluation.bootstrap"],
                outputs="user_label_metrics",
                name="measure_user_labels",
            ),
            Node(
                measure_merchant_risk,
                inputs=["merchant_risk_scores", "params:evaluation.bootstrap", "params:evaluation.merchant_risk"],
                outputs="merchant_risk_metrics",
                name="measure_merchant_risk",
            ),
        ]
    )  # fmt: skip
