"""Splits in time and by user."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from panther_pipeline.errors import ConfigurationError
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
        "protocol": "time", "train_end": "2024-02-01", "valid_end": "2024-03-01", "test_end": "2024-04-01",
        "embargo_days": 0, "held_out_user_share": 0.0,
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


LAST_OUT = {
    "protocol": "leave_last_out", "train_end": None, "valid_end": None, "test_end": None, "embargo_days": 0,
}  # fmt: skip


def split_by_order(users: str, **changes):
    config = make_splits(**{**LAST_OUT, **changes})
    return assign_split(np.zeros(len(users), dtype=np.int64), pl.Series(list(users), dtype=pl.String), config).tolist()


def test_last_event_of_every_user_is_the_test():
    assert split_by_order("aaaaabbb") == [TRAIN, TRAIN, TRAIN, VALID, TEST, TRAIN, VALID, TEST]


def test_histories_below_three_events_are_trained_on_alone():
    assert split_by_order("abbccc") == [TRAIN, TRAIN, TRAIN, TRAIN, VALID, TEST]
    assert split_by_order("") == []


def test_held_out_users_are_tested_but_not_trained_on_when_the_last_is_left_out():
    users = [f"user-{i:03}" for i in range(200) for _ in range(4)]
    config = make_splits(**LAST_OUT, held_out_user_share=0.25)
    splits = assign_split(np.zeros(800, dtype=np.int64), pl.Series(users), config).reshape(200, 4)
    held = np.array([is_held_out(u, 0.25) for u in users[::4]])
    assert 20 < held.sum() < 80
    assert (splits[held] == [UNUSED, UNUSED, UNUSED, TEST]).all()
    assert (splits[~held] == [TRAIN, TRAIN, VALID, TEST]).all()


@given(lengths=st.lists(st.integers(1, 9), max_size=30))
def test_leave_last_out_judges_each_user_once_and_last(lengths):
    users = [f"{i:02}" for i, length in enumerate(lengths) for _ in range(length)]
    splits = split_by_order(users)
    history = {user: [s for u, s in zip(users, splits, strict=True) if u == user] for user in users}
    assert sum(split == TEST for split in splits) == sum(length >= 3 for length in lengths)
    for splits_of_user in history.values():
        # Nothing is trained on after what is judged: sorted is TRAIN, VALID, TEST.
        assert splits_of_user == sorted(splits_of_user)
        assert splits_of_user.count(VALID) == splits_of_user.count(TEST) <= 1
        assert splits_of_user[0] == TRAIN


@given(lengths=st.lists(st.integers(1, 9), min_size=2, max_size=20), data=st.data())
def test_leave_last_out_of_a_user_does_not_depend_on_other_users(lengths, data):
    users = [f"{i:02}" for i, length in enumerate(lengths) for _ in range(length)]
    cut = sum(lengths[: data.draw(st.integers(1, len(lengths) - 1))])
    assert split_by_order(users) == split_by_order(users[:cut]) + split_by_order(users[cut:])


def test_rows_of_a_user_that_stand_apart_are_refused():
    with pytest.raises(ValueError, match="whole histories"):
        split_by_order("aabba")


@pytest.mark.parametrize("name", ["train_end_us", "valid_end_us", "test_start_us"])
def test_instants_of_leave_last_out_are_refused_with_the_way_out(name):
    config = make_splits(**LAST_OUT)
    assert config.training_bound == "leave_last_out"
    assert config.test_end_us is None
    with pytest.raises(ConfigurationError, match="needs protocol: time"):
        getattr(config, name)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({**LAST_OUT, "train_end": "2024-02-01"}, "reads no instants, but train_end say"),
        ({**LAST_OUT, "test_end": "2024-02-01", "embargo_days": 1}, "but test_end, embargo_days say"),
        ({"train_end": None}, "protocol time needs train_end"),
        ({"train_end": None, "valid_end": None}, "needs train_end and valid_end"),
        ({"protocol": "random"}, "leave_last_out"),
    ],
)
def test_protocol_and_instants_must_agree(changes, told):
    with pytest.raises(ValidationError, match=told):
        make_splits(**changes)
