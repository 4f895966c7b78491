"""What both sides saw, taken together, equals loops over the definitions, side by side."""

from dataclasses import replace

import numpy as np
import pytest

from panther_pipeline.features.entries import ENTRY, NO_ENTRIES
from panther_pipeline.features.event import NO_CODE, NOT_KNOWN_US
from panther_pipeline.features.look_back import Seen, entries_before, look_back, window_starts
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


STARTS_V = window_starts(NOW_US, DAYS)
NOTHING = (NO_ENTRIES, NO_PAST)


def seen_by(user, counterparty=NOTHING) -> Seen:
    return look_back([user, counterparty], NOW_US, STARTS_V, STARTS_V[:-1])


def sums_of(seen: Seen, side: int) -> list[list[int]]:
    """The seven sums in their order, window by window."""
    return [getattr(seen.sums, name)[side].tolist() for name in seen.sums.__slots__]


def before(entries: np.ndarray, past: Past = NO_PAST) -> tuple[np.ndarray, Past]:
    return entries_before(entries, NOW_US), past


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("sizes", [(50, 30), (50, 0), (0, 50), (1, 1)])
def test_sums_of_windows_equal_loops_over_the_entries(seed, sizes):
    sides = [make_entries(seed + side, num) for side, num in enumerate(sizes)]
    found = seen_by(*map(before, sides))
    for side, entries in enumerate(sides):
        for column, start_us in enumerate([*(NOW_US - days * DAY_US for days in DAYS), BEFORE_ALL_US]):
            seen = [entry for entry in entries.tolist() if start_us <= entry[0] < NOW_US]
            cents = [entry[2] for entry in seen]
            clipped = [max(-(2**31 - 1), min(2**31 - 1, amount)) for amount in cents]
            halves = [sum(amount**2 // 2**32 for amount in clipped), sum(amount**2 % 2**32 for amount in clipped)]
            distinct = len({entry[3] for entry in seen} - {NO_CODE})
            sums = [len(seen), sum(cents), max(cents, default=0), sum(clipped), *halves, distinct]
            assert [sum_V[column] for sum_V in sums_of(found, side)] == sums
        assert found.last_us[side] == max([e[0] for e in entries.tolist() if e[0] < NOW_US], default=BEFORE_ALL_US)


def test_the_largest_of_negative_amounts_is_negative():
    entries = make_entries(1)
    entries["cents"] = -np.arange(1, len(entries) + 1)
    times = entries["time_us"]
    largest = [-1 - int(np.flatnonzero((times >= start) & (times < NOW_US))[0]) for start in STARTS_V]
    assert seen_by(before(entries)).sums.largest[0].tolist() == largest
    assert seen_by(NOTHING, before(entries)).sums.largest[1].tolist() == largest


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("sizes", [(50, 30), (50, 0), (0, 50)])
def test_known_risk_equals_a_loop_over_the_labels(seed, sizes):
    sides = [make_entries(seed + side, num) for side, num in enumerate(sizes)]
    found = seen_by(*map(before, sides))
    for side, entries in enumerate(sides):
        known = [entry for entry in entries.tolist() if entry[0] < NOW_US and entry[5] < NOW_US]
        for column, start_us in enumerate(STARTS_V[:-1]):
            labels = [entry for entry in known if entry[5] >= start_us]
            frauds = [entry[0] for entry in labels if entry[6] == 1]
            assert (found.known_2R[side, column], found.frauds_2R[side, column]) == (len(labels), len(frauds))
            assert found.first_us_2R[side, column] == min(frauds, default=BEFORE_ALL_US)
        ever = [entry[0] for entry in known if entry[6] == 1]
        assert found.last_fraud_us[side] == max(ever, default=BEFORE_ALL_US)


def test_ever_is_what_was_summed_up_and_what_is_held():
    seen_E = entries_before(make_entries(0), NOW_US)
    alone, both = seen_by((seen_E, NO_PAST), (seen_E, NO_PAST)), seen_by((seen_E, NO_PAST), (seen_E, PAST))
    assert sums_of(both, 0) == sums_of(alone, 0)
    differences = np.array(sums_of(both, 1)) - np.array(sums_of(alone, 1))
    assert not differences[:, :-1].any()
    added = [PAST.count, PAST.total, 0, PAST.clipped, PAST.high, PAST.low, PAST.distinct]
    assert differences[:, -1].tolist() == added
    only = seen_by((NO_ENTRIES, PAST))
    assert [sum_V[-1] for sum_V in sums_of(only, 0)] == [3, -5, -1, -5, 0, 11, 2]


def test_the_largest_ever_may_have_been_summed_up():
    past = replace(PAST, largest=2**40)
    assert seen_by(before(make_entries(0), past)).sums.largest[0, -1] == 2**40


def test_nothing_seen_is_nothing():
    found = seen_by(NOTHING)
    assert [sums_of(found, side) for side in range(2)] == [[[0, 0, 0]] * 7] * 2
    assert not found.known_2R.any()
    assert not found.frauds_2R.any()
    assert {*found.first_us_2R.ravel().tolist(), *found.last_us, *found.last_fraud_us} == {BEFORE_ALL_US}


def test_the_last_events_may_have_been_summed_up():
    found = seen_by((NO_ENTRIES, PAST), (NO_ENTRIES, PAST))
    assert found.last_us == [PAST.last_us] * 2
    assert found.last_fraud_us == [PAST.last_fraud_us] * 2
    entries = make_entries(1)
    entries["label"] = 1
    entries["known_us"] = entries["time_us"]
    entries["time_us"][:] = PAST.last_us - 1  # held for the sake of a young label
    assert seen_by((entries, PAST)).last_us[0] == PAST.last_us
