"""What a state is depends on what was added, not on the order, on repetitions, or on when a label was heard of."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panther_pipeline.errors import TooLateError
from panther_pipeline.features import activity
from panther_pipeline.features.activity import CounterpartyActivity, UserActivity, add_event
from panther_pipeline.features.entries import insert_entry
from panther_pipeline.features.event import OnlineEvent, code_text
from panther_pipeline.features.online import OnlineFeatures
from panther_pipeline.units import BEFORE_ALL_US, DAY_US

from .conftest import (
    ACTIVITY,
    ATTRIBUTES,
    DRAWN_HISTORY,
    LATENESS_US,
    States,
    add_all,
    make_event,
    make_table,
    read_in_time_order,
)


def arrive(events: list[OnlineEvent], rng: np.random.Generator, delay_us: int) -> list[OnlineEvent]:
    """The events in an order in which none is later than `delay_us`."""
    delays = rng.integers(0, delay_us + 1, len(events)) * rng.integers(0, 2, len(events))
    order = np.lexsort((rng.random(len(events)), [e.time_us for e in events] + delays))
    return [events[ix] for ix in order]


@settings(max_examples=150)
@given(drawn=DRAWN_HISTORY, seed=st.integers(0, 2**32))
def test_any_order_and_repetition_within_lateness_ends_in_the_same_bytes(drawn, seed):
    rng = np.random.default_rng(seed)
    events = read_in_time_order(make_table(drawn))
    repeated = [events[ix] for ix in rng.integers(0, len(events), len(events))]
    assert add_all(arrive(events + repeated, rng, LATENESS_US)).pack() == add_all(events).pack()


@settings(max_examples=100)
@given(drawn=DRAWN_HISTORY, seed=st.integers(0, 2**32))
def test_label_that_comes_later_equals_one_that_came_with_its_event(drawn, seed):
    rng = np.random.default_rng(seed)
    events = read_in_time_order(make_table(drawn))
    arrivals = [(e.time_us, rng.random(), replace(e, label=None, label_time_us=None)) for e in events]
    arrivals += [(e.time_us + rng.integers(0, ACTIVITY.kept_us + 1), 2 + rng.random(), e) for e in events]
    states = add_all([event for *_, event in sorted(arrivals, key=lambda arrival: arrival[:2])])
    assert states.pack() == add_all(events).pack()


def test_guard_notices_a_meeting_that_does_not_hear_of_an_earlier_one(monkeypatch):
    in_order, late = [make_event(day) for day in (0, 1, 2)], [make_event(day) for day in (0, 2, 1)]
    assert add_all(late).pack() == add_all(in_order).pack()

    def insert_alone(entries_E, place, entry):
        grown_E = insert_entry(entries_E, place, entry).copy()
        grown_E["met_before_us"][place + 1 :] = entries_E["met_before_us"][place:]
        return grown_E

    expected = add_all(in_order).pack()
    monkeypatch.setattr(activity, "insert_entry", insert_alone)
    changed = add_all(late).pack()
    assert {key for key in expected if changed[key] != expected[key]} == {("user", "a"), ("counterparty", "m1")}


def test_first_meeting_passes_to_an_event_that_comes_in_late():
    states = add_all([make_event(1), make_event(0.5), make_event(0.5, event_id="at the same instant")])
    for state in (states.users["a"], states.counterparties["m1"]):
        firsts = state.entries_E[state.entries_E["met_before_us"] == BEFORE_ALL_US]
        assert len(firsts) == 1
        assert firsts["time_us"][0] == make_event(0.5).time_us
        assert state.entries_E["met_before_us"][-1] == make_event(0.5).time_us


def test_of_two_first_meetings_at_one_instant_one_is_the_first_whatever_the_order():
    pair = [make_event(0, event_id="x"), make_event(0, event_id="y")]
    assert add_all(pair).pack() == add_all(pair[::-1]).pack()


def test_counterparty_never_seen_gets_a_state_and_no_counterparty_none():
    user = UserActivity.empty(ACTIVITY)
    with_new = add_event(make_event(0), user, None)
    assert with_new[1].pack() == add_event(make_event(0), user, CounterpartyActivity.empty(ACTIVITY))[1].pack()
    assert with_new[1].num_events == 1
    assert add_event(make_event(0, counterparty=None), user, None)[1] is None


def test_repetition_returns_the_same_state():
    states = add_all([make_event(0), make_event(1)])
    user, counterparty = states.of(make_event(0))
    assert add_event(make_event(0), user, counterparty) == (user, counterparty)


def test_repetition_is_known_by_its_id_whatever_else_it_says():
    states = add_all([make_event(0)])
    before = states.pack()
    states.add(make_event(3, event_id=make_event(0).event_id, amount_cents=9))
    assert states.pack() == before


@pytest.mark.parametrize("first", [0, 1])
def test_of_two_labels_the_later_counts_whichever_is_heard_of_first(first):
    labels = [make_event(0, label=1, label_time_us=10**18), make_event(0, label=0, label_time_us=10**18 + 1)]
    user = add_all([labels[first], labels[1 - first]]).users["a"]
    assert (user.entries_E["label"][0], user.entries_E["known_us"][0]) == (0, 10**18 + 1)


def test_event_at_the_edge_of_lateness_is_taken_and_one_beyond_refused():
    states = add_all([make_event(5)])
    before = states.pack()
    too_late = replace(make_event(3), time_us=make_event(3).time_us - 1)
    with pytest.raises(TooLateError, match=r"2\.00 days older than the newest event of its user; events up to 2 days"):
        states.add(too_late)
    assert states.pack() == before
    states.add(make_event(3))
    assert states.users["a"].num_events == states.counterparties["m1"].num_events == 2


def test_event_too_late_for_the_counterparty_alone_leaves_both_as_they_were():
    states = add_all([make_event(0), make_event(5, user_id="b")])
    before = states.pack()
    with pytest.raises(TooLateError, match="newest event of its counterparty"):
        states.add(make_event(2))
    assert states.pack() == before


def test_late_label_of_an_event_that_is_held_is_taken():
    states = add_all([make_event(0), make_event(8)])
    states.add(make_event(0, label=1, label_time_us=make_event(7).time_us))
    assert states.users["a"].entries_E["label"].tolist() == [1, -1]


@pytest.mark.parametrize("known_day", [1, 15])  # one is old enough to be summed up when it is heard of, one is not
def test_label_of_an_event_that_is_summed_up_is_too_late_unless_it_was_waited_for(known_day):
    labelled = make_event(0, label=1, label_time_us=make_event(known_day).time_us)
    history = [make_event(0), make_event(15.5)]
    with pytest.raises(TooLateError):
        add_all([*history, labelled])
    waiting = replace(ACTIVITY, label_wait_days=20)
    states = add_all([*history, labelled], waiting)
    assert states.pack() == add_all([labelled, history[1]], waiting).pack()
    assert states.users["a"].past.count == (known_day == 1)


def test_what_windows_can_see_is_held_and_the_rest_summed_up():
    kept_us = ACTIVITY.kept_us  # of the longest window, 7 days, and the lateness, 2 days
    for behind_us, held in ((kept_us, 2), (kept_us + 1, 1)):
        first = make_event(0)
        user = add_all([first, make_event(1, time_us=first.time_us + behind_us)]).users["a"]
        assert (len(user.entries_E), user.past.count) == (held, 2 - held)


def test_event_whose_label_is_young_is_held():
    kept_us = ACTIVITY.kept_known_us  # of the longest risk window, 10 days, and the lateness, 2 days
    for behind_us, held in ((kept_us, 2), (kept_us + 1, 1)):
        known_us = make_event(20).time_us
        first = make_event(0, label=1, label_time_us=known_us)
        user = add_all([first, make_event(1, time_us=known_us + behind_us)]).users["a"]
        assert (len(user.entries_E), user.past.last_fraud_us) == (held, BEFORE_ALL_US if held == 2 else first.time_us)


def test_sums_of_old_events_are_exact_whole_numbers():
    amounts = [2**40, -(2**40), 7, None, 2**62, 2**62]
    old = [make_event(ix, amount_cents=amount, counterparty=f"m{ix % 3}") for ix, amount in enumerate(amounts)]
    past = add_all([*old, make_event(40)]).users["a"].past
    clipped = [max(-(2**31 - 1), min(2**31 - 1, amount or 0)) for amount in amounts]
    assert (past.count, past.largest, past.distinct) == (6, 2**62, 3)
    assert past.total == 7 + 2**63 - 2**64  # as the int64 sum of a table
    assert past.clipped == sum(clipped)
    assert past.high * 2**32 + past.low == sum(amount**2 for amount in clipped)
    assert past.last_us == old[-1].time_us


def test_counterparty_met_long_ago_is_remembered():
    user = add_all([make_event(0), make_event(1), make_event(40, counterparty="m2")]).users["a"]
    assert len(user.entries_E) == 1
    assert user.last_met_us(make_event(41).time_us, code_text("m1")) == make_event(1).time_us
    assert user.met_before_us(make_event(40.5)) == make_event(1).time_us
    assert user.last_met_us(make_event(41).time_us, code_text("m3")) == BEFORE_ALL_US


def test_event_without_counterparty_meets_nobody():
    states = add_all([make_event(day, counterparty=None) for day in (0, 1, 40)])
    assert states.counterparties == {}
    user = states.users["a"]
    assert (len(user.met_K), user.past.distinct) == (0, 0)
    assert user.entries_E["met_before_us"].tolist() == [BEFORE_ALL_US]


def test_first_time_of_a_value_is_the_earliest_and_missing_is_no_value():
    channels = [(2, "shop"), (1, "shop"), (1.5, None), (1.5, "online")]
    user = add_all([make_event(day, event_id=f"{day}{c}", attributes={"channel": c}) for day, c in channels]).users["a"]
    expected = {code_text("shop"): make_event(1).time_us, code_text("online"): make_event(1.5).time_us}
    assert dict(user.values[0].tolist()) == expected


def test_state_that_was_added_to_does_not_change():
    states = add_all([make_event(0), make_event(2)])
    user, counterparty = states.of(make_event(1))
    before = (user.pack(), counterparty.pack())
    add_event(make_event(1, label=1, label_time_us=0), user, counterparty)
    add_event(make_event(2, label=1, label_time_us=0), user, counterparty)
    add_event(make_event(50), user, counterparty)
    assert (user.pack(), counterparty.pack()) == before
    with pytest.raises(ValueError, match="read-only"):
        user.entries_E["cents"][0] = 1


def test_empty_states_have_done_nothing():
    assert UserActivity.empty(ACTIVITY).num_events == CounterpartyActivity.empty(ACTIVITY).num_events == 0
    assert UserActivity.empty(ACTIVITY).newest_us == BEFORE_ALL_US


def test_features_after_a_late_event_equal_those_in_order():
    features = OnlineFeatures(ACTIVITY.features, ATTRIBUTES)
    asked = make_event(4)
    in_order, late = (add_all([make_event(day) for day in days]) for days in ((0, 1, 3), (0, 3, 1)))
    assert features.compute(asked, *in_order.of(asked)).tobytes() == features.compute(asked, *late.of(asked)).tobytes()
    assert States().of(asked)[0].newest_us == BEFORE_ALL_US
    assert asked.time_us - in_order.users["a"].newest_us == DAY_US
