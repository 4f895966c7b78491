"""Intervals of statistics that are no means, by resampling users.

Events of one user are not independent: an interval that resamples events is too narrow. A resample draws as
many users as there are, with replacement; a row then weighs as often as its user was drawn, and no row is
copied.

Shape letters: U users, S resamples.
"""

from collections.abc import Iterator

import numpy as np


def draw_user_weights(num_users: int, num_resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each user is drawn, one resample after the other; the same ones for the same arguments.

    Yields:
        int64 (U,), summing to U.

    Source: Efron & Tibshirani 1993, chapter 13; clusters as units as in Field & Welsh 2007.
    """
    rng = np.random.default_rng(seed)
    for _ in range(num_resamples):
        yield np.bincount(rng.integers(0, num_users, num_users), minlength=num_users)


def percentile_interval(values_S: np.ndarray, confidence: float = 0.95) -> tuple[float | None, float | None]:
    """Lower and upper bound from resampled values.

    Args:
        values_S: NaN where a resample lacked one of the classes; such resamples are left out.
        confidence: 0.95 = from the 2.5 % to the 97.5 % quantile.

    Returns:
        The bounds, or (None, None) when fewer than half of the resamples gave a number.
    """
    known = values_S[np.isfinite(values_S)]
    if not len(known) or 2 * len(known) < len(values_S):
        return None, None
    low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
