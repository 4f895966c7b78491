"""Refit heads and trees at every shift, and let those of the first one grow old beside them.

Shape letters: R rows of a task.
"""

import logging
from collections.abc import Callable

import numpy as np
import polars as pl
from tqdm import tqdm

from panther_pipeline.scoring.fit import HeadConfig, train_head
from panther_pipeline.scoring.scores import AGED, collect_scores, tabulate_scores
from panther_pipeline.scoring.shifts import PrequentialConfig, Shift
from panther_pipeline.scoring.task import CALIBRATION, FIT, JUDGED, FraudTask, assemble_fraud_task
from panther_pipeline.scoring.trees import TREE_MODELS, TreeConfig, fit_trees, tree_inputs

logger = logging.getLogger(__name__)

Score = Callable[[FraudTask], np.ndarray]  # calibrated probabilities (R,) of all rows of a task


def score_shifts(
    valid_events: pl.DataFrame,
    event_features: pl.DataFrame,
    embeddings: pl.DataFrame,
    shifts: list[Shift],
    config: PrequentialConfig,
    head: HeadConfig,
    trees: TreeConfig,
) -> pl.DataFrame:
    """Fit every model at every shift and score the test window that follows.

    Args:
        valid_events: the ledger.
        event_features: `compute_features` of the same ledger, row-aligned.
        embeddings: of at least the rows of `choose_rows_of_shifts`, from `embed_rows`.
        shifts: from `plan_shifts`.
        config: which models, with which seeds.
        head: settings of the head; its seeds and its search are not read.
        trees: settings of the trees; likewise.

    Returns:
        The table of `scoring.scores`, test rows alone; `split` names the shift. A model's `<name>_aged` was fitted at
        the first shift: there both are one, and both are in the table, so that means over shifts are over the same
        weeks. A shift at which nothing can be fitted has no rows, with a warning.
    """
    tables: list[pl.DataFrame] = []
    first: dict[tuple[str, int], Score] = {}
    for shift in tqdm(shifts, desc="prequential", unit="shift"):
        task = assemble_fraud_task(valid_events, event_features, embeddings, shift.task, shift.splits)
        _log(shift, task)
        if not task.can_be_fitted:
            logger.warning("%s: fit or calibration rows lack frauds or non-frauds; it is left out.", shift.name)
            continue
        fitted = {
            (model, seed): _fit(model, task, seed, head, trees) for model in config.models for seed in config.seeds
        }
        first = first or fitted
        judged = task.only(JUDGED)
        for suffix, models in (("", fitted), (AGED, first)):
            tables += [
                _with_split(tabulate_scores(judged, score(judged), model + suffix, seed), shift)
                for (model, seed), score in models.items()
            ]
    return collect_scores(*tables)


def _fit(model: str, task: FraudTask, seed: int, head: HeadConfig, trees: TreeConfig) -> Score:
    if model in TREE_MODELS:
        fitted_trees = fit_trees(tree_inputs(task, model), task, trees, seed)
        return lambda other: fitted_trees.score(tree_inputs(other, model))
    fitted_head = train_head(task, head, seed)
    return lambda other: fitted_head.score(other.features_RF, other.embeddings_RD, other.surprises_RS)


def _with_split(scores: pl.DataFrame, shift: Shift) -> pl.DataFrame:
    return scores.with_columns(split=pl.lit(shift.name))


def _log(shift: Shift, task: FraudTask) -> None:
    parts = [
        f"{len(task.rows(part)):,} {what} ({int(task.label_R[task.rows(part)].sum()):,} frauds)"
        for part, what in ((FIT, "fitted"), (CALIBRATION, "for calibration"), (JUDGED, "judged"))
    ]
    logger.info("%s: labels known before %s; rows: %s", shift.name, shift.splits.valid_end, ", ".join(parts))
