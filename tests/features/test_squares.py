"""Exact sums of squares, whatever the amounts."""

import numpy as np

from panther_pipeline.features.squares import LARGEST_SQUARED_CENTS, join_square, split_square


def test_sum_of_squares_is_exact_for_the_largest_amount():
    high, low = split_square(np.full(1000, LARGEST_SQUARED_CENTS))
    assert int(high.sum()) * 2**32 + int(low.sum()) == 1000 * LARGEST_SQUARED_CENTS**2
    assert join_square(high.sum(), low.sum()) == float(1000 * LARGEST_SQUARED_CENTS**2)


def test_larger_amounts_are_clipped_before_squaring():
    assert join_square(*split_square(np.array([2**40, -(2**40)]))).tolist() == [float(LARGEST_SQUARED_CENTS**2)] * 2


def test_halves_of_squares_are_those_of_python_integers():
    cents = [0, -1, 99, -(2**31), 2**31 - 1, 2**31, 123_456_789]
    high, low = split_square(np.array(cents))
    squares = [min(abs(c), LARGEST_SQUARED_CENTS) ** 2 for c in cents]
    assert list(zip(high.tolist(), low.tolist(), strict=True)) == [divmod(square, 2**32) for square in squares]
