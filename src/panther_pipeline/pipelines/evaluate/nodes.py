"""Nodes of the evaluate pipeline."""

from typing import Any

import plotly.graph_objects as go
import polars as pl

from panther_pipeline.ledger.schema import LedgerSchema
from panther_pipeline.ledger.simulator import SimulationTruth
from panther_pipeline.metrics import (
    alert_budgets,
    fraud,
    fraud_kinds,
    fraud_oracle,
    merchant_risk,
    next_transaction,
    oracle,
    tuples,
    user_label,
)
from panther_pipeline.metrics.config import (
    BootstrapConfig,
    CostConfig,
    FraudMetricsConfig,
    MerchantRiskMetricsConfig,
    RankingConfig,
)
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.report import (
    alert_budget_plot,
    candidate,
    fraud_plot,
    model_card,
    motifs,
    prototype_plot,
    prototype_summary,
    prototypes,
    run_facts,
    timeline,
    timeline_plot,
    user_map,
)
from panther_pipeline.report.candidate import RegistryConfig
from panther_pipeline.report.model_card import CardConfig, CardContent
from panther_pipeline.report.motifs import MotifConfig
from panther_pipeline.report.prototypes import PrototypeConfig
from panther_pipeline.report.timeline import TimelineConfig
from panther_pipeline.tasks.next_value import ranks as next_value
from panther_pipeline.tasks.next_value.head import NextValueHeads
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.tokenizer.tokenizer import Tokenizer


def rank_next_transactions(backbone: Backbone, token_sequences: TokenSequences, config: RankingConfig) -> pl.DataFrame:
    """The rank of every test transaction, by the backbone and by every baseline."""
    return next_transaction.rank_next_transactions(backbone, token_sequences, config)


def measure_next_transaction(next_transaction_ranks: pl.DataFrame, config: BootstrapConfig) -> list[dict[str, Any]]:
    """Hit rates, ndcg and mrr of all of them, and the distance to the best baseline."""
    return next_transaction.measure_ranks(next_transaction_ranks, config)


def score_next_tuples(
    backbone: Backbone, token_sequences: TokenSequences, tokenizer: Tokenizer, config: RankingConfig
) -> pl.DataFrame:
    """How likely every test transaction was as a combination of attributes, whatever the kind of tokenizer."""
    return tuples.score_next_tuples(backbone, token_sequences, tokenizer, config)


def measure_next_tuples(next_tuple_scores: pl.DataFrame, config: BootstrapConfig) -> list[dict[str, Any]]:
    """Bits per transaction and hit rates on whole combinations."""
    return tuples.measure_next_tuples(next_tuple_scores, config)


def measure_oracle(
    ledger_oracle: pl.DataFrame,
    ledger_truth: SimulationTruth | pl.DataFrame,
    valid_events: pl.LazyFrame,
    tokenizer: Tokenizer,
    next_transaction_ranks: pl.DataFrame,
    config: BootstrapConfig,
) -> list[dict[str, Any]]:
    """The best possible hr@1 where the ledger is simulated; nothing elsewhere."""
    return oracle.measure_oracle(
        ledger_oracle, ledger_truth, valid_events.lazy().collect(), tokenizer, next_transaction_ranks, config
    )


def score_fraud_oracle(
    fraud_scores: pl.DataFrame, ledger_oracle: pl.DataFrame, ledger_truth: SimulationTruth | pl.DataFrame
) -> pl.DataFrame:
    """The best possible scores of the same events where the ledger is simulated; none elsewhere."""
    return fraud_oracle.score_fraud_oracle(fraud_scores, ledger_oracle, ledger_truth)


def measure_fraud_kinds(
    fraud_scores: pl.DataFrame, oracle_fraud_scores: pl.DataFrame, kinds: pl.DataFrame, config: BootstrapConfig
) -> list[dict[str, Any]]:
    """Recall of each kind of fraud; nothing where no kind is known."""
    return fraud_kinds.measure_fraud_kinds(pl.concat([fraud_scores, oracle_fraud_scores]), kinds, config)


def measure_fraud(
    fraud_scores: pl.DataFrame,
    oracle_fraud_scores: pl.DataFrame,
    config: BootstrapConfig,
    fraud_config: FraudMetricsConfig,
) -> list[dict[str, Any]]:
    """Every fraud metric of every row of the comparison; nothing for a ledger without labels."""
    return fraud.measure_fraud_scores(pl.concat([fraud_scores, oracle_fraud_scores]), config, fraud_config)


def tabulate_alert_budgets(fraud_scores: pl.DataFrame, config: CostConfig) -> pl.DataFrame:
    """What so many alerts catch and save."""
    return alert_budgets.tabulate_alert_budgets(fraud_scores, config)


def measure_user_labels(user_label_scores: pl.DataFrame, config: BootstrapConfig) -> list[dict[str, Any]]:
    """How well labels of users are predicted; nothing for a ledger without them."""
    return user_label.measure_user_labels(user_label_scores, config)


def collect_metrics(*metrics: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All records of the run in one list."""
    return [record for records in metrics for record in records]


def measure_merchant_risk(
    merchant_risk_scores: pl.DataFrame, config: BootstrapConfig, merchant_config: MerchantRiskMetricsConfig
) -> list[dict[str, Any]]:
    """Precision and recall of the flagged counterparties, by every model; nothing where none was scored."""
    return merchant_risk.measure_merchant_scores(merchant_risk_scores, config, merchant_config)


def find_motifs(token_sequences: TokenSequences, tokenizer: Tokenizer, config: MotifConfig) -> pl.DataFrame:
    """Short sequences of tokens that recur in the training events more often than in shuffled histories."""
    return motifs.find_motifs(token_sequences, tokenizer, config)


def explain_prototypes(
    backbone: Backbone, token_sequences: TokenSequences, tokenizer: Tokenizer, motifs: pl.DataFrame,
    config: PrototypeConfig,
) -> pl.DataFrame:  # fmt: skip
    """Which tokens and motifs attend to which prototype."""
    return prototypes.tabulate_prototype_weights(backbone, token_sequences, tokenizer, motifs, config)


def plot_prototypes(prototype_weights: pl.DataFrame, config: PrototypeConfig) -> tuple[go.Figure, go.Figure]:
    """Heat maps of prototypes and tokens, and of prototypes and motifs."""
    return (
        prototype_plot.plot_token_prototypes(prototype_weights, config.num_tokens),
        prototype_plot.plot_motif_prototypes(prototype_weights),
    )


def summarise_prototypes(prototype_weights: pl.DataFrame, config: PrototypeConfig) -> list[dict[str, Any]]:
    """How much attention each prototype gets, and what attends to it most."""
    return prototype_summary.summarise_prototypes(prototype_weights, config.num_nearest)


def tabulate_timeline(
    backbone: Backbone,
    token_sequences: TokenSequences,
    tokenizer: Tokenizer,
    valid_events: pl.LazyFrame,
    next_tuple_scores: pl.DataFrame,
    config: TimelineConfig,
) -> pl.DataFrame:
    """How surprised the model was by each event of one user."""
    labels = valid_events.lazy().select("label").collect()["label"]
    return timeline.tabulate_timeline(backbone, token_sequences, tokenizer, labels, next_tuple_scores, config)


def plot_timeline(user_timeline: pl.DataFrame, schema: LedgerSchema) -> go.Figure:
    """Surprise over time."""
    return timeline_plot.plot_timeline(user_timeline, is_timed=schema.is_timed)


def plot_user_map(user_embeddings: pl.DataFrame, seed: int) -> go.Figure:
    """Users in two dimensions."""
    return user_map.plot_user_map(user_embeddings, seed)


def plot_fraud(fraud_scores: pl.DataFrame) -> tuple[go.Figure, go.Figure]:
    """Precision against recall, predicted against observed."""
    return fraud_plot.plot_precision_recall(fraud_scores), fraud_plot.plot_calibration(fraud_scores)


def plot_alert_budgets(alert_budgets: pl.DataFrame, config: CostConfig) -> go.Figure:
    """Recall, precision and money over alerts per day."""
    return alert_budget_plot.plot_alert_budgets(alert_budgets, config)


def describe_run(
    token_sequences: TokenSequences,
    backbone: Backbone,
    code_version: dict[str, str],
    seed: int,
    transfer_report: dict[str, Any],
) -> dict[str, str]:
    """Commit, seed, fingerprints, counts and periods."""
    return run_facts.describe_run(token_sequences, backbone, code_version, seed, transfer_report)


def describe_candidate(
    metrics: list[dict[str, Any]], fraud_scores: pl.DataFrame, facts: dict[str, str], config: RegistryConfig
) -> dict[str, Any]:
    """What the registry of models is told of this run's scorer; the tracking hook tells it."""
    return candidate.describe_candidate(metrics, fraud_scores, facts, config)


def write_model_card(
    config: CardConfig,
    fraud_config: FraudMetricsConfig,
    facts: dict[str, str],
    metrics: list[dict[str, Any]],
    validation_report: dict[str, Any],
    coverage_report: dict[str, Any],
    prototype_summary: list[dict[str, Any]],
    **figures: go.Figure,
) -> str:
    """The model card as one HTML page."""
    content = CardContent(
        config=config,
        short_history=fraud_config.short_history,
        facts=facts,
        metrics=metrics,
        validation_report=validation_report,
        coverage_report=coverage_report,
        prototype_summary=prototype_summary,
        figures=figures,
    )
    return model_card.render_model_card(content)


def rank_next_values(
    backbone: Backbone,
    token_sequences: TokenSequences,
    tokenizer: Tokenizer,
    valid_events: pl.LazyFrame,
    next_value_heads: NextValueHeads,
    config: RankingConfig,
) -> pl.DataFrame:
    """The rank of the value of every test event, by the heads, the backbone alone and every baseline."""
    return next_value.rank_next_values(backbone, token_sequences, tokenizer, valid_events, next_value_heads, config)


def measure_next_values(next_value_ranks: pl.DataFrame, config: BootstrapConfig) -> list[dict[str, Any]]:
    """Hit rates, ndcg and mrr of all of them, attribute by attribute."""
    return next_value.measure_next_values(next_value_ranks, config)
