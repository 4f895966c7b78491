"""Gradient-boosted trees on the same rows: what features alone, embeddings alone and both together reach.

The trees are a yardstick, never served, and not saved: scikit-learn offers no format but pickle.

Shape letters: R rows of the task, C calibration rows, F features, D embedding width, S = 3 surprise values, X inputs.

Source: Chen & Guestrin 2016 and Ke et al. 2017, in scikit-learn's HistGradientBoostingClassifier.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from pydantic import Field
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from panther_pipeline.scoring.calibration import IsotonicScaler, PlattScaler, fit_scaler, to_logit
from panther_pipeline.scoring.networks.config import CalibrationKind
from panther_pipeline.scoring.rows import LabelledRows
from panther_pipeline.scoring.scores import collect_scores, empty_scores, tabulate_scores
from panther_pipeline.scoring.search import Searchable, fit_seeds
from panther_pipeline.scoring.task import CALIBRATION, FIT, FraudTask

logger = logging.getLogger(__name__)

TREE_MODELS = ("trees_features", "trees_embeddings", "trees_both")  # what is read, in the order of tables


class TreeConfig(Searchable):
    """Boosting; one fit per seed and row of the comparison, each row with the setting that suits it best."""

    learning_rate: float = Field(gt=0)
    num_rounds: int = Field(gt=0)
    max_leaves: int = Field(gt=1)
    min_rows_per_leaf: int = Field(gt=0)
    l2: float = Field(ge=0)
    feature_share: float = Field(gt=0, le=1)  # drawn at every split; below 1 it is what makes seeds differ
    num_threads: int = Field(gt=0)
    calibration: CalibrationKind  # how logits become probabilities, on the calibration rows


def fit_tree_baselines(task: FraudTask, config: TreeConfig) -> pl.DataFrame:
    """Fit all TREE_MODELS and score the calibration and test rows.

    Returns:
        The table of scores (calibrated probabilities); no rows when the task cannot be fitted.
    """
    if not task.can_be_fitted:
        logger.warning("Fit or calibration rows lack frauds or non-frauds: no tree baselines.")
        return empty_scores()
    inputs = {name: tree_inputs(task, name) for name in TREE_MODELS}
    fits = fit_each_seed(inputs, task, config)
    return collect_scores(*(tabulate_scores(task, score_R, name, seed) for name, seed, score_R in fits))


def fit_each_seed(
    inputs: dict[str, np.ndarray], task: LabelledRows, config: TreeConfig
) -> Iterator[tuple[str, int, np.ndarray]]:
    """Fit trees on each of several inputs with the setting that suits it best, once per seed.

    Args:
        inputs: name of the model → (R, X) numbers; NaN = missing.
        task: its rows, of which those to fit on and to calibrate on hold both classes.
        config: of all fits.

    Yields:
        Name, seed and the calibrated probabilities of all rows, float64 (R,).
    """
    for name, inputs_RX in inputs.items():

        def fit(setting: TreeConfig, seed: int, inputs_RX: np.ndarray = inputs_RX) -> np.ndarray:
            return fit_trees(inputs_RX, task, setting, seed).score(inputs_RX)

        scores = fit_seeds(name, config, task, fit, lambda probability_R: probability_R)
        yield from ((name, seed, score_R) for seed, score_R in zip(config.seeds, scores, strict=True))


def tree_inputs(task: FraudTask, model: str) -> np.ndarray:
    """What the trees of one of TREE_MODELS read of every row of the task, float32 (R, X)."""
    columns = {
        "trees_features": [task.features_RF],
        "trees_embeddings": [task.embeddings_RD, task.surprises_RS],
        "trees_both": [task.features_RF, task.embeddings_RD, task.surprises_RS],
    }
    return np.hstack(columns[model])


@dataclass(frozen=True, kw_only=True)
class CalibratedTrees:
    """Fitted trees that give probabilities at natural prevalence."""

    trees: HistGradientBoostingClassifier
    scaler: PlattScaler | IsotonicScaler
    prior_shift: float  # of the task they were fitted on
    num_threads: int

    def score(self, inputs_RX: np.ndarray) -> np.ndarray:
        """Calibrated probabilities, float64 (R,), of rows of this task or of a later one."""
        with _limit_threads(self.num_threads):
            return self.scaler.apply(to_logit(self.trees.predict_proba(inputs_RX)[:, 1]) + self.prior_shift)


def fit_trees(inputs_RX: np.ndarray, task: LabelledRows, config: TreeConfig, seed: int) -> CalibratedTrees:
    """Fit with the block's own settings; the task must have both classes to fit and calibrate on.

    Args:
        inputs_RX: what the trees read of every row of the task, from `tree_inputs`.
        task: names the rows to fit and to calibrate on, and their labels.
        config: the settings; its seeds and its search are not read.
        seed: of the draws of features.
    """
    trees = HistGradientBoostingClassifier(
        learning_rate=config.learning_rate,
        max_iter=config.num_rounds,
        max_leaf_nodes=config.max_leaves,
        min_samples_leaf=config.min_rows_per_leaf,
        l2_regularization=config.l2,
        max_features=config.feature_share,
        early_stopping=False,  # its own hold-out is drawn at random, across time
        random_state=seed,
    )
    fit, calibration = task.rows(FIT), task.rows(CALIBRATION)
    with _limit_threads(config.num_threads):
        trees.fit(inputs_RX[fit], task.label_R[fit])
        logit_C = to_logit(trees.predict_proba(inputs_RX[calibration])[:, 1]) + task.prior_shift
    scaler = fit_scaler(config.calibration, logit_C, task.label_R[calibration])
    return CalibratedTrees(trees=trees, scaler=scaler, prior_shift=task.prior_shift, num_threads=config.num_threads)


def _limit_threads(num_threads: int) -> threadpool_limits:
    """Boosting spins on its threads; more threads than free cores made a fit 20 times slower."""
    return threadpool_limits(limits=num_threads, user_api="openmp")
