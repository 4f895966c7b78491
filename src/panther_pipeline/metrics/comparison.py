"""Models that score the same rows, measured on them and on resamples of the rows' units, and their paired differences.

A unit is what is drawn into a resample with all its rows: a user, or a counterparty.

Shape letters: R rows, U units, S resamples.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import polars as pl
from tqdm import tqdm

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.metrics.bootstrap import draw_user_weights, percentile_interval
from panther_pipeline.metrics.config import BootstrapConfig
from panther_pipeline.metrics.curves import Metric, RankedRows
from panther_pipeline.metrics.records import make_record

Tables = dict[tuple[str, int], pl.DataFrame]  # by model and seed
Values = dict[tuple[str, str], float]  # by model and metric
Resampled = dict[tuple[str, str], np.ndarray]  # by model and metric, (S,)


def number_units(ids_R: pl.Series) -> np.ndarray:
    """int64 (R,): 0, 1, 2, … in order of the ids."""
    return ids_R.rank("dense").to_numpy().astype(np.int64) - 1


def check_same_rows(tables: Tables, keys: list[str], rows: str) -> None:
    """Paired resamples and differences mean something only where every model scores the same rows.

    Args:
        tables: sorted alike.
        keys: columns that identify a row, and its label.
        rows: what a row is, in the plural, for the error.

    Raises:
        ConfigurationError: one of them has other rows than the first, or other labels; names model, seed and both
            numbers of rows.
    """
    (first_model, _), first = next(iter(tables.items()))
    for (model, seed), table in tables.items():
        if not table.select(keys).equals(first.select(keys)):
            raise ConfigurationError(
                f"{model} with seed or repeat {seed} scores other {rows} than {first_model}, or the same with other "
                f"labels ({table.height} and {first.height} rows): run the finetune pipeline again, so that all rows "
                "are comparable."
            )


def count_seeds(tables: Tables) -> dict[str, int]:
    """How many seeds each model has."""
    return Counter(model for model, _ in tables)


def rank_rows(table: pl.DataFrame) -> RankedRows:
    """Scores and labels alone, without amounts."""
    return RankedRows.of(table["score"].to_numpy(), table["label"].to_numpy())


def measure_models(
    tables: Tables,
    unit_ix_R: np.ndarray,
    num_units: int,
    metrics: dict[str, Metric],
    config: BootstrapConfig,
    rank: Callable[[pl.DataFrame], RankedRows] = rank_rows,
    what: str | None = None,
) -> tuple[Values, Resampled]:
    """Every metric of every model, each the mean over the model's seeds, of the rows and of resamples of units.

    Args:
        tables: all of the same rows in the same order.
        unit_ix_R: int64 the unit of each row, in [0, num_units).
        num_units: units that are resampled; some may have no row here.
        metrics: name → metric.
        config: the resamples. The same number of units and seed are the same resamples, in whichever call.
        rank: what is read of a table.
        what: name of the progress bar; None = no bar.
    """
    values: Values = {}
    resampled: Resampled = {}
    for model in tqdm(dict.fromkeys(name for name, _ in tables), desc=what, unit="model", disable=what is None):
        ranked = [rank(table) for (name, _), table in tables.items() if name == model]
        # Drawn anew for each model with the same seed: the same resamples, without keeping them all.
        draws = draw_user_weights(num_units, config.num_resamples, config.seed)
        samples = np.array([mean_metrics(ranked, metrics, weight_U[unit_ix_R]) for weight_U in draws])
        for ix, (metric, value) in enumerate(zip(metrics, mean_metrics(ranked, metrics, None), strict=True)):
            values[model, metric], resampled[model, metric] = float(value), samples[:, ix]
    return values, resampled


def mean_metrics(ranked: list[RankedRows], metrics: dict[str, Metric], weight_R: np.ndarray | None) -> np.ndarray:
    """All metrics in order, each the mean over seeds."""
    one_per_seed = [rows.curve(weight_R) for rows in ranked]
    return np.mean([[metric(curve) for metric in metrics.values()] for curve in one_per_seed], axis=0)


def add_differences(
    values: Values, resampled: Resampled, comparisons: Iterable[tuple[str, str]], metrics: Iterable[str]
) -> None:
    """Add the paired differences in place, for the (model, baseline) and metrics that are there."""
    metrics = list(metrics)
    for model, baseline in comparisons:
        for metric in metrics:
            if (model, metric) in resampled and (baseline, metric) in resampled:
                key = model, f"{metric}_difference_vs_{baseline}"
                values[key] = values[model, metric] - values[baseline, metric]
                resampled[key] = resampled[model, metric] - resampled[baseline, metric]


def list_records(
    task: str, split: str, values: Values, resampled: Resampled, *, num_rows: int, num_seeds: dict[str, int]
) -> list[dict[str, Any]]:
    """Flat records of what is finite; the interval is that of the resampled values, where there are any."""
    records = []
    for (model, metric), value in values.items():
        has_interval = (model, metric) in resampled
        low, high = percentile_interval(resampled[model, metric]) if has_interval else (None, None)
        common = {"task": task, "split": split, "n": num_rows, "seeds": num_seeds[model]}
        if math.isfinite(value):
            records.append(make_record(**common, model=model, metric=metric, value=value, low=low, high=high))
    return records
