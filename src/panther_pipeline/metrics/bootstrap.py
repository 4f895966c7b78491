"""Intervals by resampling users: of means in one pass, of any other statistic from the users' weights.

Events of one user are not independent: an interval that resamples events is too narrow. A resample draws as
many users as there are, with replacement; a row then weighs as often as its user was drawn, and no row is
copied.

Shape letters: M rows, U users, R resamples, S statistics.
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


def percentile_interval(values_R: np.ndarray, confidence: float = 0.95) -> tuple[float | None, float | None]:
    """Lower and upper bound from resampled values.

    Args:
        values_R: NaN where a resample lacked one of the classes; such resamples are left out.
        confidence: 0.95 = from the 2.5 % to the 97.5 % quantile.

    Returns:
        The bounds, or (None, None) when fewer than half of the resamples gave a number.
    """
    known = values_R[np.isfinite(values_R)]
    if not len(known) or 2 * len(known) < len(values_R):
        return None, None
    low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def bootstrap_means(
    statistics_MS: np.ndarray, user_ix_M: np.ndarray, *, num_resamples: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means over the rows with 95 % intervals that treat the users, not the rows, as the sample.

    All statistics see the same resamples: the interval of a column of differences is that of a paired
    comparison.

    Args:
        statistics_MS: float, one row per event.
        user_ix_M: int the event's user.
        num_resamples: R.
        seed: of the resampling.

    Returns:
        mean_S, low_S, high_S: float64; low and high are NaN when there are fewer than two users.

    Raises:
        ValueError: no rows.
    """
    mean_S, means_RS = resample_means(statistics_MS, user_ix_M, num_resamples=num_resamples, seed=seed)
    bounds_S2 = np.array([percentile_interval(means_R) for means_R in means_RS.T], dtype=np.float64)  # None is NaN
    return mean_S, bounds_S2[:, 0], bounds_S2[:, 1]


def resample_means(
    statistics_MS: np.ndarray, user_ix_M: np.ndarray, *, num_resamples: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The means of all rows, (S,), and of each resample of users, (R, S); see `bootstrap_means`.

    Returns:
        mean_S and means_RS, float64; R is 0 when there are fewer than two users.

    Raises:
        ValueError: no rows.
    """
    if len(statistics_MS) == 0:
        raise ValueError("a mean of no targets does not exist; check that the test window holds events")
    users, position_M = np.unique(user_ix_M, return_inverse=True)
    num_users = len(users)
    columns = [np.bincount(position_M, column, minlength=num_users) for column in statistics_MS.T]
    count_U = np.bincount(position_M, minlength=num_users).astype(np.float64)
    # The mean of a resample is a ratio of sums: it may hold more or fewer rows than there are.
    sums_US1 = np.column_stack([*columns, count_U])
    mean_S = sums_US1[:, :-1].sum(axis=0) / count_U.sum()
    if num_users < 2:
        return mean_S, np.empty((0, len(mean_S)))
    totals_RS1 = np.stack([weight_U @ sums_US1 for weight_U in draw_user_weights(num_users, num_resamples, seed)])
    return mean_S, totals_RS1[:, :-1] / totals_RS1[:, -1:]
