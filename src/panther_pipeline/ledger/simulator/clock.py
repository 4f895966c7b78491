"""Time in the simulated world: seconds since the first day, 'active' time, and calendar due instants.

People pay more at noon than at four in the morning. Waiting times are exponential in *active time*,
a fixed increasing function of the clock that gains one unit per day, so the chance of no payment before an
instant stays in closed form.
"""

from datetime import date

import numpy as np

DAY_S = 86_400
HOUR_S = 3_600

# Relative activity of each hour of the day.
_HOURLY_WEIGHTS = np.array(
    [1, 0.4, 0.2, 0.2, 0.3, 1, 3, 7, 9, 7, 7, 8, 11, 10, 7, 7, 8, 11, 12, 10, 8, 6, 4, 2], dtype=float
)
_SHARE = _HOURLY_WEIGHTS / _HOURLY_WEIGHTS.sum()
_KNOTS = np.concatenate([[0.0], np.cumsum(_SHARE)])
_KNOTS[-1] = 1.0
_HOUR_STARTS_S = np.arange(25) * float(HOUR_S)


def to_active(time_s: np.ndarray) -> np.ndarray:
    """Active time (float64, unit: average days) at instants in seconds since the start; +inf stays +inf."""
    finite = np.where(np.isfinite(time_s), time_s, 0.0)
    day = np.floor(finite / DAY_S)
    hours = (finite - day * DAY_S) / HOUR_S
    hour = np.minimum(hours.astype(np.int64), 23)
    active = day + _KNOTS[hour] + _SHARE[hour] * (hours - hour)
    return np.where(np.isfinite(time_s), active, np.inf)


def from_active(active: np.ndarray) -> np.ndarray:
    """Instant in whole seconds (float64) when this much active time has passed; inverse of `to_active`."""
    day = np.floor(active)
    return np.floor(day * DAY_S + np.interp(active - day, _KNOTS, _HOUR_STARTS_S))


def month_starts_s(start: date, num_months: int) -> np.ndarray:
    """Seconds from the first day to the first of each month, beginning with the month of `start` (<= 0)."""
    months = [(start.year + (start.month - 1 + m) // 12, (start.month - 1 + m) % 12 + 1) for m in range(num_months)]
    return np.array([(date(y, m, 1) - start).days * DAY_S for y, m in months], dtype=float)


def first_weekday_s(start: date, weekday: np.ndarray, time_of_day_s: np.ndarray, after_s: np.ndarray) -> np.ndarray:
    """First instant later than `after_s` on the given weekday (0 = Monday) at the given time of day."""
    offset_days = (weekday - start.weekday()) % 7
    first_s = offset_days * DAY_S + time_of_day_s
    weeks = np.maximum(np.floor((after_s - first_s) / (7 * DAY_S)) + 1, 0)
    return first_s + weeks * 7 * DAY_S
