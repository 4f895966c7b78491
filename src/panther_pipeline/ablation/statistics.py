"""Numbers per target and their means, with what is needed to tell two models apart.

Shape letters: M targets, S seeds.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from panther_pipeline.baselines.candidates import MISS
from panther_pipeline.metrics.bootstrap import bootstrap_means
from panther_pipeline.metrics.config import BootstrapConfig
from panther_pipeline.metrics.ranking import ranking_statistics

_LOWER_IS_BETTER = ("nll",)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over targets and seeds."""

    value: float
    low: float | None  # 95 % interval over users, of the seeds' mean; None with fewer than two users
    high: float | None
    seed_values: list[float]  # the mean of each seed alone


def target_statistics(ranks: pl.DataFrame) -> dict[str, np.ndarray]:
    """What the metrics are means of.

    Args:
        ranks: rank (null = miss), log_prob (nats).

    Returns:
        hr@1, hr@5, hr@10, ndcg@10, mrr (reciprocal rank) and nll (-log p of the token that came); float64 (M,) each.
    """
    statistics = ranking_statistics(ranks["rank"].fill_null(MISS).to_numpy())
    return statistics | {"nll": -ranks["log_prob"].to_numpy().astype(np.float64)}


def mean_metrics(ranks: pl.DataFrame) -> dict[str, float]:
    """Mean of each of `target_statistics`."""
    return {name: float(values_M.mean()) for name, values_M in target_statistics(ranks).items()}


def estimate_means(
    values: dict[str, np.ndarray], user_ix_M: np.ndarray, config: BootstrapConfig
) -> dict[str, Estimate]:
    """Means with intervals over users; all see the same resamples, so those of differences are of paired comparisons.

    An interval treats users as the sample and the seeds that were trained as all there are; how much another seed
    changes is what seed_values show.

    Args:
        values: by name, float (S, M): a value per seed and target.
        user_ix_M: int the target's user.
        config: of the resampling.
    """
    means, lows, highs = bootstrap_means(
        np.column_stack([values_SM.mean(axis=0) for values_SM in values.values()]),
        user_ix_M,
        num_resamples=config.num_resamples,
        seed=config.seed,
    )
    by_seed = [values_SM.mean(axis=1) for values_SM in values.values()]
    return {
        name: Estimate(
            value=float(mean),
            low=None if np.isnan(low) else float(low),
            high=None if np.isnan(high) else float(high),
            seed_values=means_S.tolist(),
        )
        for name, mean, low, high, means_S in zip(values, means, lows, highs, by_seed, strict=True)
    }


def is_better(metric: str, difference: float) -> bool:
    """Whether a difference of this metric is in favour of what it was taken of."""
    return difference < 0 if metric.split("_difference")[0] in _LOWER_IS_BETTER else difference > 0
