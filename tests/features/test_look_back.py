"""Sums of windows by slices equal loops over the definitions."""

import numpy as np
import pytest

from panther_pipeline.features.entries import ENTRY, NO_ENTRIES
from panther_pipeline.features.event import NO_CODE, NOT_KNOWN_US
from panther_pipeline.features.look_back import (
    entries_before,
    known_risk,
    last_event_us,
    sum_windows,
    window_starts,
)
from panther_pipeline.features.past import NO_PAST, Past
from panther_pipeline.units import BEFORE_ALL_US, DAY_US

DAYS = [1, 7]
PAST = Past(
    count=3, total=-5, largest=-1, clipped=-5, high=0, low=11, distinct=2, last_us=-(90 * DAY_US),
    last_fraud_us=-(95 * DAY_US),
)  # fmt: skip
NOW_US = 15 * DAY_US


def make_entries(seed: int, num: int = 50) -> np.ndarray:
    """Over 20 whole days, so that many tie; a third without anybody on the other side, a third without a label."""
    rng = np.random.default_rng(seed)
    entries = np.zeros(num, dtype=ENTRY)
    entries["time_us"] = np.sort(rng.integers(0, 20, num)) * DAY_US
    entries["event"] = np.arange(num)
    entries["cents"] = rng.integers(-(2**33), 2**33, num)
    entries["other"] = np.where(rng.random(num) < 0.3, NO_CODE, rng.integers(1, 6, num))
    entries["label"] = rng.integers(-1, 2, num)
    known = entries["time_us"] + rng.integers(0, 8, num) * DAY_US
    entries["known_us"] = np.where(entries["label"] < 0, NOT_KNOWN_US, known)
    last: dict[int, int] = {}
    for entry in entries:
        entry["met_before_us"] = last.get(int(entry["other"]), BEFORE_ALL_US)
        if entry["other"] != NO_CODE:
            last[int(entry["other"])] = int(entry["time_us"])
    return entries


@pytest.mark.parametrize("seed", range(20))
def test_sums_of_windows_equal_loops_over_the_entries(seed):
    entries = make_entries(seed)
    found = sum_windows(entries_before(entries, NOW_US), NO_PAST, window_starts(NOW_US, DAYS))
    for column, start_us in enumerate([*(NOW_US - days * DAY_US for days in DAYS), BEFORE_ALL_US]):
        seen = [entry for entry in entries.tolist() if start_us <= entry[0] < NOW_US]
        cents = [entry[2] for entry in seen]
        clipped = [max(-(2**31 - 1), min(2**31 - 1, amount)) for amount in cents]
        halves = [sum(amount**2 // 2**32 for amount in clipped), sum(amount**2 % 2**32 for amount in clipped)]
        distinct = len({entry[3] for entry in seen} - {NO_CODE})
        sums = [len(seen), sum(cents), max(cents, default=0), sum(clipped), *halves, distinct]
        assert found[:, column].tolist() == sums


@pytest.mark.parametrize("seed", range(20))
def test_known_risk_equals_a_loop_over_the_labels(seed):
    entries = make_entries(seed)
    seen_E = entries_before(entries, NOW_US)
    starts_R = window_starts(NOW_US, DAYS)[:-1]
    known_R, frauds_R, first_us_R, last_us = known_risk(seen_E, NO_PAST, NOW_US, starts_R)
    for column, start_us in enumerate(starts_R):
        labels = [entry for entry in entries.tolist() if start_us <= entry[5] < NOW_US]
        frauds = [entry[0] for entry in labels if entry[6] == 1]
        assert (known_R[column], frauds_R[column]) == (len(labels), len(frauds))
        assert first_us_R[column] == min(frauds, default=BEFORE_ALL_US)
    ever = [entry[0] for entry in entries.tolist() if entry[5] < NOW_US and entry[6] == 1]
    assert last_us == max(ever, default=BEFORE_ALL_US)


def test_ever_is_what_was_summed_up_and_what_is_held():
    seen_E = entries_before(make_entries(0), NOW_US)
    starts_V = window_starts(NOW_US, DAYS)
    alone, both = sum_windows(seen_E, NO_PAST, starts_V), sum_windows(seen_E, PAST, starts_V)
    assert both[:, :-1].tolist() == alone[:, :-1].tolist()
    added = [PAST.count, PAST.total, 0, PAST.clipped, PAST.high, PAST.low, PAST.distinct]
    assert (both - alone)[:, -1].tolist() == added
    assert sum_windows(seen_E[:0], PAST, starts_V)[:, -1].tolist() == [3, -5, -1, -5, 0, 11, 2]


def test_larger_amount_of_the_past_is_the_largest_ever():
    seen_E = entries_before(make_entries(0), NOW_US)
    past = Past(count=1, total=2**40, largest=2**40)
    assert sum_windows(seen_E, past, window_starts(NOW_US, DAYS))[2, -1] == 2**40


def test_nothing_seen_is_zero_and_never():
    starts_V = window_starts(NOW_US, DAYS)
    assert sum_windows(NO_ENTRIES, NO_PAST, starts_V).tolist() == [[0, 0, 0]] * 7
    *counts, first_us_R, last_us = known_risk(NO_ENTRIES, NO_PAST, NOW_US, starts_V[:-1])
    assert [count.tolist() for count in counts] == [[0, 0]] * 2
    assert {*first_us_R.tolist(), last_us, last_event_us(NO_ENTRIES, NO_PAST)} == {BEFORE_ALL_US}


def test_last_event_and_last_fraud_may_be_of_the_past():
    assert last_event_us(NO_ENTRIES, PAST) == PAST.last_us
    assert known_risk(NO_ENTRIES, PAST, NOW_US, window_starts(NOW_US, DAYS)[:-1])[3] == PAST.last_fraud_us
    entries = make_entries(1)
    entries["label"] = 1
    entries["known_us"] = entries["time_us"]
    entries["time_us"][:] = PAST.last_us - 1  # held for the sake of a young label
    assert last_event_us(entries, PAST) == PAST.last_us
