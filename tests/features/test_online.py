"""What is computed from the states is what is computed from the table: the same float32, bit for bit."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panther_pipeline.errors import ConfigurationError, TooLateError
from panther_pipeline.features import online
from panther_pipeline.features.activity import CounterpartyActivity, UserActivity
from panther_pipeline.features.build import build_activities
from panther_pipeline.features.config import ActivityConfig
from panther_pipeline.features.event import read_events
from panther_pipeline.features.online import OnlineFeatures
from panther_pipeline.features.point_in_time import compute_features
from panther_pipeline.units import BEFORE_ALL_US, DAY_US

from .conftest import (
    ACTIVITY,
    ATTRIBUTES,
    DRAWN_EVENT,
    DRAWN_HISTORY,
    LATENESS_US,
    START,
    States,
    add_all,
    make_event,
    make_ledger,
    make_table,
    read_in_time_order,
)

FEATURES = OnlineFeatures(ACTIVITY.features, ATTRIBUTES)
CONTEXT = ["hour_sin", "hour_cos", "weekday", "is_night", "is_weekend"]
BORDERS = [0, 0, 1, 1, 2, 2.5, 7, 8, 10, 40, 40]


def table_features(table: pl.DataFrame) -> np.ndarray:
    """float32 (N, F)."""
    features = compute_features(table, ACTIVITY.features)
    assert features.columns[1:] == FEATURES.names
    return np.ascontiguousarray(features.drop("event_id").to_numpy())


def differences(online_F: np.ndarray, offline_F: np.ndarray) -> list[str]:
    assert online_F.dtype == offline_F.dtype == np.float32
    return [name for name, a, b in zip(FEATURES.names, online_F, offline_F, strict=True) if a.tobytes() != b.tobytes()]


def replay(table: pl.DataFrame) -> tuple[list[str], States]:
    """Each event is described, then added, in order of time."""
    ordered, states, found = table.sort("event_time"), States(), []
    for event, offline_F in zip(read_events(ordered, ATTRIBUTES), table_features(ordered), strict=True):
        found += differences(FEATURES.compute(event, *states.of(event)), offline_F)
        states.add(event)
    return found, states


def look_back_from_later(table: pl.DataFrame) -> list[str]:
    """Each event is described by states that hold it already, and all that came as much later as may be."""
    found = []
    for event, offline_F in zip(read_events(table, ATTRIBUTES), table_features(table), strict=True):
        users, counterparties = map(dict, build_activities(table, ACTIVITY, event.time_us + LATENESS_US + 1))
        online_F = FEATURES.compute(event, users[event.user_id], counterparties.get(event.counterparty))
        found += differences(online_F, offline_F)
    return found


def border_table(early_us: int = 0) -> pl.DataFrame:
    """Frauds a whole window before other events, known as long before, and on the same instants; the first earlier."""
    common = {"user_id": "a", "amount_cents": 100, "channel": "shop", "counterparty": "m1", "label": 1, "delay": 24}
    table = make_table([{**common, "hours": round(24 * day)} for day in BORDERS])
    is_first = pl.col("event_time") == START
    return table.with_columns(event_time=pl.col("event_time") - pl.duration(microseconds=is_first * early_us))


@settings(max_examples=150)
@given(drawn=DRAWN_HISTORY)
def test_features_of_a_replay_equal_the_table(drawn):
    assert replay(make_table(drawn))[0] == []


@settings(max_examples=50)
@given(drawn=st.lists(DRAWN_EVENT, min_size=1, max_size=25))
def test_event_already_in_the_state_is_described_as_it_was(drawn):
    assert look_back_from_later(make_table(drawn)) == []


@pytest.mark.parametrize("seed", range(3))
def test_replay_of_a_long_ledger_equals_the_table(seed):
    found, states = replay(make_ledger(seed, num=600))
    assert found == []
    assert all(state.past.count for state in [*states.users.values(), *states.counterparties.values()])


def test_a_counterparty_of_many_events_equals_the_table():
    num = 100_000
    rng = np.random.default_rng(0)
    start = pl.Series([START]).dt.epoch("us")[0]
    table = pl.DataFrame(
        {
            "user_id": [f"u{user}" for user in rng.integers(0, 5000, num)],
            "event_id": [str(ix) for ix in range(num)],
            "event_time": pl.Series(start + rng.integers(0, 9 * DAY_US, num)).cast(pl.Datetime("us", "UTC")),
            "amount_cents": rng.integers(1, 10**6, num),
            "channel": "shop",
            "counterparty": "m1",
            "label": pl.Series((rng.random(num) < 0.01), dtype=pl.Int8),
        }
    ).with_columns(label_time=pl.col("event_time") + timedelta(days=3))
    users, counterparties = map(dict, build_activities(table, ACTIVITY, start + 100 * DAY_US))
    assert len(counterparties["m1"].entries_E) == num
    last = table.with_row_index().sort("event_time")[-1:]
    event = next(read_events(last, ATTRIBUTES))
    online_F = FEATURES.compute(event, users[event.user_id], counterparties["m1"])
    assert differences(online_F, table_features(table)[last["index"][0]]) == []
    assert len(counterparties["m1"].add(make_event(9.5), BEFORE_ALL_US).entries_E) == num + 1


def test_last_fraud_may_be_summed_up_while_an_earlier_one_is_held():
    event = {"user_id": "a", "amount_cents": 1, "channel": "shop", "counterparty": "m1", "label": 1}
    drawn = [{**event, "hours": 24 * day, "delay": 24 * delay} for day, delay in ((0, 30), (5, 0), (25, 90), (31, 90))]
    table = make_table(drawn)
    states = add_all(read_in_time_order(table)[:3])
    user = states.users["a"]
    assert (user.past.last_fraud_us, user.entries_E["time_us"][0]) == (make_event(5).time_us, make_event(0).time_us)
    last = read_in_time_order(table)[3]
    assert differences(FEATURES.compute(last, *states.of(last)), table_features(table)[3]) == []


def test_guard_notices_a_look_at_the_same_instant(monkeypatch):
    assert replay(border_table())[0] == []
    monkeypatch.setattr(
        online, "entries_before", lambda entries, time_us: entries[: entries["time_us"].searchsorted(time_us, "right")]
    )
    assert replay(border_table())[0]


@pytest.mark.parametrize(("shift_us", "early_us"), [(1, 0), (-1, 1)])
def test_guard_notices_a_window_with_another_border(monkeypatch, shift_us, early_us):
    table = border_table(early_us)
    assert replay(table)[0] == []
    starts = online.window_starts
    monkeypatch.setattr(online, "window_starts", lambda time_us, days: starts(time_us, days) + shift_us)
    assert {"user_count_1d", "counterparty_count_1d"} <= set(replay(table)[0])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("zone", ["UTC", "Europe/Paris", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"])
def test_clock_of_an_event_is_that_of_the_table(zone, seed):
    times = np.random.default_rng(seed).integers(0, 25_000 * DAY_US, 200)  # 1970 to 2038
    table = make_ledger(seed, num=200).with_columns(event_time=pl.Series(times).cast(pl.Datetime("us", "UTC")))
    config = ACTIVITY.features.model_copy(update={"time_zone": zone})
    here = OnlineFeatures(config, ATTRIBUTES)
    empty = UserActivity.empty(ActivityConfig(features=config, attributes=("channel",), lateness_days=0))
    rows = np.stack([here.compute(event, empty) for event in read_events(table, ATTRIBUTES)])
    places = [here.names.index(name) for name in CONTEXT]
    assert rows[:, places].tobytes() == compute_features(table, config).select(CONTEXT).to_numpy().tobytes()


def test_counterparty_is_ignored_by_an_event_without_one():
    states = add_all([make_event(0), make_event(1)])
    event = make_event(2, counterparty=None)
    without = FEATURES.compute(event, states.users["a"])
    assert without.tobytes() == FEATURES.compute(event, states.users["a"], states.counterparties["m1"]).tobytes()
    assert without[FEATURES.names.index("is_new_counterparty")] == 0


def test_instant_before_what_was_summed_up_is_refused():
    states = add_all([make_event(0), make_event(30)])
    assert states.users["a"].past.count == 1
    FEATURES.compute(make_event(28), *states.of(make_event(28)))
    with pytest.raises(TooLateError, match=r"2\.00 days older than the newest event of its user.*next run of embed"):
        FEATURES.compute(make_event(27.999), *states.of(make_event(28)))


def test_old_instant_is_described_while_nothing_is_summed_up():
    table = make_table([{**border, "counterparty": None} for border in [
        {"user_id": "a", "amount_cents": 1, "channel": "shop", "label": None, "delay": None, "hours": hours}
        for hours in (0, 24, 150)
    ]])  # fmt: skip
    states = add_all(read_in_time_order(table))
    event = read_in_time_order(table)[1]
    assert differences(FEATURES.compute(event, *states.of(event)), table_features(table)[1]) == []


@pytest.mark.parametrize("change", [{"windows_days": [1, 7, 30]}, {"night_end_hour": 7}, {"novelty": []}])
def test_state_kept_for_other_features_is_refused(change):
    other = OnlineFeatures(ACTIVITY.features.model_copy(update=change), ATTRIBUTES)
    with pytest.raises(ConfigurationError, match=r"kept for another finetuning\.features.*Run embed"):
        other.compute(make_event(1), UserActivity.empty(ACTIVITY))


def test_state_kept_for_other_attributes_is_refused():
    other = replace(ACTIVITY, attributes=("channel", "city"))
    with pytest.raises(ConfigurationError, match="or other attributes"):
        FEATURES.compute(make_event(1), UserActivity.empty(other))


def test_event_without_an_attribute_is_refused():
    with pytest.raises(ConfigurationError, match=r"lacks the attribute 'channel'; it has city"):
        FEATURES.compute(make_event(1, attributes={"city": "x"}), UserActivity.empty(ACTIVITY))


def test_novelty_of_an_unknown_attribute_is_refused():
    with pytest.raises(ConfigurationError, match="novelty names city"):
        OnlineFeatures(ACTIVITY.features.model_copy(update={"novelty": ["city"]}), ATTRIBUTES)


def test_stranger_at_a_new_counterparty_is_finite():
    features = FEATURES.compute(make_event(0), UserActivity.empty(ACTIVITY), CounterpartyActivity.empty(ACTIVITY))
    assert np.isfinite(features).all()
    assert features.tobytes() == FEATURES.compute(make_event(0), UserActivity.empty(ACTIVITY)).tobytes()
