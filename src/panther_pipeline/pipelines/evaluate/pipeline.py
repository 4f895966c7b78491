"""backbone + token_sequences + heads + fraud_scores → ranks, next_tuple_scores, metrics, plots, model_card."""

from kedro.pipeline import Node, Pipeline

from panther_pipeline.pipelines.evaluate.nodes import (
    collect_metrics,
    describe_run,
    explain_prototypes,
    find_motifs,
    measure_fraud,
    measure_fraud_kinds,
    measure_merchant_risk,
    measure_next_transaction,
    measure_next_tuples,
    measure_next_values,
    measure_oracle,
    measure_user_labels,
    plot_alert_budgets,
    plot_fraud,
    plot_prototypes,
    plot_timeline,
    plot_user_map,
    rank_next_transactions,
    rank_next_values,
    score_fraud_oracle,
    score_next_tuples,
    summarise_prototypes,
    tabulate_alert_budgets,
    tabulate_timeline,
    write_model_card,
)


def create_pipeline(**kwargs) -> Pipeline:
    """Forecasts and scores against baselines, with intervals, and the page that shows them."""
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
                score_fraud_oracle,
                inputs=["fraud_scores", "ledger_oracle", "ledger_truth"],
                outputs="oracle_fraud_scores",
                name="score_fraud_oracle",
            ),
            Node(
                measure_fraud_kinds,
                inputs=["fraud_scores", "oracle_fraud_scores", "fraud_kinds", "params:evaluation.bootstrap"],
                outputs="fraud_kind_metrics",
                name="measure_fraud_kinds",
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
                tabulate_alert_budgets,
                inputs=["fraud_scores", "params:evaluation.costs"],
                outputs="alert_budgets",
                name="tabulate_alert_budgets",
            ),
            Node(
                measure_user_labels,
                inputs=["user_label_scores", "params:evaluation.bootstrap"],
                outputs="user_label_metrics",
                name="measure_user_labels",
            ),
            Node(
                collect_metrics,
                inputs=[
                    "next_transaction_metrics", "next_tuple_metrics", "oracle_metrics", "fraud_metrics",
                    "fraud_kind_metrics",
                    "user_label_metrics",
                    "next_value_metrics",
                    "merchant_risk_metrics",
                ],
                outputs="metrics",
                name="collect_metrics",
            ),
            Node(
                find_motifs,
                inputs=["token_sequences", "tokenizer", "params:evaluation.motifs"],
                outputs="motifs",
                name="find_motifs",
            ),
            Node(
                explain_prototypes,
                inputs=["backbone", "token_sequences", "tokenizer", "motifs", "params:evaluation.prototypes"],
                outputs="prototype_weights",
                name="explain_prototypes",
            ),
            Node(
                plot_prototypes,
                inputs=["prototype_weights", "params:evaluation.prototypes"],
                outputs=["prototype_plot", "motif_plot"],
                name="plot_prototypes",
            ),
            Node(
                summarise_prototypes,
                inputs=["prototype_weights", "params:evaluation.prototypes"],
                outputs="prototype_summary",
                name="summarise_prototypes",
            ),
            Node(
                tabulate_timeline,
                inputs=[
                    "backbone", "token_sequences", "tokenizer", "valid_events", "next_tuple_scores",
                    "params:evaluation.timeline",
                ],
                outputs="user_timeline",
                name="tabulate_timeline",
            ),
            Node(
                plot_timeline,
                inputs=["user_timeline", "params:ledger.schema"],
                outputs="timeline_plot",
                name="plot_timeline",
            ),
            Node(
                plot_user_map,
                inputs=["user_embeddings", "params:evaluation.user_map.seed"],
                outputs="user_map",
                name="plot_user_map",
            ),
            Node(
                plot_fraud,
                inputs="fraud_scores",
                outputs=["precision_recall_plot", "calibration_plot"],
                name="plot_fraud",
            ),
            Node(
                plot_alert_budgets,
                inputs=["alert_budgets", "params:evaluation.costs"],
                outputs="alert_budget_plot",
                name="plot_alert_budgets",
            ),
            Node(
                describe_run,
                inputs=["token_sequences", "backbone", "code_version", "params:pretraining.training.seed"],
                outputs="run_facts",
                name="describe_run",
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
            Node(
                measure_merchant_risk,
                inputs=["merchant_risk_scores", "params:evaluation.bootstrap", "params:evaluation.merchant_risk"],
                outputs="merchant_risk_metrics",
                name="measure_merchant_risk",
            ),
        ]
    )  # fmt: skip
