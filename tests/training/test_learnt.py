"""Until when a backbone knows the world."""

from datetime import timedelta, timezone
from types import SimpleNamespace

import numpy as np
import pytest

from panther_pipeline.ledger.splits import TEST, TRAIN, VALID, parse_instant
from panther_pipeline.training.learnt import as_instant, learnt_until

BY_TIME = SimpleNamespace(content=SimpleNamespace(train_end="2024-01-01"))
BY_ORDER = SimpleNamespace(content=SimpleNamespace(train_end="leave_last_out"))


@pytest.fixture
def sequences(random_sequences):
    return random_sequences()


def newest(sequences, *splits: int) -> str:
    return str(np.datetime64(int(sequences.time_us_N[np.isin(sequences.split_N, splits)].max()), "us"))


def test_fresh_weights_learn_until_the_newest_validation_event(sequences):
    known = learnt_until(sequences, BY_TIME, "")
    assert known == newest(sequences, VALID)
    assert newest(sequences, TRAIN) < known < newest(sequences, TEST)


@pytest.mark.parametrize("initial", ["1999-12-31", "2999-12-31"])
def test_the_later_of_ancestor_and_own_ledger_counts(sequences, initial):
    own = newest(sequences, VALID)
    assert learnt_until(sequences, BY_TIME, initial) == max(own, initial)


def test_instants_of_other_spelling_are_compared_as_instants(sequences):
    own = newest(sequences, VALID)
    a_second_before = parse_instant(own) - timedelta(seconds=1)
    elsewhere = a_second_before.astimezone(timezone(timedelta(hours=14))).isoformat()
    assert elsewhere > own
    assert learnt_until(sequences, BY_TIME, elsewhere) == own


def test_protocol_by_order_bounds_nothing_ever_after(sequences):
    assert learnt_until(sequences, BY_ORDER, "") == "leave_last_out"
    assert learnt_until(sequences, BY_ORDER, "2999-12-31") == "leave_last_out"
    assert learnt_until(sequences, BY_TIME, "leave_last_share") == "leave_last_share"
    assert as_instant("leave_last_share") is None


def test_unknown_ancestor_makes_its_heirs_unknown(sequences):
    assert learnt_until(sequences, BY_TIME, None) is None
    assert learnt_until(sequences, BY_ORDER, None) is None
