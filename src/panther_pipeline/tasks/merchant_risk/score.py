"""Models of merchant risk on the same rows: what activity and known frauds tell, what deviations tell, and both.

Shape letters: R rows of the task.
"""

import logging

import numpy as np
import polars as pl

from panther_pipeline.scoring.calibration import PlattScaler
from panther_pipeline.scoring.task import CALIBRATION, FIT, JUDGED
from panther_pipeline.scoring.trees import TreeConfig, fit_each_seed
from panther_pipeline.tasks.merchant_risk.config import MerchantRiskConfig
from panther_pipeline.tasks.merchant_risk.features import ACTIVITY, DEVIATION, KNOWN, name_known_frauds, name_median
from panther_pipeline.tasks.merchant_risk.grid import CALIBRATION_PART, FIT_PART, TEST_PART

logger = logging.getLogger(__name__)

PARTS = {FIT_PART: FIT, CALIBRATION_PART: CALIBRATION, TEST_PART: JUDGED}
SCORE_SCHEMA = {
    "counterparty": pl.String,
    "as_of": pl.Datetime("us", "UTC"),
    "label": pl.Int8,
    "known_frauds": pl.Int64,  # that became known in the longest window before as_of
    "split": pl.String,  # calibration or test
    "model": pl.String,
    "seed": pl.Int64,
    "score": pl.Float64,  # calibrated probability of a fraud within the horizon
}


class MerchantRiskTask:
    """The table of rows as `scoring.rows.LabelledRows`; no fit row is left out, so nothing shifts the prior."""

    prior_shift = 0.0

    def __init__(self, table: pl.DataFrame) -> None:
        self.table = table
        self.label_R = table["label"].to_numpy()
        self._part_R = table["part"].replace_strict(PARTS, return_dtype=pl.Int8).to_numpy()

    @property
    def can_be_fitted(self) -> bool:
        return all(len(np.unique(self.label_R[self.rows(part)])) == 2 for part in (FIT, CALIBRATION))

    def rows(self, part: int) -> np.ndarray:
        return np.flatnonzero(self._part_R == part)

    def numbers(self, *beginnings: str) -> np.ndarray:
        """float32 (R, X): the features whose names begin so; NaN where null.

        A feature that no fit row has, such as the change of a window as long as half the history, is left out:
        scikit-learn cannot bin it.
        """
        table = self.table.select(pl.col(f"^({'|'.join(beginnings)}).*$"))
        fitted = table[self.rows(FIT)]
        return table.select(column.name for column in fitted if column.count()).to_numpy().astype(np.float32)


def score_rows(rows: pl.DataFrame, config: MerchantRiskConfig, trees: TreeConfig) -> pl.DataFrame:
    """Score the calibration and test rows with every model.

    `no_skill` gives all rows the same score, `known_frauds` counts the frauds known in the longest window,
    `deviation_median` is the median surprise of that window and has seen no fraud (0 where the window is empty).
    Boosted trees read activity and known frauds (`trees_activity`), deviations (`trees_deviations`) or all
    (`trees_both`).

    Args:
        rows: from `rows.tabulate_rows`.
        config: of these rows.
        trees: of all three.

    Returns:
        `SCORE_SCHEMA`; no rows and one warning when fit or calibration rows lack one of the classes, and no rows for
        none, of which `tabulate_rows` has warned.
    """
    if rows.is_empty():
        return pl.DataFrame(schema=SCORE_SCHEMA)
    task = MerchantRiskTask(rows)
    if not task.can_be_fitted:
        logger.warning("Merchant risk: fit or calibration rows lack counterparties with fraud or without: no scores.")
        return pl.DataFrame(schema=SCORE_SCHEMA)
    singles = {
        "no_skill": np.zeros(rows.height),
        "known_frauds": rows[name_known_frauds(config)].to_numpy(),
        "deviation_median": rows[name_median(config)].fill_null(0).to_numpy(),
    }
    inputs = {
        "trees_activity": task.numbers(ACTIVITY, KNOWN),
        "trees_deviations": task.numbers(DEVIATION),
        "trees_both": task.numbers(ACTIVITY, KNOWN, DEVIATION),
    }
    scores = [(name, 0, _calibrate(value_R, task)) for name, value_R in singles.items()]
    scores += fit_each_seed(inputs, task, trees)
    return pl.concat([_tabulate(task, config, *score) for score in scores])


def _calibrate(value_R: np.ndarray, task: MerchantRiskTask) -> np.ndarray:
    rows = task.rows(CALIBRATION)
    return PlattScaler.fit(value_R[rows], task.label_R[rows]).apply(value_R)


def _tabulate(
    task: MerchantRiskTask, config: MerchantRiskConfig, model: str, seed: int, score_R: np.ndarray
) -> pl.DataFrame:
    scored = task.table.with_columns(
        known_frauds=name_known_frauds(config),
        split="part",
        model=pl.lit(model),
        seed=pl.lit(seed),
        score=pl.Series(score_R),
    )
    return scored.filter(pl.col("part") != FIT_PART).select(list(SCORE_SCHEMA)).cast(SCORE_SCHEMA)
