"""Nodes of the finetune pipeline."""

import polars as pl

from panther_pipeline.cache.embed import EventEmbeddingConfig
from panther_pipeline.features import point_in_time
from panther_pipeline.features.config import FeatureConfig
from panther_pipeline.ledger.splits import SplitConfig
from panther_pipeline.scoring import deviations, fit, scores, task, trees
from panther_pipeline.scoring.fit import HeadConfig
from panther_pipeline.scoring.head import FraudHead
from panther_pipeline.scoring.task import FraudTask, FraudTaskConfig
from panther_pipeline.scoring.trees import TreeConfig
from panther_pipeline.tasks.merchant_risk import deviations as merchant_deviations
from panther_pipeline.tasks.merchant_risk import rows as merchant_rows
from panther_pipeline.tasks.merchant_risk import score as merchant_score
from panther_pipeline.tasks.merchant_risk.config import MerchantRiskConfig
from panther_pipeline.tokenizer.sequences import TokenSequences


def compute_features(valid_events: pl.LazyFrame, config: FeatureConfig) -> pl.DataFrame:
    """What was known just before every event."""
    return point_in_time.compute_features(valid_events.lazy().collect(), config)


def assemble_fraud_task(
    valid_events: pl.LazyFrame,
    event_features: pl.DataFrame,
    event_embeddings: pl.DataFrame,
    config: FraudTaskConfig,
    splits: SplitConfig,
) -> FraudTask:
    """The labelled rows to fit on, calibrate on and judge on."""
    return task.assemble_fraud_task(valid_events.lazy().collect(), event_features, event_embeddings, config, splits)


def fit_fraud_head(fraud_task: FraudTask, config: HeadConfig) -> tuple[FraudHead, pl.DataFrame]:
    """The head that is served, and the scores of all seeds."""
    return fit.fit_fraud_head(fraud_task, config)


def fit_tree_baselines(fraud_task: FraudTask, config: TreeConfig) -> pl.DataFrame:
    """The scores of boosted trees on features, embeddings and both."""
    return trees.fit_tree_baselines(fraud_task, config)


def score_deviations(fraud_task: FraudTask) -> pl.DataFrame:
    """The scores of deviation from expected behaviour alone."""
    return deviations.score_deviations(fraud_task)


def collect_scores(
    deviation_scores: pl.DataFrame, tree_scores: pl.DataFrame, head_scores: pl.DataFrame
) -> pl.DataFrame:
    """All rows of the comparison in one table."""
    return scores.collect_scores(deviation_scores, tree_scores, head_scores)


def tabulate_merchant_risk(
    valid_events: pl.LazyFrame,
    event_surprises: pl.DataFrame,
    token_sequences: TokenSequences,
    embedding: EventEmbeddingConfig,
    config: MerchantRiskConfig,
    splits: SplitConfig,
) -> pl.DataFrame:
    """What was known of every counterparty at regular instants, and whether a fraud followed."""
    events = valid_events.lazy().collect()
    deviations = merchant_deviations.measure_deviations(events, event_surprises, token_sequences, embedding.refresh)
    return merchant_rows.tabulate_rows(events, deviations, config, splits)


def score_merchant_risk(
    merchant_risk_rows: pl.DataFrame, config: MerchantRiskConfig, trees: TreeConfig
) -> pl.DataFrame:
    """The scores of all models of merchant risk."""
    return merchant_score.score_rows(merchant_risk_rows, config, trees)
