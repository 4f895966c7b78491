"""The formulas of the features, over arrays: of a whole ledger at once, or of one event.

Whatever gathers what was seen before an event (`point_in_time` for every row of a ledger, `online` from the stored
state of a user and a counterparty) says it in the integers that these functions take, and gets the same numbers.

Shape letters: N rows, or windows of one event; any shape will do.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from panther_pipeline.features.config import EVER, FeatureConfig, name_window
from panther_pipeline.features.squares import clip_cents, join_square
from panther_pipeline.units import BEFORE_ALL_US, SECOND_US

SIDES = ("user", "counterparty")
NEVER = -1.0  # "time since" when there is nothing earlier
_FURTHEST = 20  # standard deviations: beyond it nothing more is said
_ONE_CENT = 0.01  # keeps the score finite for a user who always pays the same
_NOISE = 1e-12  # of a mean square: what is left of two nearly equal float64 numbers says nothing
CONTEXT = ("amount", "log_amount", "hour_sin", "hour_cos", "weekday", "is_night", "is_weekend")
AMOUNTS = ("count", "log_sum", "mean", "std", "max", "amount_vs_mean", "amount_vs_max", "amount_z", "num_others")
RISK = ("known_count", "known_frauds", "known_fraud_share", "log_s_since_first_known_fraud")


@dataclass(frozen=True, kw_only=True, slots=True)
class AmountSums:
    """What was seen in a window, int64 (N,); all 0 where nothing was."""

    count: np.ndarray  # events
    total: np.ndarray  # cents
    largest: np.ndarray  # cents
    clipped: np.ndarray  # sum of `windows.clip_cents`
    high: np.ndarray  # sums of the halves of `windows.split_square`
    low: np.ndarray
    distinct: np.ndarray  # of those on the other side


def feature_names(config: FeatureConfig, novelty: Sequence[str]) -> list[str]:
    """The features in their order, as columns of a table or elements of a vector.

    Args:
        config: windows.
        novelty: the attributes of which a first value is a feature (`config.choose_novelty`).
    """
    names = list(CONTEXT)
    for side in SIDES:
        names.append(f"{side}_log_s_since_last")
        names += [f"{side}_{what}_{name_window(days)}" for days in [*config.windows_days, EVER] for what in AMOUNTS]
        names.append(f"{side}_log_s_since_known_fraud")
        names += [f"{side}_{what}_{days}d" for days in config.risk_windows_days for what in RISK]
    return [*names, "is_new_counterparty", "pair_log_s_since_last", *(f"is_new_{name}" for name in novelty)]


def describe_context(
    cents_N: np.ndarray | np.int64,
    hour_N: np.ndarray | int,
    minute_N: np.ndarray | int,
    weekday_N: np.ndarray | int,
    config: FeatureConfig,
) -> list[np.ndarray]:
    """The event by itself; numbers are as good as arrays.

    Args:
        cents_N: its amount, int64.
        hour_N: 0 to 23, in the configured zone.
        minute_N: 0 to 59.
        weekday_N: 0 = Monday.
        config: when the night is.

    Returns:
        amount, log_amount, hour_sin, hour_cos, weekday, is_night, is_weekend.
    """
    amount_N = cents_N / 100
    angle_N = 2 * np.pi * (hour_N + minute_N / 60) / 24
    after_start_N, before_end_N = hour_N >= config.night_start_hour, hour_N < config.night_end_hour
    crosses_midnight = config.night_start_hour > config.night_end_hour
    is_night_N = (after_start_N | before_end_N) if crosses_midnight else (after_start_N & before_end_N)
    clock = [np.sin(angle_N), np.cos(angle_N), weekday_N, is_night_N, weekday_N >= 5]
    return [amount_N, signed_log(amount_N), *clock]


def describe_amounts(sums: AmountSums, cents_N: np.ndarray) -> list[np.ndarray]:
    """The features of a window, from its sums and the amount of the event itself.

    Args:
        sums: what was seen.
        cents_N: int64 amount of the event.

    Returns:
        count, log_sum, mean, std, max, amount_vs_mean, amount_vs_max, amount_z, num_others: money in major units, 0
        where nothing was seen; amount_z 0 where fewer than two events were.
    """
    any_seen_N, some_seen_N = sums.count > 0, sums.count > 1
    count_N = np.maximum(sums.count, 1)
    mean_N, largest_N = sums.total / count_N / 100, sums.largest / 100
    # Spread is that of amounts up to 21 million: of larger ones the squares cannot be summed exactly.
    clipped_mean_N = sums.clipped / count_N / 100
    mean_square_N = join_square(sums.high, sums.low) / count_N / 100**2
    variance_N = mean_square_N - clipped_mean_N**2
    std_N = np.sqrt(np.where(variance_N < _NOISE * mean_square_N, 0.0, variance_N))
    z_N = (clip_cents(cents_N) / 100 - clipped_mean_N) / (std_N + _ONE_CENT)
    z_N = np.minimum(np.maximum(z_N, -_FURTHEST), _FURTHEST)
    # Logs of ratios: 0 = as usual, or nothing to compare with.
    log_amount_N = signed_log(cents_N / 100)
    versus_mean_N = np.where(any_seen_N, log_amount_N - signed_log(mean_N), 0.0)
    versus_largest_N = np.where(any_seen_N, log_amount_N - signed_log(largest_N), 0.0)
    usual = [sums.count, signed_log(sums.total / 100), mean_N, std_N, largest_N]
    return [*usual, versus_mean_N, versus_largest_N, np.where(some_seen_N, z_N, 0.0), sums.distinct]


def describe_risk(
    known_N: np.ndarray, frauds_N: np.ndarray, first_us_N: np.ndarray, time_us_N: np.ndarray
) -> list[np.ndarray]:
    """The features of what became known in a window.

    Args:
        known_N: how many labels.
        frauds_N: how many of them were fraud.
        first_us_N: the earliest of those payments; BEFORE_ALL_US where there was none.
        time_us_N: when the event is.

    Returns:
        known_count, known_frauds, known_fraud_share, log_s_since_first_known_fraud.
    """
    share_N = frauds_N / np.maximum(known_N, 1)
    return [known_N, frauds_N, share_N, log_seconds_since(first_us_N, time_us_N)]


def log_seconds_since(earlier_us_N: np.ndarray, time_us_N: np.ndarray) -> np.ndarray:
    """ln(1 + seconds), or NEVER where the earlier instant is BEFORE_ALL_US."""
    return np.where(earlier_us_N == BEFORE_ALL_US, NEVER, np.log1p((time_us_N - earlier_us_N) / SECOND_US))


def signed_log(value_N: np.ndarray) -> np.ndarray:
    """sign(x)·ln(1 + |x|)."""
    return np.sign(value_N) * np.log1p(np.abs(value_N))
