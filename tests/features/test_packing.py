"""The bytes of a state come back as the state, or not at all."""

import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panther_pipeline.errors import ArtifactError
from panther_pipeline.features.activity import CounterpartyActivity, UserActivity
from panther_pipeline.features.online import OnlineFeatures

from .conftest import ACTIVITY, ATTRIBUTES, DRAWN_HISTORY, add_all, make_event, make_table, read_in_time_order

BUILDS_ANEW = r"Run embed to build the online state anew\."


def example_states() -> tuple[UserActivity, CounterpartyActivity]:
    """Of each part something."""
    states = add_all([*(make_event(day, label=1, label_time_us=0) for day in (0, 1)), make_event(20), make_event(21)])
    user, counterparty = states.of(make_event(22))
    assert user.past.count
    assert len(user.entries_E)
    assert len(user.met_K)
    assert len(user.values[0])
    return user, counterparty


@settings(max_examples=100)
@given(drawn=DRAWN_HISTORY)
def test_packed_state_comes_back_as_it_was(drawn):
    events = read_in_time_order(make_table(drawn))
    states = add_all(events)
    later = make_event(41, user_id=events[0].user_id, counterparty=events[0].counterparty)
    features = OnlineFeatures(ACTIVITY.features, ATTRIBUTES)
    for user in states.users.values():
        again = UserActivity.unpack(user.pack(), ACTIVITY)
        assert (again.past, again.pack()) == (user.past, user.pack())
        np.testing.assert_array_equal(again.entries_E, user.entries_E)
        assert features.compute(later, again).tobytes() == features.compute(later, user).tobytes()
        assert again.add(later).pack() == user.add(later).pack()
    for counterparty in states.counterparties.values():
        again = CounterpartyActivity.unpack(counterparty.pack(), ACTIVITY)
        assert (again.past, again.pack()) == (counterparty.past, counterparty.pack())
        assert again.add(later, 0).pack() == counterparty.add(later, 0).pack()


@pytest.mark.parametrize("side", [UserActivity, CounterpartyActivity])
def test_empty_state_comes_back(side):
    packed = side.empty(ACTIVITY).pack()
    assert side.unpack(packed, ACTIVITY).pack() == packed


def test_every_flipped_bit_is_noticed():
    for state in example_states():
        packed = state.pack()
        for ix in range(len(packed)):
            damaged = bytearray(packed)
            damaged[ix] ^= 1 << ix % 8
            with pytest.raises(ArtifactError, match=BUILDS_ANEW):
                type(state).unpack(bytes(damaged), ACTIVITY)


def test_every_truncation_is_noticed():
    for state in example_states():
        packed = state.pack()
        for length in range(len(packed)):
            with pytest.raises(ArtifactError, match=BUILDS_ANEW):
                type(state).unpack(packed[:length], ACTIVITY)
        with pytest.raises(ArtifactError, match=BUILDS_ANEW):
            type(state).unpack(packed + b"\0", ACTIVITY)


@settings(max_examples=200)
@given(data=st.binary(max_size=300))
def test_foreign_bytes_are_refused(data):
    for start in (b"", b"PACT"):
        with pytest.raises(ArtifactError, match=BUILDS_ANEW):
            UserActivity.unpack(start + data, ACTIVITY)


def test_counts_that_ask_for_other_bytes_are_refused_though_the_checksum_holds():
    packed = bytearray(example_states()[0].pack())
    struct.pack_into("<Q", packed, 16, 2**60)  # entries
    body = bytes(packed[:-4])
    with pytest.raises(ArtifactError, match="its own counts ask for"):
        UserActivity.unpack(body + struct.pack("<I", zlib.crc32(body)), ACTIVITY)


def test_other_version_is_refused_by_number():
    packed = bytearray(example_states()[0].pack())
    packed[4] = 9
    with pytest.raises(ArtifactError, match="has version 9; this code reads 1"):
        UserActivity.unpack(bytes(packed), ACTIVITY)


def test_state_of_the_other_side_is_refused():
    user, counterparty = example_states()
    with pytest.raises(ArtifactError, match="is that of a counterparty, not of a user"):
        UserActivity.unpack(counterparty.pack(), ACTIVITY)
    with pytest.raises(ArtifactError, match="is that of a user, not of a counterparty"):
        CounterpartyActivity.unpack(user.pack(), ACTIVITY)


@pytest.mark.parametrize(
    "other",
    [
        replace(ACTIVITY, lateness_days=3),
        replace(ACTIVITY, label_wait_days=90),
        replace(ACTIVITY, attributes=("channel", "city")),
        replace(ACTIVITY, features=ACTIVITY.features.model_copy(update={"windows_days": [1, 30]})),
        replace(ACTIVITY, features=ACTIVITY.features.model_copy(update={"risk_windows_days": [30]})),
    ],
)
def test_state_kept_under_another_configuration_is_refused(other):
    for state in example_states():
        with pytest.raises(ArtifactError, match="kept for other windows, lateness or attributes"):
            type(state).unpack(state.pack(), other)


def test_state_serves_shorter_windows_than_the_longest_it_was_kept_for():
    other = replace(ACTIVITY, features=ACTIVITY.features.model_copy(update={"windows_days": [3, 7]}))
    user = example_states()[0]
    assert UserActivity.unpack(user.pack(), other).config is other
