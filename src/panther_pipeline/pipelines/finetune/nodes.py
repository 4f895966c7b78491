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
from panther_pipeline.scoring.history import distil, inputs
from panther_pipeline.scoring.history import fit as history_fit
from panther_pipeline.scoring.history.config import HistoryConfig
from panther_pipeline.scoring.history.inputs import Histories
from panther_pipeline.scoring.task import FraudTask, FraudTaskConfig
from panther_pipeline.scoring.trees import TreeConfig
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


def gather_histories(
    fraud_task: FraudTask,
    token_sequences: TokenSequences,
    backbone: Backbone,
    config: HistoryConfig,
    events: EventEmbeddingConfig,
) -> Histories:
    """The recent transactions of every row, as the cache had seen them."""
    return inputs.gather_histories(fraud_task, token_sequences, backbone, config, events)


def fit_history_heads(
    fraud_task: FraudTask, histories: Histories, head: HeadConfig, config: HistoryConfig
) -> pl.DataFrame:
    """The scores of heads that read the history."""
    return history_fit.fit_history_heads(fraud_task, histories, head, config)


def distil_head(
    fraud_task: FraudTask, histories: Histories, head: HeadConfig, config: HistoryConfig
) -> tuple[FraudHead, pl.DataFrame]:
    """A head like the one that is served, taught by one that reads the history."""
    return distil.distil_head(fraud_task, histories, head, config)


def collect_scores(
    deviation_scores: pl.DataFrame,
    tree_scores: pl.DataFrame,
    head_scores: pl.DataFrame,
    history_scores: pl.DataFrame,
    distilled_scores: pl.DataFrame,
) -> pl.DataFrame:
    """All rows of the comparison in one table."""
    return scores.collect_scores(deviation_scores, tree_scores, head_scores, history_scores, distilled_scores)
