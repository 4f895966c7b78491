"""Features of an event from nothing but its own context and what was known strictly before it.

What event i at time t may use (design rule: nothing from the future):
- its own context: amount, hour, weekday, night, weekend;
- events of its user, of its counterparty and of the pair at a *strictly earlier* instant. Two events of one
  user in the same microsecond do not see each other, whatever their event_seq: a decision must not depend on
  a tie-break;
- labels with label_time strictly before t. Fraud risk is cut by label_time, so that [t-w, t) holds what
  became known in it.

So the features of an event are the same whether the table holds the whole ledger or only the past of its user and of
its counterparty: what is computed for millions of rows at once is what is computed for one.

A ledger without amounts, counterparties or labels gets the same columns: counts and amounts are 0, "time
since" is -1.

Shape letters: N events.
"""

import numpy as np
import polars as pl

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.features.config import FeatureConfig
from panther_pipeline.features.windows import (
    EVER,
    Windows,
    clip_cents,
    code_groups,
    join_square,
    name_window,
    split_square,
)
from panther_pipeline.units import epoch_us

NEVER = -1.0  # "time since" when there is nothing earlier
_FURTHEST = 20  # standard deviations: beyond it nothing more is said
_NO_ATTRIBUTES = {"user_id", "event_id", "counterparty"}  # texts, but not what was bought


def compute_features(valid_events: pl.DataFrame, config: FeatureConfig) -> pl.DataFrame:
    """Point-in-time features of every event.

    Args:
        valid_events: the ledger (docs/data_contract.md); in any row order.
        config: windows and calendar.

    Returns:
        Row n = row n of `valid_events`: event_id and Float32 columns, never null, never infinite. Log amounts
        are sign(a)·ln(1 + |a|) of major units, "time since" is ln(1 + seconds) or -1, shares lie in [0, 1].

    Raises:
        ConfigurationError: `novelty` names a column that is no categorical attribute; names those that are.
    """
    cents_N = valid_events["amount_cents"].fill_null(0)
    time_N = pl.Series(epoch_us(valid_events["event_time"]))
    users_N, counterparties_N = code_groups(valid_events["user_id"]), code_groups(valid_events["counterparty"])
    sides = {"user": (users_N, counterparties_N), "counterparty": (counterparties_N, users_N)}
    parts = [_context(valid_events["event_time"], cents_N, config)]
    for name, (group_N, others_N) in sides.items():
        parts.append(_activity(name, group_N, others_N, time_N, cents_N, config.windows_days))
        parts.append(_known_risk(name, group_N, time_N, valid_events, config.risk_windows_days))
    parts.append(_novelty(valid_events, time_N, config.novelty))
    columns = [column.cast(pl.Float32) for part in parts for column in part]
    return pl.DataFrame([valid_events["event_id"], *columns])


def _context(times_N: pl.Series, cents_N: pl.Series, config: FeatureConfig) -> pl.DataFrame:
    local_N = times_N.dt.convert_time_zone(config.time_zone)
    hour_N, weekday_N = local_N.dt.hour(), local_N.dt.weekday() - 1  # 0 = Monday
    angle = 2 * np.pi * (pl.col("hour") + pl.col("minute") / 60) / 24
    start, end = config.night_start_hour, config.night_end_hour
    after_start, before_end = pl.col("hour") >= start, pl.col("hour") < end
    table = pl.DataFrame({"cents": cents_N, "hour": hour_N, "minute": local_N.dt.minute(), "weekday": weekday_N})
    return table.select(
        amount=pl.col("cents") / 100,
        log_amount=_signed_log(pl.col("cents") / 100),
        hour_sin=angle.sin(),
        hour_cos=angle.cos(),
        weekday=pl.col("weekday"),
        is_night=(after_start & before_end) if start <= end else (after_start | before_end),
        is_weekend=pl.col("weekday") >= 5,
    )


def _activity(
    name: str,
    group_N: pl.Series,
    others_N: pl.Series,
    time_N: pl.Series,
    cents_N: pl.Series,
    windows_days: list[int],
) -> pl.DataFrame:
    """What the user, or the counterparty, did before: how often, how much, with how many on the other side."""
    high_N, low_N = split_square(cents_N)
    facts = {"group": group_N, "time": time_N, "other": others_N, "cents": cents_N}
    facts |= {"clipped": clip_cents(cents_N), "high": high_N, "low": low_N}
    windows = Windows(pl.DataFrame(facts))
    sums = {
        "count": pl.len(),
        "total": pl.col("cents").sum(),
        "largest": pl.col("cents").max(),
        "clipped": pl.col("clipped").sum(),
        "high": pl.col("high").sum(),
        "low": pl.col("low").sum(),
    }
    own = {"amount": cents_N / 100, "clipped_amount": clip_cents(cents_N) / 100}
    last_N = windows.look_back(EVER, last=pl.col("time").max()).to_series()
    columns = [_log_seconds_since(last_N, time_N).alias(f"{name}_log_s_since_last")]
    for days in [*windows_days, EVER]:
        seen = windows.look_back(days, **sums).with_columns(distinct=windows.count_distinct(days, "other"), **own)
        columns.extend(seen.select(_describe_amounts(name, name_window(days))))
    return pl.DataFrame(columns)


def _describe_amounts(name: str, window: str) -> list[pl.Expr]:
    """The features of one window, from its sums and the amount of the event itself."""
    count, amount = pl.col("count").fill_null(0), pl.col("amount")
    any_seen, some_seen = count > 0, count > 1
    mean = pl.col("total") / count / 100
    # Spread is that of amounts up to 21 million: of larger ones the squares cannot be summed exactly.
    clipped_mean = pl.col("clipped") / count / 100
    mean_square = join_square(pl.col("high"), pl.col("low")) / count / 100**2
    variance = mean_square - clipped_mean**2
    # What is left of two nearly equal float64 numbers is noise: equal amounts have no spread.
    std = pl.when(variance < 1e-12 * mean_square).then(0.0).otherwise(variance).sqrt()
    largest = pl.col("largest") / 100
    # One cent keeps the score finite for a user who always pays the same.
    z = ((pl.col("clipped_amount") - clipped_mean) / (std + 0.01)).clip(-_FURTHEST, _FURTHEST)
    features = {
        "count": count,
        "log_sum": _signed_log(pl.col("total") / 100),
        "mean": mean,
        "std": std,
        "max": largest,
        # Logs of ratios: 0 = as usual, or nothing to compare with.
        "amount_vs_mean": _signed_log(amount) - _signed_log(mean),
        "amount_vs_max": _signed_log(amount) - _signed_log(largest),
    }
    described = {feature: pl.when(any_seen).then(value).otherwise(0) for feature, value in features.items()}
    described["amount_z"] = pl.when(some_seen).then(z).otherwise(0)
    described["num_others"] = pl.col("distinct").fill_null(0)
    return [value.alias(f"{name}_{feature}_{window}") for feature, value in described.items()]


def _known_risk(
    name: str, group_N: pl.Series, time_N: pl.Series, events: pl.DataFrame, windows_days: list[int]
) -> pl.DataFrame:
    """Known fraud among what became known in [t-w, t): how many, which share, and when the payments were."""
    # A label cannot be known before its event, whatever the source says.
    known_N = pl.Series(np.maximum(epoch_us(events["label_time"]), epoch_us(events["event_time"])))
    label_N = events["label"].cast(pl.Int64)
    fraud_time_N = pl.select(pl.when(label_N == 1).then(time_N)).to_series()
    facts = pl.DataFrame({"group": group_N, "time": known_N, "fraud": label_N, "fraud_time": fraud_time_N})
    is_known_N = events["label"].is_not_null() & events["label_time"].is_not_null()
    windows = Windows(facts.filter(is_known_N), pl.DataFrame({"group": group_N, "time": time_N}))
    last_N = windows.look_back(EVER, last=pl.col("fraud_time").max()).to_series()
    columns = [_log_seconds_since(last_N, time_N).alias(f"{name}_log_s_since_known_fraud")]
    for days in windows_days:
        seen = windows.look_back(
            days, known=pl.col("fraud").count(), frauds=pl.col("fraud").sum(), first=pl.col("fraud_time").min()
        )
        share = (pl.col("frauds") / pl.col("known")).fill_nan(0)
        counts = {"known_count": pl.col("known"), "known_frauds": pl.col("frauds"), "known_fraud_share": share}
        columns.extend(
            seen.select(value.fill_null(0).alias(f"{name}_{what}_{days}d") for what, value in counts.items())
        )
        since_N = _log_seconds_since(seen["first"], time_N)
        columns.append(since_N.alias(f"{name}_log_s_since_first_known_fraud_{days}d"))
    return pl.DataFrame(columns)


def _novelty(events: pl.DataFrame, time_N: pl.Series, names: list[str] | None) -> pl.DataFrame:
    """How long ago the user last met this counterparty, and whether this value of an attribute is their first."""
    texts = [name for name, kind in events.schema.items() if kind == pl.String and name not in _NO_ATTRIBUTES]
    unknown = sorted(set(names or []) - set(texts))
    if unknown:
        raise ConfigurationError(
            f"finetuning.features.novelty names {', '.join(unknown)}: no categorical attribute of this ledger. "
            f"It has {', '.join(texts) or 'none'}; null takes them all."
        )
    columns = []
    for name in ["counterparty", *(texts if names is None else names)]:
        pair_N = code_groups(events["user_id"], events[name])
        windows = Windows(pl.DataFrame({"group": pair_N, "time": time_N}))
        last_N = windows.look_back(EVER, last=pl.col("time").max()).to_series()
        columns.append((last_N.is_null() & pair_N.is_not_null()).alias(f"is_new_{name}"))
        if name == "counterparty":
            columns.append(_log_seconds_since(last_N, time_N).alias("pair_log_s_since_last"))
    return pl.DataFrame(columns)


def _signed_log(value: pl.Expr) -> pl.Expr:
    return value.sign() * value.abs().log1p()


def _log_seconds_since(earlier_N: pl.Series, time_N: pl.Series) -> pl.Series:
    return ((time_N - earlier_N) / 1e6).log1p().fill_null(NEVER)
