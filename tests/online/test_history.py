"""A user's record: events in order however they arrive, sums that lose nothing, bytes that come back as they were."""

from contextlib import suppress
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from panther_pipeline.cache.surprises import to_fixed_point
from panther_pipeline.errors import ArtifactError
from panther_pipeline.ledger.ordering import tie_order
from panther_pipeline.online.history import CachedForecast, UserHistory, id_order

EVENT = st.tuples(st.integers(0, 3), st.sampled_from(["1", "2", "10", "02", "x", "9", "1.5", "1e3", "-4", "é"]))


def put(history: UserHistory, time_us: int, event_id: str) -> UserHistory:
    place = history.place(time_us, event_id)
    return history.insert(place, time_us=time_us, token_id=len(event_id), attribute_ids=[1, time_us], event_id=event_id)


def fill(events, history: UserHistory | None = None) -> UserHistory:
    history = history or UserHistory.empty(np.array([1, 2]), 2)
    for time_us, event_id in events:
        history = put(history, time_us, event_id)
    return history


def measured(history: UserHistory) -> UserHistory:
    surprise_R = np.linspace(0.1, 9.3, history.num_kept).astype(np.float32)
    forecast = CachedForecast(
        position=history.num_events - 1,
        embedding_D=np.arange(4, dtype=np.float32),
        expected_D=np.arange(4, dtype=np.float32) / 3,
        log_normaliser=1.5,
        likeliest=np.array([4, 2], np.int32),
        probs_K=np.array([0.5, 0.25], np.float32),
    )
    return replace(history, surprise_R=surprise_R, forecast=forecast)


@given(
    st.lists(EVENT, unique=True, max_size=8).flatmap(lambda events: st.tuples(st.just(events), st.permutations(events)))
)
def test_history_is_the_same_whatever_the_order_of_arrival(orders):
    events, shuffled = orders
    assert fill(events).pack() == fill(shuffled).pack()


@given(st.lists(st.one_of(EVENT.map(lambda e: e[1]), st.from_regex(r"[0-9+. e-]{1,6}", fullmatch=True)), unique=True))
def test_ids_are_ordered_as_the_ledger_orders_them(ids):

    table = pl.DataFrame({"id": ids}, schema={"id": pl.String})
    assert sorted(ids, key=id_order) == table.sort(*tie_order(["id"]), nulls_last=True)["id"].to_list()


def test_new_event_unmeasures_itself_and_what_follows():
    history = measured(fill([(0, "a"), (2, "b"), (4, "c")]))
    assert put(history, 3, "x").unmeasured.tolist() == [2, 3]
    assert put(history, 5, "x").unmeasured.tolist() == [3]


def test_late_event_takes_the_forecast_with_it_and_a_new_one_does_not():
    history = measured(fill([(0, "a"), (2, "b"), (4, "c")]))
    assert put(history, 3, "x").forecast is None
    assert put(history, 5, "x").forecast is history.forecast, "still the state its surprise is measured from"


def test_forgotten_events_stay_in_the_sums():
    history = measured(fill([(i, str(i)) for i in range(6)]))
    whole = history.past_surprises(6)
    shorter = history.forget(4)
    assert (shorter.num_kept, shorter.num_older, shorter.num_events) == (2, 4, 6)
    assert shorter.past_surprises(2) == whole
    assert shorter.past_surprises(0) == (
        4,
        *(int(f(to_fixed_point(history.surprise_R[:4]))) for f in (sum, lambda x: sum(x * x))),
    )
    assert history.forget(0) is history


@pytest.mark.parametrize("likeliest", [np.array([4, 2], np.int32), np.array([[4, 1], [2, 9]], np.int32), None])
def test_record_round_trips(likeliest):
    history = measured(fill([(0, "a"), (2, "bé"), (4, "c" * 300)])).forget(1)
    forecast = None if likeliest is None else replace(history.forecast, likeliest=likeliest)
    history = replace(history, forecast=forecast)
    packed = history.pack()
    again = UserHistory.unpack(packed)
    assert again.pack() == packed
    assert list(again.event_ids) == ["bé", "c" * 300]
    assert again.past_surprises(2) == history.past_surprises(2)
    if likeliest is not None:
        np.testing.assert_array_equal(again.forecast.likeliest, likeliest)
        assert again.forecast.position == 2
    else:
        assert again.forecast is None


@given(st.integers(0, 10**6), st.integers(0, 255))
def test_damaged_record_is_refused_or_read_but_never_crashes(position, value):
    packed = bytearray(measured(fill([(0, "a"), (2, "b")])).pack())
    packed[position % len(packed)] = value
    with suppress(ArtifactError):
        UserHistory.unpack(bytes(packed))


@pytest.mark.parametrize("length", [0, 3, 40, -1])
def test_short_record_is_refused(length):
    packed = measured(fill([(0, "a"), (2, "b")])).pack()
    with pytest.raises(ArtifactError, match="cannot be read"):
        UserHistory.unpack(packed[:length])


@pytest.mark.parametrize("largest", [0, 255, 256, 65_535, 65_536, 2**31 - 1])
def test_ids_of_any_size_come_back(largest):
    history = fill([(1, "a"), (2, "b" * 300), (3, "c")])
    ids_RF = np.array([[0, 1], [2, largest], [3, 4]], np.int32)
    history = replace(history, token_ids_R=np.array([largest, 0, 7], np.int32), attribute_ids_RF=ids_RF)
    back = UserHistory.unpack(history.pack())
    assert back.token_ids_R.tolist() == [largest, 0, 7]
    assert back.attribute_ids_RF.tolist() == ids_RF.tolist()
    assert (back.token_ids_R.dtype, back.attribute_ids_RF.dtype) == (np.int32, np.int32)
    assert list(back.event_ids) == ["a", "b" * 300, "c"]


def test_small_ids_take_one_byte():
    small = fill([(t, str(t)) for t in range(100)])
    large = replace(small, attribute_ids_RF=small.attribute_ids_RF + 70_000)
    assert len(large.pack()) - len(small.pack()) == 3 * small.attribute_ids_RF.size
