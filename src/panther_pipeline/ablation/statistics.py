"""Numbers per target and their means, with what is needed to tell two models apart.

Shape letters: M targets, S seeds, R resamples.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from panther_pipeline.baselines.candidates import MISS
from panther_pipeline.metrics.bootstrap import percentile_interval, resample_means
from panther_pipeline.metrics.config import BootstrapConfig
from panther_pipeline.metrics.ranking import ranking_statistics

_LOWER_IS_BETTER = ("nll",)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over targets and seeds."""

    value: float
    low: float | None  # 95 % interval over users and seeds, of the seeds' mean; None with fewer than two users
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
    """Means with intervals over users and seeds; all see the same resamples: differences are paired comparisons.

    Both are samples, of customers and of trainings that might have been. A resample draws as many users as there are,
    and S - 1 of the S seeds, both with replacement: of so few, S draws would make the interval too narrow by a factor
    √(1 - 1/S). A single seed is all there is: the interval is then one over users alone.

    Args:
        values: by name, float (S, M): a value per seed and target; the seeds of any two with equally many are paired.
        user_ix_M: int the target's user.
        config: of the resampling.

    Source: m out of n for small samples, Rao and Wu 1988 (doi 10.1080/01621459.1988.10478591).
    """
    num_seeds = [len(values_SM) for values_SM in values.values()]
    means, resampled = resample_means(
        np.vstack(list(values.values())).T, user_ix_M, num_resamples=config.num_resamples, seed=config.seed
    )
    ends = np.cumsum(num_seeds)[:-1]
    estimates = {}
    for name, means_S, means_RS in zip(values, np.split(means, ends), np.split(resampled, ends, axis=1), strict=True):
        weights_RS = _draw_seed_weights(means_RS.shape, config.seed)
        low, high = percentile_interval((weights_RS * means_RS).sum(axis=1))
        estimates[name] = Estimate(value=float(means_S.mean()), low=low, high=high, seed_values=means_S.tolist())
    return estimates


def _draw_seed_weights(shape: tuple[int, int], seed: int) -> np.ndarray:
    """Share of each of S seeds in each resample, (R, S); the same for the same arguments."""
    num_resamples, num_seeds = shape
    draws = max(1, num_seeds - 1)
    return np.random.default_rng(seed).multinomial(draws, [1 / num_seeds] * num_seeds, size=num_resamples) / draws


def is_better(metric: str, difference: float) -> bool:
    """Whether a difference of this metric is in favour of what it was taken of."""
    return difference < 0 if metric.split("_difference")[0] in _LOWER_IS_BETTER else difference > 0
