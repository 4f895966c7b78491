"""Calendar of an instant, in integers on the device: no float ever holds an epoch time.

Shape letters: B windows, T events.
"""

import torch
from torch import Tensor

from panther_pipeline.units import DAY_US, HOUR_US


def hour_weekday_day(time_us_BT: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hour (0-23), weekday (Monday = 0) and day of the month (0-30) in UTC.

    Args:
        time_us_BT: int64 microseconds since 1970-01-01 UTC; earlier instants are negative.

    Source: day of the month by the civil-from-days algorithm, H. Hinnant,
        https://howardhinnant.github.io/date_algorithms.html

    Example: 29 February 2024, a Thursday, 12:33 UTC.
        >>> [part.item() for part in hour_weekday_day(torch.tensor(1_709_210_000_000_000))]
        [12, 3, 28]
    """
    days = torch.div(time_us_BT, DAY_US, rounding_mode="floor")
    hour = torch.div(time_us_BT - days * DAY_US, HOUR_US, rounding_mode="floor")
    weekday = (days + 3) % 7  # 1970-01-01 was a Thursday
    shifted = days + 719_468  # days since 0000-03-01
    day_of_era = shifted % 146_097  # eras of 400 years
    year_of_era = (day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)  # from 1 March
    month = (5 * day_of_year + 2) // 153
    return hour, weekday, day_of_year - (153 * month + 2) // 5
