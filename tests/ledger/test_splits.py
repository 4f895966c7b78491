"""Splits in time and by user."""

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from panther_pipeline.ledger.splits import (
    TEST,
    TRAIN,
    UNUSED,
    VALID,
    SplitConfig,
    assign_split,
    is_held_out,
    parse_instant,
    to_us,
)

DAY_US = 86_400_000_000


def make_splits(**changes):
    values = {
        "train_end": "2024-02-01", "valid_end": "2024-03-01", "test_end": "2024-04-01", "embargo_days": 0,
        "held_out_user_share": 0.0,
    }  # fmt: skip
    return SplitConfig(**{**values, **changes})


def split_of(instants, config, users=None):
    times = np.array([to_us(parse_instant(i)) if isinstance(i, str) else i for i in instants], dtype=np.int64)
    return assign_split(times, pl.Series(users or ["u"] * len(times)), config).tolist()


def test_windows_are_closed_left_and_open_right():
    config = make_splits()
    edges = [config.train_end_us, config.valid_end_us, config.test_end_us]
    times = [edge + shift for edge in edges for shift in (-1, 0)]
    assert split_of(times, config) == [TRAIN, VALID, VALID, TEST, TEST, UNUSED]


def test_embargo_belongs_to_no_split():
    config = make_splits(embargo_days=1.5)
    times = [config.valid_end_us - 1, config.valid_end_us, config.valid_end_us + DAY_US * 3 // 2 - 1]
    assert split_of([*times, config.valid_end_us + DAY_US * 3 // 2], config) == [VALID, UNUSED, UNUSED, TEST]


def test_test_window_without_end_runs_on():
    assert split_of(["2099-01-01"], make_splits(test_end=None)) == [TEST]


def test_held_out_users_appear_in_the_test_only():
    users = [f"user-{i}" for i in range(2000)]
    config = make_splits(held_out_user_share=0.25)
    before = np.array(split_of(["2024-01-15"] * len(users), config, users))
    later = np.array(split_of(["2024-03-15"] * len(users), config, users))
    held = np.array([is_held_out(u, 0.25) for u in users])
    assert 0.2 < held.mean() < 0.3
    assert (before[held] == UNUSED).all()
    assert (before[~held] == TRAIN).all()
    assert (later == TEST).all()


def test_held_out_users_stay_held_out_when_the_share_grows():
    users = [f"user-{i}" for i in range(500)]
    small = {u for u in users if is_held_out(u, 0.1)}
    assert small < {u for u in users if is_held_out(u, 0.3)}


def test_split_of_an_event_does_not_depend_on_other_events():
    times = ["2024-01-15", "2024-02-15", "2024-03-15"]
    config = make_splits(held_out_user_share=0.5)
    together = split_of(times, config, ["a", "b", "c"])
    assert together == [split_of([t], config, [u])[0] for t, u in zip(times, "abc", strict=True)]


def test_naive_bounds_are_utc_and_offsets_are_respected():
    assert make_splits(train_end="2024-02-01T02:00:00+02:00").train_end_us == make_splits().train_end_us


@pytest.mark.parametrize(
    "changes",
    [
        {"train_end": "2024-03-01"},
        {"test_end": "2024-02-15"},
        {"train_end": "yesterday"},
        {"embargo_days": 31},  # swallows the whole test window
        {"embargo_days": -1},
        {"held_out_user_share": 1.0},
    ],
)
def test_impossible_splits_are_refused(changes):
    with pytest.raises(ValidationError):
        make_splits(**changes)
