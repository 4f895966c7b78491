"""As-of instants lie on one grid and use no label before it was known."""

import numpy as np
import pytest

from panther_pipeline.ledger.splits import parse_instant
from panther_pipeline.tasks.merchant_risk.grid import KnownLabels, place_instants
from panther_pipeline.units import DAY_US, to_us

START_US = to_us(parse_instant("2024-01-01"))
TEST_US = to_us(parse_instant("2024-03-05"))
TIMES_US = START_US + np.arange(90 * 24) * (DAY_US // 24)  # an event an hour, the last at 2024-03-30 23:00


def labels(delay_days: float) -> KnownLabels:
    return KnownLabels(time_us_L=TIMES_US, known_us_L=TIMES_US + int(delay_days * DAY_US))


def instants(parts: dict[int, str], part: str) -> list[int]:
    return [t for t, name in parts.items() if name == part]


def test_all_instants_lie_on_one_ascending_grid(config, splits):
    placed = list(place_instants(TIMES_US, labels(3), config, splits))
    assert placed == sorted(placed)
    assert {(t - TEST_US) % (config.every_days * DAY_US) for t in placed} == {0}


def test_test_horizons_fill_the_test_window_and_end_in_it(config, splits):
    test = instants(place_instants(TIMES_US, labels(3), config, splits), "test")
    assert test[0] == TEST_US
    horizon_us = config.horizon_days * DAY_US
    assert test[-1] + horizon_us <= TIMES_US[-1] < test[-1] + config.every_days * DAY_US + horizon_us
    beyond = splits.model_copy(update={"test_end": "2025-01-01"})
    assert instants(place_instants(TIMES_US, labels(3), config, beyond), "test") == test
    ending = splits.model_copy(update={"test_end": "2024-03-09"})
    assert instants(place_instants(TIMES_US, labels(3), config, ending), "test") == [TEST_US]


@pytest.mark.parametrize("delay_days", [0, 3, 10])
def test_labels_of_each_part_are_known_before_the_next_begins(config, splits, delay_days):
    parts = place_instants(TIMES_US, labels(delay_days), config, splits)
    for part, following in (("fit", "calibration"), ("calibration", "test")):
        last_event_us = TIMES_US[np.searchsorted(TIMES_US, max(instants(parts, part)) + 4 * DAY_US) - 1]
        assert last_event_us + delay_days * DAY_US < min(instants(parts, following))


def test_no_instant_is_left_out_that_could_be_fitted_on(config, splits):
    parts = place_instants(TIMES_US, labels(3), config, splits)
    # A horizon of 4 days and a delay of 3: the next instant of the grid would need a label that is not known yet.
    for part, following in (("fit", "calibration"), ("calibration", "test")):
        gap_days = (min(instants(parts, following)) - max(instants(parts, part))) / DAY_US
        assert gap_days == config.every_days * 2
    assert min(instants(parts, "fit")) - START_US < (config.longest_days + config.every_days) * DAY_US


def test_longest_window_lies_in_the_ledger(config, splits):
    parts = place_instants(TIMES_US, labels(3), config, splits)
    assert min(parts) - config.longest_days * DAY_US >= START_US


def test_fit_start_leaves_older_instants_out(config, splits):
    later = config.model_copy(update={"fit_start": "2024-02-01"})
    parts = place_instants(TIMES_US, labels(3), later, splits)
    assert min(parts) >= to_us(parse_instant("2024-02-01"))
    assert instants(parts, "fit")


def test_window_longer_than_the_history_is_warned_about(config, splits, caplog):
    assert place_instants(TIMES_US, labels(3), config.model_copy(update={"windows_days": [80]}), splits) == {}
    assert "window of 80 days" in caplog.text
    assert "Shorten finetuning.merchant_risk.rows.windows_days" in caplog.text


def test_horizon_longer_than_the_test_is_warned_about(config, splits, caplog):
    assert place_instants(TIMES_US, labels(3), config.model_copy(update={"horizon_days": 40}), splits) == {}
    assert "no horizon of 40 days fits into the test window" in caplog.text


def test_labels_that_come_after_the_test_begins_leave_nothing_to_fit(config, splits, caplog):
    assert place_instants(TIMES_US, labels(300), config, splits) == {}
    assert "labels known in time" in caplog.text


def test_horizons_of_earlier_instants_end_before_the_embargo(config, splits):
    parts = place_instants(TIMES_US, labels(0), config, splits.model_copy(update={"embargo_days": 6.0}))
    earlier = [t for t, part in parts.items() if part != "test"]
    assert min(instants(parts, "test")) == TEST_US + 6 * DAY_US
    assert TEST_US - 2 * config.horizon_days * DAY_US < max(earlier) + config.horizon_days * DAY_US <= TEST_US
