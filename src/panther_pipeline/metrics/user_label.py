"""Metrics of the scores of user labels, with intervals over users and paired differences.

An interval covers which users were drawn into the ledger, not the luck of what was fitted: the scores stay as they are.
How far the draw of the folds moves a metric is said beside it, by its spread over repeats.

Shape letters: L labels, U users, S resamples.
"""

import math
from typing import Any

import numpy as np
import polars as pl

from panther_pipeline.metrics import curves
from panther_pipeline.metrics.bootstrap import draw_user_weights, percentile_interval
from panther_pipeline.metrics.config import BootstrapConfig
from panther_pipeline.metrics.curves import Metric, RankedRows
from panther_pipeline.metrics.records import make_record

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
    """
    if scores.is_empty():
        return []
    keys = ["user_id", "as_of"]
    mean = scores.group_by(*keys, "label", "model").agg(pl.col("score").mean()).sort(keys)
    tables = {str(model): table for (model,), table in mean.sort("model", maintain_order=True).group_by("model")}
    first = next(iter(tables.values()))
    tables[CONSTANT] = first.with_columns(score=pl.lit(first["label"].mean()))
    values, samples = _measure(tables, first["user_id"], config)
    spread = _measure_repeats(scores)
    common = {"task": TASK, "split": scores["split"][0], "n": first.height, "seeds": scores["repeat"].n_unique()}
    records = []
    for (model, metric), value in (values | spread).items():
        has_interval = (model, metric) in samples and first["user_id"].n_unique() > 1
        low, high = percentile_interval(samples[model, metric]) if has_interval else (None, None)
        if math.isfinite(value):
            records.append(make_record(**common, model=model, metric=metric, value=value, low=low, high=high))
    return records


def _measure(
    tables: dict[str, pl.DataFrame], user_ids_L: pl.Series, config: BootstrapConfig
) -> tuple[dict[tuple[str, str], float], dict[tuple[str, str], np.ndarray]]:
    """Value and resampled values (S,) of each (model, metric), differences included."""
    user_ix_L = user_ids_L.rank("dense").to_numpy().astype(np.int64) - 1
    values, samples = {}, {}
    for model in [name for name in USER_LABEL_MODELS if name in tables]:
        ranked = _rank(tables[model])
        # Drawn anew for each model with the same seed: the same resamples, so that differences are paired.
        draws = draw_user_weights(int(user_ix_L.max()) + 1, config.num_resamples, config.seed)
        resampled = np.array([_metrics(ranked, weight_U[user_ix_L]) for weight_U in draws])
        for ix, (metric, value) in enumerate(zip(METRICS, _metrics(ranked, None), strict=True)):
            values[model, metric], samples[model, metric] = value, resampled[:, ix]
    for model, baseline in COMPARISONS:
        for metric in METRICS:
            key = model, f"{metric}_difference_vs_{baseline}"
            values[key] = values[model, metric] - values[baseline, metric]
            samples[key] = samples[model, metric] - samples[baseline, metric]
    return values, samples


def _measure_repeats(scores: pl.DataFrame) -> dict[tuple[str, str], float]:
    """Mean and standard deviation over repeats of each model's metrics; nothing with a single one."""
    if scores["repeat"].n_unique() < 2:
        return {}
    spread = {}
    for model in USER_LABEL_MODELS[1:]:
        repeats = [
            table for _, table in scores.filter(model=model).sort("repeat").group_by("repeat", maintain_order=True)
        ]
        metrics_RM = np.array([_metrics(_rank(table), None) for table in repeats])
        for metric, mean, std in zip(METRICS, metrics_RM.mean(axis=0), metrics_RM.std(axis=0, ddof=1), strict=True):
            spread[model, f"{metric}_repeat_mean"] = float(mean)
            spread[model, f"{metric}_repeat_std"] = float(std)
    return spread


def _rank(table: pl.DataFrame) -> RankedRows:
    return RankedRows.of(table["score"].to_numpy(), table["label"].to_numpy())


def _metrics(ranked: RankedRows, weight_L: np.ndarray | None) -> list[float]:
    curve = ranked.curve(weight_L)
    return [metric(curve) for metric in METRICS.values()]
