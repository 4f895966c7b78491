"""How far a transaction is from what was expected of its user, as a detector of fraud that has seen no fraud.

Labels make a probability of it on the calibration rows; the order of the events is that of the deviation alone.

Source: PANTHER Eq. 3 (Δ between observed and predicted behaviour).
"""

import logging

import polars as pl

from panther_pipeline.scoring.calibration import PlattScaler
from panther_pipeline.scoring.scores import collect_scores, empty_scores, tabulate_scores
from panther_pipeline.scoring.task import CALIBRATION, SURPRISE_COLUMNS, FraudTask

logger = logging.getLogger(__name__)

# What stands for deviation, and the sign that makes more of it more suspicious.
DETECTORS = {"deviation_surprise": ("surprise_z", 1.0), "deviation_cosine": ("cosine", -1.0)}


def score_deviations(task: FraudTask) -> pl.DataFrame:
    """Score the calibration and test rows by their deviation.

    Returns:
        The table of scores of `deviation_surprise` (how improbable, in the user's own standard deviations) and
        `deviation_cosine` (how unlike the expected transaction), calibrated, with seed 0; no rows when the task cannot
        be fitted.
    """
    if not task.can_be_fitted:
        logger.warning("Calibration rows lack frauds or non-frauds: deviations are not scored.")
        return empty_scores()
    calibration = task.rows(CALIBRATION)
    tables = []
    for model, (column, sign) in DETECTORS.items():
        deviation_R = sign * task.surprises_RS[:, SURPRISE_COLUMNS.index(column)]
        scaler = PlattScaler.fit(deviation_R[calibration], task.label_R[calibration])
        tables.append(tabulate_scores(task, scaler.apply(deviation_R), model, 0))
    return collect_scores(*tables)
