"""Fit the fraud head: settings, epoch and calibration are chosen on rows later than those it is fitted on."""

import logging

import polars as pl

from panther_pipeline.scoring.head import NUM_SURPRISES, FraudHead
from panther_pipeline.scoring.loop import HeadRows, LoopConfig, Loss, train_network
from panther_pipeline.scoring.networks.base import HeadNetwork
from panther_pipeline.scoring.networks.build import build_network, restore_network
from panther_pipeline.scoring.networks.config import NetworkConfig
from panther_pipeline.scoring.scores import collect_scores, empty_scores, tabulate_scores
from panther_pipeline.scoring.search import fit_seeds
from panther_pipeline.scoring.task import FraudTask

logger = logging.getLogger(__name__)

MODEL_NAME, FEATURES_ONLY = "panther_head", "head_features"


class HeadConfig(LoopConfig):
    """The head and how it is trained; the head of the first seed is the one that is saved and served."""

    network: NetworkConfig
    also_without_backbone: bool  # whether to fit it on features alone as well, for the comparison


def fit_fraud_head(
    task: FraudTask,
    config: HeadConfig,
    name: str = MODEL_NAME,
    loss: Loss | None = None,
    identity: dict[str, str] | None = None,
) -> tuple[FraudHead, pl.DataFrame]:
    """Train one head per seed.

    Frauds are rare, and the fit rows may hold a sample of the non-frauds. Probabilities stay probabilities: the log
    odds of the fit rows are an offset of the logit, corrected for the sampling after training, and calibration on
    the calibration rows, which are never sampled, corrects what is left.

    Args:
        task: the rows.
        config: the head; one of its settings is chosen on the calibration rows.
        name: of the row in the comparison.
        loss: what is minimised on the fit rows; None = the cross-entropy of the labels.
        identity: of the run that the task was made of, from `scoring.identity`; None = unknown.

    Returns:
        The head of the first seed, and the scores of all seeds on calibration and test rows. A task that
        cannot be fitted gives an untrained head and no scores, with a warning.

    Raises:
        TrainingError: the loss is not finite.
    """
    if not task.can_be_fitted:
        logger.warning("Fit or calibration rows lack frauds or non-frauds: %s stays untrained.", name)
        untrained = FraudHead(task.feature_names, task.embeddings_RD.shape[1], config.network, None, identity)
        return untrained, empty_scores()
    inputs = (task.features_RF, task.embeddings_RD, task.surprises_RS)
    heads = fit_seeds(
        name,
        config,
        task,
        lambda c, seed: train_head(task, c, seed, name, loss, identity),
        lambda head: head.score(*inputs),
    )
    tables = [
        tabulate_scores(task, head.score(*inputs), name, seed) for head, seed in zip(heads, config.seeds, strict=True)
    ]
    return heads[0], collect_scores(*tables)


def score_without_backbone(task: FraudTask, config: HeadConfig) -> pl.DataFrame:
    """The scores of the same head, trained in the same way, on features alone: what the backbone brings to it.

    Returns:
        The scores of all seeds; none where `config.also_without_backbone` is off or the task cannot be fitted.
    """
    if not config.also_without_backbone:
        return empty_scores()
    return fit_fraud_head(task.without_backbone(), config, FEATURES_ONLY)[1]


def train_head(
    task: FraudTask,
    config: HeadConfig,
    seed: int,
    name: str = MODEL_NAME,
    loss: Loss | None = None,
    identity: dict[str, str] | None = None,
) -> FraudHead:
    """One calibrated head with the block's own settings; the task must have both classes to fit and calibrate on."""
    num_numbers, dim = len(task.feature_names) + NUM_SURPRISES, task.embeddings_RD.shape[1]
    network = train_network(
        lambda: build_network(num_numbers, dim, config.network), HeadRows.of(task), config, seed, name, loss
    )
    return FraudHead(task.feature_names, dim, config.network, network.as_arrays(), identity)


def copy_network(head: FraudHead) -> HeadNetwork:
    """The network of a trained head, with statistics and calibration, to be trained on."""
    assert head.weights is not None, "an untrained head has no network"
    num_numbers = len(head.feature_names) + NUM_SURPRISES
    return restore_network(num_numbers, head.embedding_dim, head.config, head.weights)
