"""Squares of amounts in two halves of an int64, so that sums of them are exact and no order of adding moves a bit."""

import numpy as np

LARGEST_SQUARED_CENTS = 2**31 - 1  # above it the square of an amount would not fit the exact sum
_HALF_BITS = 32
_LOW_HALF = 2**_HALF_BITS - 1


def clip_cents(cents_N: np.ndarray) -> np.ndarray:
    """Amounts as far as their squares can be summed."""
    return np.minimum(np.maximum(cents_N, -LARGEST_SQUARED_CENTS), LARGEST_SQUARED_CENTS)


def split_square(cents_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The square of each amount as (high, low) halves of 32 bits: sums of millions of them stay exact."""
    clipped_N = clip_cents(cents_N)
    square_N = clipped_N * clipped_N
    return square_N >> _HALF_BITS, square_N & _LOW_HALF


def join_square(high_N: np.ndarray, low_N: np.ndarray) -> np.ndarray:
    """float64 sum of squares from the sums of the two halves."""
    return high_N * 2.0**_HALF_BITS + low_N
