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
)
from panther_pipeline.units import to_us

DAY_US = 86_400_000_000


def make_splits(**changes):
    values = {
        "protocol": "time", "train_end": "2024-02-01", "valid_end": "2024-03-01", "test_end": "2024-04-01",
        "embargo_days": 0, "test_share": None, "valid_share": None, "held_out_user_share": 0.0,
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


LAST_SHARE = {**LAST_OUT, "protocol": "leave_last_share", "test_share": 0.2, "valid_share": 0.1}


def split_by_order(users, **changes):
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


def test_last_share_of_every_user_is_the_test_and_what_precedes_it_validates():
    splits = split_by_order("a" * 10 + "b" * 11, **LAST_SHARE)
    assert splits[:10] == [TRAIN] * 7 + [VALID] + [TEST] * 2
    assert splits[10:] == [TRAIN] * 6 + [VALID] * 2 + [TEST] * 3  # rounded up


@pytest.mark.parametrize(
    ("length", "expected"),
    [(1, [TRAIN]), (2, [TRAIN, TEST]), (3, [TRAIN, VALID, TEST]), (4, [TRAIN, TRAIN, VALID, TEST])],
)
def test_short_histories_keep_an_event_to_train_on(length, expected):
    assert split_by_order("a" * length, **LAST_SHARE) == expected


def test_no_share_of_validation_means_no_validation():
    assert split_by_order("aaaaa", **{**LAST_SHARE, "valid_share": 0.0}) == [TRAIN] * 4 + [TEST]


@pytest.mark.parametrize(
    ("share", "length", "tested"),
    [(0.07, 100, 7), (0.29, 100, 29), (0.1, 30, 3), (0.3333333333333333, 30_000, 10_000), (0.0001, 5, 1)],
)
def test_shares_are_rounded_up_as_they_are_written(share, length, tested):
    # In floating point 0.07 * 100 is 7.000000000000001; a third of 30 000 times its numerator exceeds 64 bits.
    splits = split_by_order(["u"] * length, **{**LAST_SHARE, "test_share": share})
    assert splits.count(TEST) == tested


@given(
    lengths=st.lists(st.integers(1, 60), max_size=30),
    test_share=st.floats(0.01, 0.6),
    valid_share=st.floats(0, 0.39),
)
def test_leave_last_share_trains_first_and_tests_last(lengths, test_share, valid_share):
    users = [f"{i:02}" for i, length in enumerate(lengths) for _ in range(length)]
    splits = split_by_order(users, **{**LAST_SHARE, "test_share": test_share, "valid_share": valid_share})
    ends = np.cumsum(lengths, dtype=int)
    for start, end in zip(ends - lengths, ends, strict=True):
        of_user, length = splits[start:end], end - start
        assert of_user == sorted(of_user)  # TRAIN, VALID, TEST
        assert of_user[0] == TRAIN
        if length > 1:
            assert of_user[-1] == TEST
            assert length * test_share - 1 <= of_user.count(TEST) < length * test_share + 1
            assert of_user.count(VALID) <= length * valid_share + 1


@given(lengths=st.lists(st.integers(1, 30), min_size=2, max_size=20), data=st.data())
def test_leave_last_share_of_a_user_does_not_depend_on_other_users(lengths, data):
    users = [f"{i:02}" for i, length in enumerate(lengths) for _ in range(length)]
    cut = sum(lengths[: data.draw(st.integers(1, len(lengths) - 1))])
    apart = split_by_order(users[:cut], **LAST_SHARE) + split_by_order(users[cut:], **LAST_SHARE)
    assert split_by_order(users, **LAST_SHARE) == apart


@pytest.mark.parametrize("protocol", [LAST_OUT, LAST_SHARE])
def test_rows_of_a_user_that_stand_apart_are_refused(protocol):
    with pytest.raises(ValueError, match=f"{protocol['protocol']} reads whole histories"):
        split_by_order("aabba", **protocol)


@pytest.mark.parametrize("protocol", [LAST_OUT, LAST_SHARE])
@pytest.mark.parametrize("name", ["train_end_us", "valid_end_us", "test_start_us"])
def test_instants_of_a_split_by_order_are_refused_with_the_way_out(name, protocol):
    config = make_splits(**protocol)
    assert config.training_bound == protocol["protocol"]
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
        ({**LAST_SHARE, "valid_end": "2024-02-01"}, "leave_last_share reads no instants, but valid_end say"),
        ({**LAST_SHARE, "test_share": None}, "leave_last_share needs test_share"),
        ({**LAST_SHARE, "test_share": None, "valid_share": None}, "needs test_share and valid_share"),
        ({**LAST_SHARE, "test_share": 0.0}, "greater than 0"),
        ({**LAST_SHARE, "test_share": 0.7, "valid_share": 0.3}, "leave nothing to train on"),
        ({**LAST_OUT, "test_share": 0.2}, "leave_last_out reads no shares, but test_share say"),
        ({"test_share": 0.2, "valid_share": 0.1}, "time reads no shares, but test_share, valid_share say"),
    ],
)
def test_protocol_and_what_it_reads_must_agree(changes, told):
    with pytest.raises(ValidationError, match=told):
        make_splits(**changes)


def test_shift_moves_validation_and_test_and_leaves_training():
    shifted = make_splits(embargo_days=2, held_out_user_share=0.1).shifted(7, test_days=5)
    assert parse_instant(shifted.valid_end) == parse_instant("2024-03-08")
    assert shifted.test_start_us == to_us(parse_instant("2024-03-10"))
    assert shifted.test_end_us == to_us(parse_instant("2024-03-15"))
    assert (shifted.train_end, shifted.held_out_user_share) == ("2024-02-01", 0.1)


def test_splits_by_order_cannot_be_shifted():
    with pytest.raises(ConfigurationError, match=r"leave_last_out, which has no valid_end.*needs protocol: time"):
        make_splits(**LAST_OUT).shifted(7, test_days=7)
