from datetime import UTC, datetime

import numpy as np
import torch

from panther_pipeline.model.calendar import hour_weekday_day
from panther_pipeline.units import to_us


def test_calendar_equals_the_standard_library():
    rng = np.random.default_rng(0)
    first, last = to_us(datetime(1890, 1, 1, tzinfo=UTC)), to_us(datetime(2110, 1, 1, tzinfo=UTC))
    borders = [
        datetime(2024, 2, 29, 23, 59, 59, 999_999),
        datetime(2100, 3, 1),
        datetime(2000, 2, 29),
        datetime(1969, 12, 31),
    ]
    instants_us = [
        *rng.integers(first, last, 2000).tolist(),
        *(to_us(b.replace(tzinfo=UTC)) for b in borders),
    ]
    hour, weekday, day = hour_weekday_day(torch.tensor(instants_us))
    epoch = np.datetime64(0, "us")
    expected = [(epoch + np.timedelta64(us, "us")).item() for us in instants_us]
    assert hour.tolist() == [e.hour for e in expected]
    assert weekday.tolist() == [e.weekday() for e in expected]
    assert day.tolist() == [e.day - 1 for e in expected]
