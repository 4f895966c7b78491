"""Exact sums per group and window."""

import numpy as np
import polars as pl

from panther_pipeline.features.windows import (
    LARGEST_SQUARED_CENTS,
    GroupedTimes,
    Timeline,
    code_groups,
    join_square,
    split_square,
)


def test_null_belongs_to_no_group():
    codes = code_groups(pl.Series(["b", None, "a", "b"]))
    assert codes[1] == -1
    assert codes[0] == codes[3] != codes[2]


def test_window_sum_is_exact_after_int64_wraps():
    values = np.array([2**62, 2**62, 2**62, 5, 7])
    group, time = np.zeros(5, dtype=np.int64), np.arange(5) * 10
    line = Timeline(time)
    times = GroupedTimes(group, line.rank(time), line.size)
    prefix = times.prefix_sums(values)
    start, end = (times.first_at_or_after(np.zeros(1, np.int64), line.rank(np.array([t]))) for t in (30, 41))
    assert (prefix[end] - prefix[start]).tolist() == [12]


def test_sum_of_squares_is_exact_for_the_largest_amount():
    cents = np.full(1000, LARGEST_SQUARED_CENTS)
    high, low = split_square(cents)
    assert int(high.sum()) * 2**32 + int(low.sum()) == 1000 * LARGEST_SQUARED_CENTS**2
    assert join_square(high.sum(keepdims=True), low.sum(keepdims=True))[0] == float(1000 * LARGEST_SQUARED_CENTS**2)


def test_larger_amounts_are_clipped_before_squaring():
    high, low = split_square(np.array([2**40, -(2**40)]))
    assert (join_square(high, low) == float(LARGEST_SQUARED_CENTS**2)).all()


def test_row_before_never_crosses_into_another_group():
    time, group = np.array([0, 10, 0, 10]), np.array([0, 0, 1, 1])
    line = Timeline(time)
    times = GroupedTimes(group, line.rank(time), line.size)
    border = times.first_at_or_after(group, line.rank(time))
    assert times.row_before(border, group).tolist() == [-1, 0, -1, 2]
