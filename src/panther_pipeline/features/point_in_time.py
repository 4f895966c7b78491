"""Features of an event from nothing but its own context and what was known strictly before it.

What event i at time t may use (design rule: nothing from the future):
- its own context: amount, hour, weekday, night, weekend;
- events of its user, of its counterparty and of the pair at a *strictly earlier* instant. Two events of one
  user in the same microsecond do not see each other, whatever their event_seq: a decision must not depend on
  a tie-break;
- labels with label_time strictly before t. Fraud risk is cut by label_time, so that [t-w, t) holds what
  became known in it.

A ledger without amounts, counterparties or labels gets the same columns: counts and amounts are 0, "time
since" is -1.

Shape letters: N events.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl

from panther_pipeline.features.config import FeatureConfig
from panther_pipeline.features.windows import GroupedTimes, Timeline, code_groups, join_square, split_square
from panther_pipeline.units import DAY_US, epoch_us

NEVER = -1.0  # "time since" when there is no earlier event


def compute_features(valid_events: pl.DataFrame, config: FeatureConfig) -> pl.DataFrame:
    """Point-in-time features of every event.

    Args:
        valid_events: the ledger (docs/data_contract.md); in any row order.
        config: windows and calendar.

    Returns:
        Row n = row n of `valid_events`: event_id and Float32 columns, never null, never infinite. Log amounts
        are sign(a)·ln(1 + |a|) of major units, "time since" is ln(1 + seconds) or -1, shares lie in [0, 1].
    """
    clock = _Clock.of(valid_events, config)
    cents_N = valid_events["amount_cents"].fill_null(0).to_numpy()
    user_N = code_groups(valid_events["user_id"])
    counterparty_N = code_groups(valid_events["counterparty"])
    fraud_N = valid_events["label"].cast(pl.Int64).fill_null(0).to_numpy()
    columns = _context(valid_events["event_time"], cents_N, config)
    columns |= _user_activity(clock, user_N, cents_N, config.windows_days)
    columns |= _counterparty_activity(clock, user_N, counterparty_N, config.windows_days)
    columns |= _known_risk(clock, "user", user_N, fraud_N, config.risk_windows_days)
    columns |= _known_risk(clock, "counterparty", counterparty_N, fraud_N, config.risk_windows_days)
    series = [pl.Series(name, values.astype(np.float32)) for name, values in columns.items()]
    return pl.DataFrame([valid_events["event_id"], *series])


@dataclass(frozen=True, kw_only=True)
class _Clock:
    """The instants of all events as ranks on one timeline, searched once and used by every group."""

    time_us_N: np.ndarray
    size: int
    now_N: np.ndarray  # rank of the event's own instant t
    before_N: dict[int, np.ndarray]  # days -> rank of t - days
    known_N: np.ndarray  # rank of the instant at which the label became known
    has_label_N: np.ndarray  # bool: there is a label and an instant at which it became known

    @classmethod
    def of(cls, events: pl.DataFrame, config: FeatureConfig) -> Self:
        time_us_N = epoch_us(events["event_time"])
        # A label cannot be known before its event, whatever the source says.
        known_us_N = np.maximum(epoch_us(events["label_time"]), time_us_N)
        timeline = Timeline(time_us_N, known_us_N)
        windows = {*config.windows_days, *config.risk_windows_days}
        return cls(
            time_us_N=time_us_N,
            size=timeline.size,
            now_N=timeline.rank(time_us_N),
            before_N={days: timeline.rank(time_us_N - days * DAY_US) for days in windows},
            known_N=timeline.rank(known_us_N),
            has_label_N=(events["label"].is_not_null() & events["label_time"].is_not_null()).to_numpy(),
        )


def _context(times_N: pl.Series, cents_N: np.ndarray, config: FeatureConfig) -> dict[str, np.ndarray]:
    local_N = times_N.dt.convert_time_zone(config.time_zone)
    hour_N = local_N.dt.hour().to_numpy().astype(np.int64)
    weekday_N = local_N.dt.weekday().to_numpy().astype(np.int64) - 1  # 0 = Monday
    angle_N = 2 * np.pi * (hour_N + local_N.dt.minute().to_numpy() / 60) / 24
    start, end = config.night_start_hour, config.night_end_hour
    after_start_N, before_end_N = hour_N >= start, hour_N < end
    night_N = (after_start_N & before_end_N) if start <= end else (after_start_N | before_end_N)
    return {
        "amount": cents_N / 100,
        "log_amount": _signed_log(cents_N / 100),
        "hour_sin": np.sin(angle_N),
        "hour_cos": np.cos(angle_N),
        "weekday": weekday_N,
        "is_night": night_N,
        "is_weekend": weekday_N >= 5,
    }


def _user_activity(
    clock: _Clock, user_N: np.ndarray, cents_N: np.ndarray, windows_days: list[int]
) -> dict[str, np.ndarray]:
    history = GroupedTimes(user_N, clock.now_N, clock.size)
    end_N = history.first_at_or_after(user_N, clock.now_N)
    sums = [history.prefix_sums(values_N) for values_N in (cents_N, *split_square(cents_N))]
    columns = {"user_log_s_since_last": _log_seconds_since(history.row_before(end_N, user_N), clock.time_us_N)}
    for days in windows_days:
        start_N = history.first_at_or_after(user_N, clock.before_N[days])
        count_N = end_N - start_N
        total_N, high_N, low_N = (prefix[end_N] - prefix[start_N] for prefix in sums)
        mean_N, std_N = _mean_and_std(count_N, total_N, join_square(high_N, low_N))
        seen_N = count_N > 0
        distance_N = cents_N - mean_N
        columns |= {
            f"user_count_{days}d": count_N,
            f"user_log_sum_{days}d": _signed_log(total_N / 100),
            f"user_mean_{days}d": mean_N / 100,
            f"user_std_{days}d": std_N / 100,
            # Log of the ratio of the amount to the user's own mean; 0 = as usual or nothing to compare with.
            f"amount_vs_mean_{days}d": np.where(seen_N, _signed_log(cents_N / 100) - _signed_log(mean_N / 100), 0),
            # One cent keeps the score finite for a user who always pays the same; 20 is far outside.
            f"amount_z_{days}d": np.where(count_N > 1, np.clip(distance_N / (std_N + 1), -20, 20), 0),
        }
    return columns


def _counterparty_activity(
    clock: _Clock, user_N: np.ndarray, counterparty_N: np.ndarray, windows_days: list[int]
) -> dict[str, np.ndarray]:
    has_N = counterparty_N >= 0
    history = GroupedTimes(counterparty_N, clock.now_N, clock.size)
    end_N = history.first_at_or_after(counterparty_N, clock.now_N)
    columns = {}
    for days in windows_days:
        start_N = history.first_at_or_after(counterparty_N, clock.before_N[days])
        columns[f"counterparty_count_{days}d"] = np.where(has_N, end_N - start_N, 0)
    pair_N = _code_pairs(user_N, counterparty_N)
    pairs = GroupedTimes(pair_N, clock.now_N, clock.size)
    last_N = pairs.row_before(pairs.first_at_or_after(pair_N, clock.now_N), pair_N)
    columns["pair_log_s_since_last"] = _log_seconds_since(last_N, clock.time_us_N)
    columns["is_new_counterparty"] = has_N & (last_N < 0)
    # The first event of each pair stands for it; counting the user's pair openings counts counterparties.
    opening_N = np.zeros(len(pair_N), dtype=bool)
    opening_N[_first_rows(pair_N, clock.now_N)] = True
    openings = GroupedTimes(user_N, clock.now_N, clock.size, opening_N)
    begin_N = openings.first_at_or_after(user_N, np.zeros_like(user_N))
    columns["user_num_counterparties"] = openings.first_at_or_after(user_N, clock.now_N) - begin_N
    return columns


def _known_risk(
    clock: _Clock, name: str, group_N: np.ndarray, fraud_N: np.ndarray, windows_days: list[int]
) -> dict[str, np.ndarray]:
    """Known fraud among what became known in [t-w, t): how many, and which share."""
    labels = GroupedTimes(group_N, clock.known_N, clock.size, clock.has_label_N)
    prefix = labels.prefix_sums(fraud_N)
    end_N = labels.first_at_or_after(group_N, clock.now_N)
    columns = {}
    for days in windows_days:
        start_N = labels.first_at_or_after(group_N, clock.before_N[days])
        known_N = np.where(group_N >= 0, end_N - start_N, 0)
        frauds_N = np.where(group_N >= 0, prefix[end_N] - prefix[start_N], 0)
        columns[f"{name}_known_count_{days}d"] = known_N
        columns[f"{name}_known_frauds_{days}d"] = frauds_N
        columns[f"{name}_known_fraud_share_{days}d"] = frauds_N / np.maximum(known_N, 1)
    return columns


def _code_pairs(user_N: np.ndarray, counterparty_N: np.ndarray) -> np.ndarray:
    """Number the (user, counterparty) pairs densely, to leave room for time in one int64; -1 = no pair."""
    pair_N = np.full(len(user_N), -1, dtype=np.int64)
    rows = np.flatnonzero(counterparty_N >= 0)
    keys = user_N[rows] * (counterparty_N.max(initial=0) + 1) + counterparty_N[rows]
    pair_N[rows] = np.unique(keys, return_inverse=True)[1]
    return pair_N


def _first_rows(pair_N: np.ndarray, rank_N: np.ndarray) -> np.ndarray:
    order = np.lexsort((rank_N, pair_N))
    order = order[pair_N[order] >= 0]
    changed = np.diff(pair_N[order], prepend=-1) != 0
    return order[changed]


def _mean_and_std(count_N: np.ndarray, total_N: np.ndarray, squares_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Population mean and standard deviation; 0 where there is no event."""
    divisor_N = np.maximum(count_N, 1)
    mean_N = total_N / divisor_N
    mean_square_N = squares_N / divisor_N
    variance_N = mean_square_N - mean_N**2
    # What is left of two nearly equal float64 numbers is noise: equal amounts have no spread.
    variance_N[variance_N < 1e-12 * mean_square_N] = 0
    return mean_N, np.sqrt(variance_N)


def _signed_log(values: np.ndarray) -> np.ndarray:
    return np.sign(values) * np.log1p(np.abs(values))


def _log_seconds_since(row_N: np.ndarray, time_us_N: np.ndarray) -> np.ndarray:
    seconds_N = (time_us_N - time_us_N[row_N]) / 1e6
    return np.where(row_N >= 0, np.log1p(np.maximum(seconds_N, 0)), NEVER)
