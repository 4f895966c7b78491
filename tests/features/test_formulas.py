"""The formulas say the same of one event as of many, and something finite of any whole numbers."""

import numpy as np
import polars as pl
import pytest

from panther_pipeline.features.formulas import (
    NEVER,
    AmountSums,
    describe_amounts,
    describe_context,
    describe_risk,
    feature_names,
    log_seconds_since,
)
from panther_pipeline.features.point_in_time import categorical_attributes, compute_features
from panther_pipeline.features.squares import clip_cents, split_square
from panther_pipeline.units import BEFORE_ALL_US, HOUR_US

from .conftest import make_ledger

NUM = 1000


def make_sums(seed: int) -> tuple[AmountSums, np.ndarray]:
    """Sums of windows of 0 to 20 random amounts, some beyond what can be squared."""
    rng = np.random.default_rng(seed)
    sums = np.zeros((7, NUM), dtype=np.int64)
    for ix, size in enumerate(rng.integers(0, 21, NUM)):
        cents = (rng.normal(size=size) * 10.0 ** rng.integers(1, 12)).astype(np.int64)
        high, low = split_square(cents)
        values = [size, cents.sum(), cents.max() if size else 0, clip_cents(cents).sum(), high.sum(), low.sum()]
        sums[:, ix] = [*values, min(size, 3)]
    return AmountSums(**dict(zip(AmountSums.__slots__, sums, strict=True))), rng.integers(-(10**6), 10**7, NUM)


def one_of(sums: AmountSums, ix: int) -> AmountSums:
    return AmountSums(**{name: getattr(sums, name)[ix : ix + 1] for name in AmountSums.__slots__})


def test_amounts_of_one_event_are_those_of_many_bit_for_bit():
    sums, cents_N = make_sums(0)
    together = np.stack(describe_amounts(sums, cents_N))
    alone = np.concatenate(
        [np.stack(describe_amounts(one_of(sums, ix), cents_N[ix : ix + 1])) for ix in range(NUM)], axis=1
    )
    assert together.tobytes() == alone.tobytes()
    assert np.isfinite(together).all()


def test_clock_of_one_event_is_that_of_many_bit_for_bit(config):
    minutes = np.arange(24 * 60)
    clock = (minutes * 7 - 5000, minutes // 60, minutes % 60, minutes % 7)
    together = np.stack(describe_context(*clock, config))
    alone = [np.stack(describe_context(*(part[ix : ix + 1] for part in clock), config)) for ix in minutes]
    assert together.tobytes() == np.concatenate(alone, axis=1).tobytes()


@pytest.mark.parametrize(("start", "end", "expected"), [(22, 6, [1, 1, 0, 0, 1]), (1, 6, [0, 1, 0, 0, 0])])
def test_night_may_cross_midnight(config, start, end, expected):
    night = config.model_copy(update={"night_start_hour": start, "night_end_hour": end})
    hours = np.array([0, 5, 6, 21, 22])
    zeros = np.zeros_like(hours)
    assert describe_context(zeros, hours, zeros, zeros, night)[5].astype(int).tolist() == expected


def test_risk_of_nothing_known_is_none():
    zero, never = np.zeros(1, np.int64), np.array([BEFORE_ALL_US])
    assert [float(value[0]) for value in describe_risk(zero, zero, never, zero)] == [0, 0, 0, NEVER]


def test_time_since_is_the_log_of_seconds():
    since = log_seconds_since(np.array([BEFORE_ALL_US, 0]), np.array([HOUR_US, HOUR_US]))
    assert since.tolist() == [NEVER, np.log1p(3600.0)]


def test_names_are_the_columns_in_their_order(config):
    features = compute_features(make_ledger(0), config)
    attributes = categorical_attributes(make_ledger(0).schema)
    assert attributes == ["channel"]
    assert features.columns[1:] == feature_names(config, config.choose_novelty(attributes))
    assert set(features.dtypes[1:]) == {pl.Float32}
