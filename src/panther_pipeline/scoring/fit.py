"""Fit the fraud head: settings, epoch and calibration are chosen on rows later than those it is fitted on."""

import logging

import polars as pl
from tqdm import tqdm

from panther_pipeline.scoring.head import NUM_SURPRISES, FraudHead
from panther_pipeline.scoring.loop import HeadRows, LoopConfig, Loss, train_network
from panther_pipeline.scoring.networks.build import build_network
from panther_pipeline.scoring.networks.config import NetworkConfig
from panther_pipeline.scoring.scores import collect_scores, empty_scores, tabulate_scores
from panther_pipeline.scoring.search import choose_setting
from panther_pipeline.scoring.task import FraudTask

logger = logging.getLogger(__name__)

MODEL_NAME = "panther_head"


class HeadConfig(LoopConfig):
    """The head and how it is trained; the head of the first seed is the one that is saved and served."""

    network: NetworkConfig


def fit_fraud_head(
    task: FraudTask, config: HeadConfig, name: str = MODEL_NAME, loss: Loss | None = None
) -> tuple[FraudHead, pl.DataFrame]:
    """Train one head per seed.

    Frauds are rare, and the fit rows may hold a sample of the non-frauds. Probabilities stay probabilities: the log
    odds of the fit rows are an offset of the logit, corrected for the sampling after training, and Platt scaling on
    the calibration rows, which are never sampled, corrects what is left.

    Args:
        task: the rows.
        config: the head; one of its settings is chosen on the calibration rows.
        name: of the row in the comparison.
        loss: what is minimised on the fit rows; None = the cross-entropy of the labels.

    Returns:
        The head of the first seed, and the scores of all seeds on calibration and test rows. A task that
        cannot be fitted gives an untrained head and no scores, with a warning.

    Raises:
        TrainingError: the loss is not finite.
    """
    dim = task.embeddings_RD.shape[1]
    if not task.can_be_fitted:
        logger.warning("Fit or calibration rows lack frauds or non-frauds: %s stays untrained.", name)
        return FraudHead(task.feature_names, dim, config.network, None), empty_scores()
    inputs = (task.features_RF, task.embeddings_RD, task.surprises_RS)
    rows = HeadRows.of(task)
    num_numbers = len(task.feature_names) + NUM_SURPRISES

    def fit(setting: HeadConfig, seed: int) -> FraudHead:
        network = train_network(
            lambda: build_network(num_numbers, dim, setting.network), rows, setting, seed, name, loss
        )
        return FraudHead(task.feature_names, dim, setting.network, network)

    setting = choose_setting(name, config, task, lambda c: fit(c, c.seeds[0]).score(*inputs))
    heads = [fit(setting, seed) for seed in tqdm(config.seeds, desc=name, unit="seed")]
    tables = [
        tabulate_scores(task, head.score(*inputs), name, seed) for head, seed in zip(heads, config.seeds, strict=True)
    ]
    return heads[0], collect_scores(*tables)
