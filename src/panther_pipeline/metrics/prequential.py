"""Fraud metrics shift by shift, and their mean over the shifts with an interval that knows the shifts share users.

A resample draws users once and weighs their rows in all shifts alike: who is hard to judge is so in every week.

Shape letters: R rows of a shift.
"""

import logging
from typing import Any

import numpy as np
import polars as pl

from panther_pipeline.metrics.comparison import Resampled, Tables, Values, add_differences, count_seeds, list_records
from panther_pipeline.metrics.config import BootstrapConfig
from panther_pipeline.metrics.fraud import (
    COMPARED_METRICS,
    COMPARISONS,
    TASK,
    card_precisions,
    group_models,
    measure_fraud_models,
)
from panther_pipeline.scoring.scores import AGED

logger = logging.getLogger(__name__)

MEAN_OF_SHIFTS = "test_mean_of_shifts"


def measure_shifts(prequential_scores: pl.DataFrame, config: BootstrapConfig) -> list[dict[str, Any]]:
    """Every fraud metric of every model at every shift, and the means over the shifts.

    Args:
        prequential_scores: from `score_shifts`.
        config: resamples of the users of all shifts together.

    Returns:
        Flat records as of `measure_fraud_scores`; split is `test+<days>d` or `test_mean_of_shifts`. Besides its
        comparisons, each model has its paired difference to itself unrefitted, `<metric>_difference_vs_<model>_aged`.
        A shift without frauds has no records and no part in the means, with a warning. A mean's `n` is the number of
        rows of all its shifts.

    Raises:
        ConfigurationError: models or seeds of a shift score different events.
    """
    labelled = prequential_scores.filter(pl.col("label").is_not_null())
    users = labelled["user_id"].unique().sort()
    records: list[dict[str, Any]] = []
    measured: list[tuple[Values, Resampled]] = []
    num_rows, num_seeds = 0, {}
    for (split,), rows in labelled.group_by("split", maintain_order=True):
        if not (rows["label"] == 1).any():
            logger.warning("%s: no fraud is known in its test window; it has no metrics.", split)
            continue
        tables = group_models(rows)
        values, resampled = _measure_shift(tables, users, config)
        num_judged, num_seeds = next(iter(tables.values())).height, count_seeds(tables)
        records += list_records(TASK, split, values, resampled, num_rows=num_judged, num_seeds=num_seeds)
        measured.append((values, resampled))
        num_rows += num_judged
    if not measured:
        return []
    values, resampled = (_mean(parts) for parts in zip(*measured, strict=True))
    return records + list_records(TASK, MEAN_OF_SHIFTS, values, resampled, num_rows=num_rows, num_seeds=num_seeds)


def _measure_shift(tables: Tables, users: pl.Series, config: BootstrapConfig) -> tuple[Values, Resampled]:
    """All metrics and differences; all users are resampled, also those without a row here: shifts stay paired."""
    user_ix_R = users.search_sorted(next(iter(tables.values()))["user_id"]).to_numpy().astype(np.int64)
    values, resampled = measure_fraud_models(tables, user_ix_R, len(users), config)
    models = dict.fromkeys(model for model, _ in tables)
    comparisons = [*COMPARISONS, *((model, model + AGED) for model in models)]
    add_differences(values, resampled, comparisons, COMPARED_METRICS)
    return values | card_precisions(tables), resampled if len(users) > 1 else {}


def _mean(of_shifts: tuple[dict, ...]) -> dict:
    """Key by key; not finite where any shift is not: its metric would be a mean over other weeks."""
    return {key: np.mean([shift[key] for shift in of_shifts], axis=0) for key in of_shifts[0]}
