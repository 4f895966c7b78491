"""Instants and durations as int64 microseconds, the one unit of time of the library."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import polars as pl

SECOND_US = 1_000_000
HOUR_US = 3_600 * SECOND_US
DAY_US = 24 * HOUR_US
BEFORE_ALL_US = -(2**62)  # stands for a missing instant; far enough from the int64 limit to subtract windows


def to_us(instant: datetime) -> int:
    """Microseconds since 1970-01-01 UTC, exact."""
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def from_us(time_us: int) -> datetime:
    """The instant, in UTC, that `to_us` counts."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_us)


def epoch_us(times_N: "pl.Series") -> np.ndarray:
    """Microseconds since 1970-01-01 UTC.

    Args:
        times_N: datetimes; naive ones are taken as UTC.

    Returns:
        int64 (N,); a null is BEFORE_ALL_US.

    Example:
        >>> import polars as pl
        >>> from datetime import datetime
        >>> epoch_us(pl.Series([datetime(1970, 1, 2)])).tolist()
        [86400000000]
    """
    import polars as pl  # here, since what serves has no tables and need not wait for it

    return times_N.cast(pl.Datetime("us", "UTC")).dt.epoch("us").fill_null(BEFORE_ALL_US).to_numpy()
