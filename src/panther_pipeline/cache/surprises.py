"""A user's usual surprise, in exact integers: what "unusual for this user" is measured in.

Fixed point, so that a sum over one user's past is exact: it owes nothing to the order of addition, nor to the users
before it in an array, and what is added event by event online is what is summed over a whole ledger.

Shape letters: N events, U users, V vocabulary.
"""

import numpy as np

# Steps per nat. Squares of 40 nats, summed over a user's 10^6 events, fit an int64; that the sum over all users may
# wrap round does not matter, since only differences of it are used.
_FIXED_POINT = 2**16


def to_fixed_point(surprises: np.ndarray) -> np.ndarray:
    """int64 steps of 2^-16 nats."""
    return np.round(np.asarray(surprises, dtype=np.float64) * _FIXED_POINT).astype(np.int64)


def standardise(values: np.ndarray, count: np.ndarray, total: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Each value in standard deviations from the mean of `count` values.

    Fewer than two values, or values that do not differ, give 0: nothing is known to deviate from.

    Args:
        values: surprises, nats.
        count: int64 how many values are known.
        total: int64 their sum, in fixed point.
        squares: int64 the sum of their squares, in fixed point.

    Returns:
        float32
    """
    safe = np.maximum(count, 1)
    mean = total / safe / _FIXED_POINT
    variance = np.maximum(squares / safe / _FIXED_POINT**2 - mean**2, 0.0)
    # Below a millinat the spread is rounding, not behaviour.
    known = (count >= 2) & (variance > 1e-6)
    return np.where(known, (values - mean) / np.sqrt(np.where(known, variance, 1.0)), 0.0).astype(np.float32)


def standardise_by_past(values_N: np.ndarray, offsets_U1: np.ndarray, as_of_N: np.ndarray) -> np.ndarray:
    """Each value in standard deviations from the user's values up to its as-of row; see `standardise`.

    Returns:
        float32 (N,)
    """
    fixed_N = to_fixed_point(values_N)
    sums = np.concatenate([[0], np.cumsum(fixed_N)])
    squares = np.concatenate([[0], np.cumsum(np.square(fixed_N))])
    first_N = np.repeat(offsets_U1[:-1], np.diff(offsets_U1))
    stop_N = np.where(as_of_N >= 0, as_of_N + 1, first_N)
    return standardise(values_N, stop_N - first_N, sums[stop_N] - sums[first_N], squares[stop_N] - squares[first_N])


def log_share(counts_V: np.ndarray) -> np.ndarray:
    """What is expected without history: log p of each token, float32 (V,), from its count in training."""
    # One more of each, so that a token never seen in training is improbable, not impossible.
    return np.log((counts_V + 1.0) / (counts_V + 1.0).sum()).astype(np.float32)
