"""Fit the heads that read the history, with the network, loop and settings of the head that does not.

Shape letters: R rows of the task.
"""

import logging
from collections.abc import Callable

import numpy as np
import polars as pl
import torch

from panther_pipeline.scoring.fit import HeadConfig
from panther_pipeline.scoring.history.attention import RecentAttention
from panther_pipeline.scoring.history.config import HistoryConfig
from panther_pipeline.scoring.history.inputs import Histories
from panther_pipeline.scoring.history.network import HistoryNetwork, HistoryPool
from panther_pipeline.scoring.history.textcnn import TextCNN
from panther_pipeline.scoring.loop import HeadRows, predict, train_network
from panther_pipeline.scoring.scores import collect_scores, empty_scores, tabulate_scores
from panther_pipeline.scoring.search import fit_seeds
from panther_pipeline.scoring.task import FIT, FraudTask

logger = logging.getLogger(__name__)

MODEL_NAMES = {"textcnn": "head_textcnn", "attention": "head_attention", "distilled": "head_distilled"}


def fit_history_heads(task: FraudTask, histories: Histories, head: HeadConfig, config: HistoryConfig) -> pl.DataFrame:
    """Train `head_textcnn` and `head_attention`, those of them that `config.models` names.

    They are measured, not saved: what serves has the cached vectors alone (see `distil.py`).

    Args:
        task: the rows.
        histories: of these rows.
        head: fusion network, loop, seeds and settings to try, as for `panther_head`.
        config: what reads the history.

    Returns:
        The scores of all seeds on calibration and test rows; none when the task cannot be fitted, with a warning.

    Raises:
        TrainingError: the loss is not finite.
    """
    kinds = [kind for kind in config.models if kind != "distilled"]
    if kinds and not task.can_be_fitted:
        logger.warning("Fit or calibration rows lack frauds or non-frauds: no head reads the history.")
    if not task.can_be_fitted or not kinds:
        return empty_scores()
    return collect_scores(*(_fit_kind(kind, task, histories, head, config) for kind in kinds))


def _fit_kind(
    kind: str, task: FraudTask, histories: Histories, head: HeadConfig, config: HistoryConfig
) -> pl.DataFrame:
    """Scores of all seeds of one head, with the setting that suits it best."""
    name = MODEL_NAMES[kind]
    rows = HeadRows.of(task, histories.gather)

    def score(setting: HeadConfig, seed: int) -> np.ndarray:
        build = network_builder(kind, rows, histories, setting, config)
        return _score_unfitted(train_network(build, rows, setting, seed, name), rows, task)

    scores = fit_seeds(name, head, task, score, lambda probability_R: probability_R)
    tables = (tabulate_scores(task, score_R, name, seed) for score_R, seed in zip(scores, head.seeds, strict=True))
    return collect_scores(*tables)


def network_builder(
    kind: str, rows: HeadRows, histories: Histories, head: HeadConfig, config: HistoryConfig
) -> Callable[[], HistoryNetwork]:
    """What makes an untrained network of that kind, "textcnn" or "attention"."""
    num_numbers, dim = rows.numbers_RF.shape[1], rows.embedding_RD.shape[1]

    def make_pool() -> HistoryPool:
        if kind == "textcnn":
            return TextCNN(histories.vector_width, config.textcnn, head.network.dropout)
        return RecentAttention(
            num_numbers, dim, histories.vector_width, histories.own_width, histories.num_events, config.attention
        )

    return lambda: HistoryNetwork(num_numbers, dim, make_pool(), head.network)


def _score_unfitted(network: HistoryNetwork, rows: HeadRows, task: FraudTask) -> np.ndarray:
    """Calibrated probabilities, float64 (R,); NaN for fit rows, which are most and which nobody asks for."""
    probability_R = np.full(len(task.part_R), np.nan)
    chosen = np.flatnonzero(task.part_R != FIT)
    logit = torch.from_numpy(predict(network, rows, torch.from_numpy(chosen)))
    probability_R[chosen] = network.to_probability(logit).numpy()
    return probability_R
