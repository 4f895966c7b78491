"""Places of events, and what a repetition changes. What follows from it for states: test_activity."""

import numpy as np
import pytest

from panther_pipeline.features.entries import (
    NO_ENTRIES,
    as_entries,
    find_event,
    find_place,
    is_kept,
    last_met_us,
    split_kept,
    update_label,
)
from panther_pipeline.features.event import NO_CODE, NOT_KNOWN_US
from panther_pipeline.units import BEFORE_ALL_US, DAY_US

from .conftest import ACTIVITY, make_event

# (time, event, cents, other, met before, known, label)
ENTRIES = as_entries(
    [
        (10, 4, 0, 1, BEFORE_ALL_US, NOT_KNOWN_US, -1),
        (20, -9, 0, 2, BEFORE_ALL_US, NOT_KNOWN_US, -1),
        (20, 3, 0, 1, 10, 25, 0),
        (20, 8, 0, 0, BEFORE_ALL_US, 30, 1),
        (30, 1, 0, 2, 20, NOT_KNOWN_US, -1),
    ]
)


@pytest.mark.parametrize(
    ("time_us", "event", "place"), [(5, 0, 0), (10, 5, 1), (20, -10, 1), (20, 3, 2), (20, 4, 3), (20, 9, 4), (31, 0, 5)]
)
def test_place_is_by_time_and_then_by_event(time_us, event, place):
    assert find_place(ENTRIES, time_us, event) == place


def test_event_is_found_by_its_code():
    assert [find_event(ENTRIES, event) for event in (4, 8, 1, 99)] == [0, 3, 4, None]
    assert find_event(NO_ENTRIES, 4) is None


def test_last_meeting_is_the_latest_of_that_other():
    assert [last_met_us(ENTRIES, other) for other in (1, 2, 3, NO_CODE)] == [20, 30, BEFORE_ALL_US, BEFORE_ALL_US]


@pytest.mark.parametrize(
    ("place", "label", "label_time_us", "expected"),
    [
        (0, 1, 15, (15, 1)),
        (0, 1, 5, (10, 1)),  # not known before its event
        (0, 1, None, (NOT_KNOWN_US, -1)),
        (0, None, 15, (NOT_KNOWN_US, -1)),
        (2, 1, 25, (25, 1)),  # at the same instant fraud counts
        (2, 1, 24, (25, 0)),
        (3, 0, 30, (30, 1)),
        (3, 0, 31, (31, 0)),
    ],
)
def test_label_of_a_repetition(place, label, label_time_us, expected):
    event = make_event(0, time_us=int(ENTRIES["time_us"][place]), label=label, label_time_us=label_time_us)
    changed = update_label(ENTRIES, place, event)
    assert (changed["known_us"][place], changed["label"][place]) == expected
    same = np.arange(len(ENTRIES)) != place
    assert changed[same].tobytes() == ENTRIES[same].tobytes()


def test_nothing_young_is_summed_up():
    kept, old = split_kept(ENTRIES, ACTIVITY)
    assert kept is ENTRIES
    assert len(old) == 0


def test_each_reason_alone_keeps_an_event():
    newest_us = 1000 * DAY_US
    old_us = newest_us - ACTIVITY.kept_us - 1
    young_label_us = newest_us - ACTIVITY.kept_known_us
    times = np.array([old_us + 1, old_us, old_us, old_us])
    known = np.array([young_label_us - 1, young_label_us, young_label_us - 1, NOT_KNOWN_US])
    assert is_kept(times, known, newest_us, ACTIVITY).tolist() == [True, True, False, False]
