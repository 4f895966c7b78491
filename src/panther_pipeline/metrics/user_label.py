"""Metrics of the scores of user labels, with intervals over users and paired differences.

An interval covers which users were drawn into the ledger, not the luck of what was fitted: the scores stay as they are.
How far the draw of the folds moves a metric is said beside it, by its spread over repeats.

Shape letters: R repeats, M metrics.
"""

from typing import Any

import numpy as np
import polars as pl

from panther_pipeline.metrics import curves
from panther_pipeline.metrics.comparison import (
    add_differences,
    check_same_rows,
    list_records,
    mean_metrics,
    measure_models,
    number_units,
    rank_rows,
)
from panther_pipeline.metrics.config import BootstrapConfig
from panther_pipeline.metrics.curves import Metric

TASK, OUT_OF_FOLD = "user_label", "out_of_fold"
METRICS: dict[str, Metric] = {
    "roc_auc": curves.roc_auc,
    "average_precision": curves.average_precision,
    "brier": curves.brier,
}
CONSTANT = "constant"  # the share of positives for everybody: what a metric is without any model
USER_LABEL_MODELS = [  # in the order of tables
    CONSTANT,
    *(f"{family}_{inputs}" for family in ("logistic", "trees") for inputs in ("features", "embeddings", "both")),
]
# What embeddings add to the aggregates, and what they are instead of them. Fixed beforehand.
COMPARISONS = [
    (f"{family}_{inputs}", f"{family}_features")
    for family in ("logistic", "trees")
    for inputs in ("both", "embeddings")
]


def measure_user_labels(scores: pl.DataFrame, config: BootstrapConfig) -> list[dict[str, Any]]:
    """ROC-AUC, average precision and Brier score of every model.

    Args:
        scores: the table of `tasks.user_label`: every model and repeat scores the same labels.
        config: resamples of users.

    Returns:
        Flat records of the mean score over repeats: values, and paired differences named
        `<metric>_difference_vs_<baseline>`, with 95 % intervals. Of several repeats besides, without intervals,
        `<metric>_repeat_mean` and `<metric>_repeat_std`, of the metric of one repeat's scores. `seeds` counts the
        repeats. Nothing without scores; a ranking metric is left out when only one class is judged.

    Raises:
        ConfigurationError: models or repeats score different labels.
    """
    if scores.is_empty():
        return []
    keys = ["user_id", "as_of"]
    check_same_rows(
        scores.sort(keys).partition_by("model", "repeat", as_dict=True), [*keys, "label"], "labels of users"
    )
    mean = scores.group_by(*keys, "label", "model").agg(pl.col("score").mean()).sort(keys)
    found = mean.partition_by("model", as_dict=True, maintain_order=True)
    first = next(iter(found.values()))
    found[CONSTANT,] = first.with_columns(score=pl.lit(first["label"].mean()))
    tables = {(model, 0): found[model,] for model in USER_LABEL_MODELS if (model,) in found}
    values, resampled = measure_models(
        tables, number_units(first["user_id"]), first["user_id"].n_unique(), METRICS, config
    )
    add_differences(values, resampled, COMPARISONS, METRICS)
    if first["user_id"].n_unique() < 2:
        resampled = {}
    num_repeats = dict.fromkeys(USER_LABEL_MODELS, scores["repeat"].n_unique())
    return list_records(
        TASK,
        scores["split"][0],
        values | _measure_repeats(scores),
        resampled,
        num_rows=first.height,
        num_seeds=num_repeats,
    )


def _measure_repeats(scores: pl.DataFrame) -> dict[tuple[str, str], float]:
    """Mean and standard deviation over repeats of each model's metrics; nothing with a single one."""
    if scores["repeat"].n_unique() < 2:
        return {}
    spread = {}
    for model in USER_LABEL_MODELS[1:]:
        repeats = [
            table for _, table in scores.filter(model=model).sort("repeat").group_by("repeat", maintain_order=True)
        ]
        metrics_RM = np.array([mean_metrics([rank_rows(table)], METRICS, None) for table in repeats])
        for metric, mean, std in zip(METRICS, metrics_RM.mean(axis=0), metrics_RM.std(axis=0, ddof=1), strict=True):
            spread[model, f"{metric}_repeat_mean"] = float(mean)
            spread[model, f"{metric}_repeat_std"] = float(std)
    return spread
