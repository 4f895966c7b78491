"""Sums that go on from sums, and instants by code."""

import numpy as np
import pytest

from panther_pipeline.features.entries import ENTRY
from panther_pipeline.features.event import NO_CODE
from panther_pipeline.features.past import NO_PAST, NOTHING_SEEN, keep_first, keep_last, look_up
from panther_pipeline.units import BEFORE_ALL_US


def make_entries(seed: int, num: int = 40) -> np.ndarray:
    rng = np.random.default_rng(seed)
    entries = np.zeros(num, dtype=ENTRY)
    entries["time_us"], entries["other"] = rng.integers(0, 1000, num), rng.integers(0, 4, num)
    entries["cents"], entries["label"] = rng.integers(-(2**62), 2**62, num), rng.integers(-1, 2, num)
    entries["met_before_us"] = rng.choice([BEFORE_ALL_US, 5], num)
    return entries


@pytest.mark.parametrize("seed", range(10))
def test_sums_do_not_depend_on_how_events_are_parcelled(seed):
    entries = make_entries(seed)
    one_by_one = NO_PAST
    for ix in np.random.default_rng(seed).permutation(len(entries)):
        one_by_one = one_by_one.add(entries[ix : ix + 1])
    assert one_by_one == NO_PAST.add(entries) == NO_PAST.add(entries[:7]).add(entries[7:]).add(entries[:0])


def test_sums_are_those_of_the_entries():
    entries = make_entries(0)
    past = NO_PAST.add(entries)
    rows = entries.tolist()
    assert past.total == (sum(row[2] for row in rows) + 2**63) % 2**64 - 2**63
    assert past.distinct == sum(row[4] == BEFORE_ALL_US and row[3] != NO_CODE for row in rows)
    assert past.last_us == max(row[0] for row in rows)
    assert past.last_fraud_us == max(row[0] for row in rows if row[6] == 1)


@pytest.mark.parametrize(("keep", "choose"), [(keep_first, min), (keep_last, max)])
@pytest.mark.parametrize("seed", range(10))
def test_kept_instants_are_those_of_a_dictionary(keep, choose, seed):
    rng = np.random.default_rng(seed)
    seen, expected = NOTHING_SEEN, {}
    for _ in range(5):
        codes = rng.choice([NO_CODE, -(2**63), 2**63 - 1, -1, 7], 6)
        times = rng.integers(-100, 100, 6)
        seen = keep(seen, codes, times)
        for code, time in zip(codes.tolist(), times.tolist(), strict=True):
            if code != NO_CODE:
                expected[code] = choose(expected.get(code, time), time)
    assert seen.tolist() == sorted(expected.items())
    assert [look_up(seen, code) for code in (*expected, 8, NO_CODE)] == [*expected.values(), None, None]


def test_nothing_is_found_in_nothing():
    assert look_up(NOTHING_SEEN, 1) is None
    assert len(keep_last(NOTHING_SEEN, np.zeros(3, np.int64), np.zeros(3, np.int64))) == 0
