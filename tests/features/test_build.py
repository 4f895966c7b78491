"""Built at once from a ledger, a state is what adding the events one by one leaves: the same bytes."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panther_pipeline.features.build import build_activities
from panther_pipeline.features.config import ActivityConfig
from panther_pipeline.units import DAY_US, HOUR_US

from .conftest import ACTIVITY, DRAWN_HISTORY, START_US, add_all, make_ledger, make_table, read_in_time_order


def build(table, as_of_us: int, config: ActivityConfig = ACTIVITY) -> dict[tuple[str, str], bytes]:
    users, counterparties = build_activities(table, config, as_of_us)
    packed = {("user", name): state.pack() for name, state in users}
    return packed | {("counterparty", name): state.pack() for name, state in counterparties}


def add_one_by_one(table, as_of_us: int, config: ActivityConfig = ACTIVITY) -> dict[tuple[str, str], bytes]:
    return add_all([e for e in read_in_time_order(table) if e.time_us < as_of_us], config).pack()


@settings(max_examples=150)
@given(drawn=DRAWN_HISTORY, hours=st.integers(-1, 41 * 24), waits=st.sampled_from([0, 20]))
def test_states_built_at_once_are_those_of_events_added_one_by_one(drawn, hours, waits):
    table, as_of_us = make_table(drawn), START_US + hours * HOUR_US
    config = replace(ACTIVITY, label_wait_days=waits)
    assert build(table, as_of_us, config) == add_one_by_one(table, as_of_us, config)


@pytest.mark.parametrize("seed", range(3))
def test_states_of_a_long_ledger_are_those_of_events_added_one_by_one(seed):
    table = make_ledger(seed, num=500)
    as_of_us = START_US + 11 * DAY_US
    built = build(table, as_of_us)
    assert built == add_one_by_one(table, as_of_us)
    assert len(built) == 8


def test_events_at_the_instant_are_not_read():
    event = {"user_id": "a", "amount_cents": 1, "channel": "shop", "counterparty": "m1", "label": 1, "delay": 0}
    table = make_table([{**event, "hours": hours} for hours in (0, 24)])
    for as_of_us, num in ((START_US, []), (START_US + 1, [1]), (START_US + DAY_US, [1]), (START_US + DAY_US + 1, [2])):
        assert [state.num_events for _, state in build_activities(table, ACTIVITY, as_of_us)[0]] == num


def test_states_do_not_depend_on_the_order_of_the_rows():
    table = make_ledger(1, num=300)
    shuffled = table.sample(fraction=1.0, shuffle=True, seed=0)
    assert build(table, START_US + 100 * DAY_US) == build(shuffled, START_US + 100 * DAY_US)


def test_states_come_in_the_order_of_ids():
    users, counterparties = build_activities(make_ledger(0), ACTIVITY, START_US + 100 * DAY_US)
    assert [name for name, _ in users] == ["u1", "u2", "u3", "u4"]
    assert [name for name, _ in counterparties] == ["m1", "m2", "m3", "m4"]


def test_empty_ledger_has_no_states():
    assert build(make_ledger(0)[:0], START_US) == {}
