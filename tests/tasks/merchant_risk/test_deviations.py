"""Deviations are in the user's own standard deviations, from nothing but the user's past."""

import runpy
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.tasks.merchant_risk.deviations import measure_deviations


@pytest.fixture(scope="module")
def sequences():
    return runpy.run_path(str(Path(__file__).parents[2] / "fixtures" / "histories.py"))["random_sequences"]()


@pytest.fixture(scope="module")
def events(sequences) -> pl.DataFrame:
    times = pl.Series(sequences.time_us_N, dtype=pl.Int64).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return pl.DataFrame({"event_time": times})


@pytest.fixture(scope="module")
def surprises(sequences) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    num = sequences.num_events
    return pl.DataFrame({"surprise": rng.gamma(2, 2, num), "cosine": rng.uniform(-1, 1, num)}).cast(pl.Float32)


def test_deviations_equal_a_loop_over_each_users_past(sequences, events, surprises):
    found = measure_deviations(events, surprises, sequences, "each_event")
    values = {"surprise_z": surprises["surprise"].to_numpy(), "distance_z": 1 - surprises["cosine"].to_numpy()}
    for name, value_N in values.items():
        expected = []
        for first, last in zip(sequences.offsets_U1[:-1], sequences.offsets_U1[1:], strict=True):
            for ix in range(first, last):
                past = value_N[first:ix]
                expected.append((value_N[ix] - past.mean()) / past.std() if len(past) >= 2 else 0.0)
        np.testing.assert_allclose(found[name], expected, rtol=2e-3, atol=2e-3)


def test_later_surprises_move_no_earlier_deviation(sequences, events, surprises):
    before = measure_deviations(events, surprises, sequences, "each_event")
    row = int(sequences.offsets_U1[1]) - 1  # the last event of the first user
    changed = pl.concat([surprises[:row], surprises[row:].select(pl.all() * 3 + 1).cast(pl.Float32)])
    after = measure_deviations(events, changed, sequences, "each_event")
    assert after[:row].equals(before[:row])
    assert after["surprise_z"][row] != before["surprise_z"][row]


def test_surprises_of_another_ledger_are_refused(sequences, events, surprises):
    moved = events.with_columns(pl.col("event_time") + pl.duration(seconds=1))
    for wrong in ((events, surprises[:-1]), (moved, surprises), (events[:-1], surprises)):
        with pytest.raises(ConfigurationError, match="do not belong to valid_events"):
            measure_deviations(*wrong, sequences, "each_event")
