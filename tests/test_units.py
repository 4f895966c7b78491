"""Microseconds of instants."""

from datetime import UTC, datetime, timedelta, timezone

import polars as pl
import pytest

from panther_pipeline.units import BEFORE_ALL_US, DAY_US, epoch_us, from_us, to_us


def test_a_day_is_a_day():
    assert timedelta(days=1) // timedelta(microseconds=1) == DAY_US


@pytest.mark.parametrize("time_us", [0, 1, -1, 1_709_299_325_000_001])
def test_instant_and_its_microseconds_are_the_same(time_us):
    assert to_us(from_us(time_us)) == time_us


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_naive_and_utc_instants_agree_in_every_unit(unit):
    instant = datetime(2024, 3, 1, 13, 22, 5)
    expected = [int(instant.replace(tzinfo=UTC).timestamp()) * 10**6]
    naive = pl.Series([instant], dtype=pl.Datetime(unit))
    assert epoch_us(naive).tolist() == epoch_us(naive.dt.replace_time_zone("UTC")).tolist() == expected


def test_zones_are_converted():
    local = pl.Series([datetime(2024, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))])
    paris = local.dt.convert_time_zone("Europe/Paris")
    assert epoch_us(paris).tolist() == epoch_us(pl.Series([datetime(2024, 1, 1)])).tolist()


def test_missing_instants_leave_room_for_windows():
    missing = epoch_us(pl.Series([None, datetime(2024, 1, 1)], dtype=pl.Datetime("us", "UTC")))
    assert missing[0] == BEFORE_ALL_US
    assert missing[0] - 36_500 * DAY_US < missing[0] < missing[1]
