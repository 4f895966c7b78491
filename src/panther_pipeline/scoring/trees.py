"""Gradient-boosted trees on the same rows: what features alone, embeddings alone and both together reach.

The trees are a yardstick, never served, and not saved: scikit-learn offers no format but pickle.

Source: Chen & Guestrin 2016 and Ke et al. 2017, in scikit-learn's HistGradientBoostingClassifier.
"""

import logging
from collections.abc import Iterator

import numpy as np
import polars as pl
from pydantic import Field
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from panther_pipeline.scoring.calibration import PlattScaler, to_logit
from panther_pipeline.scoring.rows import LabelledRows
from panther_pipeline.scoring.scores import collect_scores, empty_scores, tabulate_scores
from panther_pipeline.scoring.search import Searchable, choose_setting
from panther_pipeline.scoring.task import CALIBRATION, FIT, FraudTask

logger = logging.getLogger(__name__)


class TreeConfig(Searchable):
    """Boosting; one fit per seed and row of the comparison, each row with the setting that suits it best."""

    learning_rate: float = Field(gt=0)
    num_rounds: int = Field(gt=0)
    max_leaves: int = Field(gt=1)
    min_rows_per_leaf: int = Field(gt=0)
    l2: float = Field(ge=0)
    feature_share: float = Field(gt=0, le=1)  # drawn at every split; below 1 it is what makes seeds differ
    num_threads: int = Field(gt=0)


def fit_tree_baselines(task: FraudTask, config: TreeConfig) -> pl.DataFrame:
    """Fit `trees_features`, `trees_embeddings` and `trees_both` and score the calibration and test rows.

    Returns:
        The table of scores (calibrated probabilities); no rows when the task cannot be fitted.
    """
    if not task.can_be_fitted:
        logger.warning("Fit or calibration rows lack frauds or non-frauds: no tree baselines.")
        return empty_scores()
    model_RE = np.hstack([task.embeddings_RD, task.surprises_RS])
    inputs = {
        "trees_features": task.features_RF,
        "trees_embeddings": model_RE,
        "trees_both": np.hstack([task.features_RF, model_RE]),
    }
    fits = fit_trees(inputs, task, config)
    return collect_scores(*(tabulate_scores(task, score_R, name, seed) for name, seed, score_R in fits))


def fit_trees(
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
    num_fits = len(config.seeds) + (len(config.search) if len(config.search) > 1 else 0)
    # Boosting spins on its threads; more threads than free cores made a fit 20 times slower.
    with (
        threadpool_limits(limits=config.num_threads, user_api="openmp"),
        tqdm(total=num_fits * len(inputs), desc="trees", unit="fit") as bar,
    ):

        def fit(inputs_RX: np.ndarray, setting: TreeConfig, seed: int) -> np.ndarray:
            probability_R = _fit_and_score(inputs_RX, task, setting, seed)
            bar.update()
            return probability_R

        for name, inputs_RX in inputs.items():
            setting = choose_setting(name, config, task, lambda c, x=inputs_RX: fit(x, c, c.seeds[0]))
            for seed in config.seeds:
                yield name, seed, fit(inputs_RX, setting, seed)


def _fit_and_score(inputs_RX: np.ndarray, task: LabelledRows, config: TreeConfig, seed: int) -> np.ndarray:
    """Calibrated probabilities of all rows, float64 (R,)."""
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
    trees.fit(inputs_RX[fit], task.label_R[fit])
    logit_R = to_logit(trees.predict_proba(inputs_RX)[:, 1]) + task.prior_shift
    scaler = PlattScaler.fit(logit_R[calibration], task.label_R[calibration])
    return scaler.apply(logit_R)
