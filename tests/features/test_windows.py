"""Exact sums and counts per group and window, whatever their size."""

import numpy as np
import polars as pl
import pytest

from panther_pipeline.features.config import EVER
from panther_pipeline.features.windows import Windows, code_groups
from panther_pipeline.units import DAY_US


def make_windows(group: list, days: list[float], **values: list) -> Windows:
    times = [int(day * DAY_US) for day in days]
    return Windows(pl.DataFrame({"group": pl.Series(group, dtype=pl.Int64), "time": times, **values}))


def test_null_belongs_to_no_group():
    codes = code_groups(pl.Series(["b", None, "a", "b"]), pl.Series([1, 1, 1, 1]))
    assert codes[1] is None
    assert codes[0] == codes[3] != codes[2]


def test_code_tells_combinations_apart():
    assert code_groups(pl.Series(["a", "a", "b"]), pl.Series(["x", "y", "x"])).n_unique() == 3


def test_window_is_closed_on_the_left_and_open_on_the_right():
    windows = make_windows([1, 1, 1, 1], [0, 1, 2, 2], cents=[1, 10, 100, 1000])
    assert windows.look_back(1, total=pl.col("cents").sum())["total"].to_list() == [0, 1, 10, 10]
    assert windows.look_back(EVER, total=pl.col("cents").sum())["total"].to_list() == [0, 1, 11, 11]


def test_windows_keep_the_order_of_the_rows_and_leave_no_group_out():
    windows = make_windows([2, None, 1, 2, 1], [3, 0, 1, 2, 0])
    assert windows.look_back(EVER, count=pl.len())["count"].to_list() == [1, None, 1, 0, 0]


def test_questions_see_facts_and_not_each_other():
    facts = pl.DataFrame({"group": [1, 1, 2], "time": [5, 6, 5], "fraud": [1, 0, 1]})
    questions = pl.DataFrame({"group": [1, 1, 2, 3], "time": [6, 7, 5, 9]})
    seen = Windows(facts, questions).look_back(EVER, known=pl.col("fraud").count(), frauds=pl.col("fraud").sum())
    assert seen["known"].to_list() == [1, 2, 0, 0]
    assert seen["frauds"].to_list() == [1, 1, 0, 0]


def test_window_sum_is_exact_after_int64_wraps():
    windows = make_windows([1] * 5, [0, 10, 20, 30, 40], cents=[2**62, 2**62, 2**62, 5, 7])
    assert windows.look_back(10, total=pl.col("cents").sum())["total"][4] == 5


@pytest.mark.parametrize("seed", range(5))
def test_distinct_count_equals_a_set_in_every_window(seed):
    rng = np.random.default_rng(seed)
    group, times = rng.integers(0, 3, 80), rng.integers(0, 30, 80) * DAY_US
    other = [None if x == 0 else int(x) for x in rng.integers(0, 6, 80)]
    windows = Windows(pl.DataFrame({"group": group, "time": times, "other": other}))
    for days in (1, 5, EVER):
        start = times - days * DAY_US if days else np.full(80, -1)
        seen = [
            {other[j] for j in range(80) if group[j] == group[i] and start[i] <= times[j] < times[i]} for i in range(80)
        ]
        assert windows.count_distinct(days, "other").to_list() == [len(values - {None}) for values in seen]


def test_window_over_a_long_history_is_no_harder():
    num = 200_000  # of one group: a pass over every window would never end
    windows = make_windows([1] * num, np.arange(num) / num, other=np.arange(num) % 1000)
    assert windows.count_distinct(EVER, "other")[num - 1] == 1000
    assert windows.look_back(EVER, count=pl.len())["count"][num - 1] == num - 1
