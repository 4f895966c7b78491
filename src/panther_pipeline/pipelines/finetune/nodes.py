"""Nodes of the finetune pipeline."""

import polars as pl

from panther_pipeline.cache.embed import EventEmbeddingConfig
from panther_pipeline.features import point_in_time
from panther_pipeline.features.config import FeatureConfig
from panther_pipeline.ledger.splits import SplitConfig
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.not_asked import NotAsked
from panther_pipeline.scoring import deviations, fit, scores, task, trees
from panther_pipeline.scoring.fit import HeadConfig
from panther_pipeline.scoring.head import FraudHead
from panther_pipeline.scoring.history import distil, inputs
from panther_pipeline.scoring.history import fit as history_fit
from panther_pipeline.scoring.history.config import HistoryConfig
from panther_pipeline.scoring.history.inputs import Histories
from panther_pipeline.scoring.identity import identify
from panther_pipeline.scoring.task import FraudTask, FraudTaskConfig
from panther_pipeline.scoring.trees import TreeConfig
from panther_pipeline.scoring.tuning.config import TuningConfig
from panther_pipeline.scoring.tuning.fit import tune_backbone
from panther_pipeline.tasks.merchant_risk import deviations as merchant_deviations
from panther_pipeline.tasks.merchant_risk import rows as merchant_rows
from panther_pipeline.tasks.merchant_risk import score as merchant_score
from panther_pipeline.tasks.merchant_risk.config import MerchantRiskConfig
from panther_pipeline.tasks.next_value import fit as next_value
from panther_pipeline.tasks.next_value import values
from panther_pipeline.tasks.next_value.config import NextValueConfig
from panther_pipeline.tasks.next_value.head import NextValueHeads
from panther_pipeline.tasks.user_label import aggregates, states
from panther_pipeline.tasks.user_label import fit as user_label_fit
from panther_pipeline.tasks.user_label.aggregates import HistoryConfig as UserHistoryConfig
from panther_pipeline.tasks.user_label.fit import ModelsConfig
from panther_pipeline.tasks.user_label.protocol import ProtocolConfig
from panther_pipeline.tokenizer.fields import FittedField
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


def fit_fraud_head(
    fraud_task: FraudTask, backbone: Backbone, features: FeatureConfig, config: HeadConfig
) -> tuple[FraudHead, pl.DataFrame]:
    """The head that is served, and the scores of all seeds; backbone and features are read for its identity alone."""
    return fit.fit_fraud_head(fraud_task, config, identity=identify(backbone, features, fraud_task.feature_names))


def score_without_backbone(fraud_task: FraudTask, config: HeadConfig) -> pl.DataFrame:
    """The scores of the same head on features alone."""
    return fit.score_without_backbone(fraud_task, config)


def fit_tree_baselines(fraud_task: FraudTask, config: TreeConfig) -> pl.DataFrame:
    """The scores of boosted trees on features, embeddings and both."""
    return trees.fit_tree_baselines(fraud_task, config)


def score_deviations(fraud_task: FraudTask) -> pl.DataFrame:
    """The scores of deviation from expected behaviour alone."""
    return deviations.score_deviations(fraud_task)


def collect_scores(*tables: pl.DataFrame) -> pl.DataFrame:
    """All rows of the comparison in one table."""
    return scores.collect_scores(*tables)


def aggregate_histories(
    valid_events: pl.LazyFrame,
    user_labels: pl.DataFrame,
    profiles: pl.DataFrame,
    config: UserHistoryConfig,
    protocol: ProtocolConfig,
) -> pl.DataFrame:
    """What the events before each labelled date amount to."""
    return aggregates.aggregate_histories(valid_events.lazy(), user_labels, profiles, config, protocol.fit_before)


def embed_histories(
    user_label_features: pl.DataFrame,
    token_sequences: TokenSequences,
    backbone: Backbone,
    event_surprises: pl.DataFrame,
    config: EventEmbeddingConfig,
) -> pl.DataFrame:
    """What the backbone knew of each user on the labelled date."""
    return states.embed_histories(user_label_features, token_sequences, backbone, event_surprises, config)


def score_user_labels(
    user_label_features: pl.DataFrame,
    user_label_embeddings: pl.DataFrame,
    protocol: ProtocolConfig,
    config: ModelsConfig,
) -> pl.DataFrame:
    """Probabilities of the judged labels by every model."""
    return user_label_fit.score_user_labels(user_label_features, user_label_embeddings, protocol, config)


def fit_value_fields(
    valid_events: pl.LazyFrame, token_sequences: TokenSequences, config: NextValueConfig
) -> list[FittedField]:
    """The values of each attribute that can be forecast."""
    return values.fit_value_fields(valid_events, token_sequences, config)


def fit_next_value_heads(
    value_fields: list[FittedField],
    valid_events: pl.LazyFrame,
    token_sequences: TokenSequences,
    backbone: Backbone,
    config: NextValueConfig,
) -> NextValueHeads:
    """What forecasts the next value of each attribute from the state before it."""
    return next_value.fit_next_value_heads(value_fields, valid_events, token_sequences, backbone, config)


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


def tune_whole_backbone(
    fraud_task: FraudTask,
    fraud_head: FraudHead,
    backbone: Backbone,
    token_sequences: TokenSequences,
    events: EventEmbeddingConfig,
    config: TuningConfig,
) -> tuple[Backbone | NotAsked, FraudHead | NotAsked, pl.DataFrame]:
    """Every weight tuned for fraud, with the head that goes with it, and its scores."""
    return tune_backbone("full", fraud_task, fraud_head, backbone, token_sequences, events, config)


def tune_low_rank_updates(
    fraud_task: FraudTask,
    fraud_head: FraudHead,
    backbone: Backbone,
    token_sequences: TokenSequences,
    events: EventEmbeddingConfig,
    config: TuningConfig,
) -> tuple[Backbone | NotAsked, FraudHead | NotAsked, pl.DataFrame]:
    """Low-rank updates tuned for fraud and merged, with the head that goes with them, and its scores."""
    return tune_backbone("lora", fraud_task, fraud_head, backbone, token_sequences, events, config)


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
    fraud_task: FraudTask,
    histories: Histories,
    backbone: Backbone,
    features: FeatureConfig,
    head: HeadConfig,
    config: HistoryConfig,
) -> tuple[FraudHead | NotAsked, pl.DataFrame]:
    """A head like the one that is served, taught by one that reads the history."""
    identity = identify(backbone, features, fraud_task.feature_names)
    return distil.distil_head(fraud_task, histories, head, config, identity)
