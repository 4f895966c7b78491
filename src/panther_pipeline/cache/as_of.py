"""Which state an event meets in the cache, and which events that state has read: functions of positions and instants.

Bulk and online ask the same ones, so they mean the same states.
"""

from typing import Any

import numpy as np

from panther_pipeline.units import DAY_US

REFRESH_US = {"each_event": 0, "hourly": DAY_US // 24, "daily": DAY_US, "weekly": 7 * DAY_US}


def boundary_us(time_us: Any, refresh: str) -> Any:
    """The instant at which the cache was last renewed before an event; int64, scalar or array.

    Returns:
        None where it is renewed at each event.
    """
    refresh_us = REFRESH_US[refresh]
    return time_us // refresh_us * refresh_us if refresh_us else None


def window_start(position: np.ndarray | int, max_events: int) -> np.ndarray | int:
    """First position a state at `position` sees: the start of the block before its own (`cache.states`)."""
    block = max(1, max_events // 2)
    return np.maximum(0, (position // block - 1) * block)
