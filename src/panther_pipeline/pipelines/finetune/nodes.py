"""Nodes of the finetune pipeline."""

import polars as pl

from panther_pipeline.cache.embed import EventEmbeddingConfig
from panther_pipeline.features import point_in_time
from panther_pipeline.features.config import FeatureConfig
from panther_pipeline.ledger.splits import SplitConfig
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.scoring import deviations, fit, scores, task, trees
from panther_pipeline.scoring.fit import HeadConfig
from panther_pipeline.scoring.head import FraudHead
from panther_pipeline.scoring.task import FraudTask, FraudTaskConfig
from panther_pipeline.scoring.trees import TreeConfig
from panther_pipeline.scoring.tuning.config import TuningConfig
from panther_pipeline.scoring.tuning.fit import tune_backbone
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


def collect_scores(*tables: pl.DataFrame) -> pl.DataFrame:
    """All rows of the comparison in one table."""
    return scores.collect_scores(*tables)


def tune_whole_backbone(
    fraud_task: FraudTask,
    fraud_head: FraudHead,
    backbone: Backbone,
    token_sequences: TokenSequences,
    events: EventEmbeddingConfig,
    config: TuningConfig,
) -> tuple[Backbone, FraudHead, pl.DataFrame]:
    """Every weight tuned for fraud, with the head that goes with it, and its scores."""
    return tune_backbone("full", fraud_task, fraud_head, backbone, token_sequences, events, config)


def tune_low_rank_updates(
    fraud_task: FraudTask,
    fraud_head: FraudHead,
    backbone: Backbone,
    token_sequences: TokenSequences,
    events: EventEmbeddingConfig,
    config: TuningConfig,
) -> tuple[Backbone, FraudHead, pl.DataFrame]:
    """Low-rank updates tuned for fraud and merged, with the head that goes with them, and its scores."""
    return tune_backbone("lora", fraud_task, fraud_head, backbone, token_sequences, events, config)
