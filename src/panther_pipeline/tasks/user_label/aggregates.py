"""What an analyst would tabulate of a user before deciding: how often, how much, with whom, since when.

For a label as of t only events strictly before t are read; a window of w days is [t - w, t). A window that is longer
than the history holds what there is: `tenure_days` says how much that can be. No label takes part in anything here, not
even in the choice of the values that get a column of their own: those are the most frequent in the events that precede
the dates of the labels to be fitted on. By folds these are all labels, so that the choice alone may know of events of
other users after t; by time they are those before the border.

Amounts are sign(a)·ln(1 + |a|) of major units, since they span orders of magnitude. Mean and spread are those of sizes:
the mean of what came in and went out lies near 0, where such a scale tears small gains and small losses apart.
"""

import logging

import polars as pl
from pydantic import Field, model_validator

from panther_pipeline.config import Config
from panther_pipeline.features.config import EVER, name_window
from panther_pipeline.ledger.schema import ROLE_COLUMNS
from panther_pipeline.ledger.splits import Instant, parse_instant
from panther_pipeline.tasks.user_label.values import categories, frequent_values, numbers
from panther_pipeline.units import DAY_US

logger = logging.getLogger(__name__)

LABEL_COLUMNS = ["user_id", "as_of", "label"]
_LABEL = "label_ix"  # number of a label, while its events are gathered


class HistoryConfig(Config):
    """How a history is summed up."""

    windows_days: list[int] = Field(min_length=1)  # beside them always: everything before
    max_values: int = Field(gt=0)  # of a category that get a column, the most frequent ones
    use_profiles: bool  # static attributes of the user are features too

    @model_validator(mode="after")
    def _check(self) -> "HistoryConfig":
        days = self.windows_days
        if days != sorted(set(days)) or days[0] < 1:
            raise ValueError(f"windows_days must be whole days >= 1, ascending, each once; got {days}")
        return self


def aggregate_histories(
    valid_events: pl.LazyFrame,
    user_labels: pl.DataFrame,
    profiles: pl.DataFrame,
    config: HistoryConfig,
    fit_before: Instant | None = None,
) -> pl.DataFrame:
    """Features of every label of a user whom the ledger knows.

    Args:
        valid_events: the ledger; of users without labels nothing is read.
        user_labels: user_id, as_of, label.
        profiles: user_id and static attributes; may lack users, and may be empty.
        config: windows and columns.
        fit_before: labels as of an earlier instant say which values get a column; None = all labels do.

    Returns:
        One row per label, sorted by (user_id, as_of): user_id, as_of, label, then float32 features. Counts and sums of
        nothing are 0; means, extremes and times of nothing are null. A user without events before `as_of` has
        has_history 0. Labels of users whom the ledger does not know are left out, with a warning.
    """
    events = valid_events.join(user_labels.lazy().select("user_id").unique(), on="user_id", how="semi").collect()
    labels = _keep_known_users(user_labels, events).sort("user_id", "as_of").with_row_index(_LABEL)
    past = (
        labels.select(_LABEL, "user_id", "as_of")
        .join(events, on="user_id")
        .filter(pl.col("event_time") < pl.col("as_of"))
        .sort(_LABEL, "event_seq")
    )
    fitted = past if fit_before is None else past.filter(pl.col("as_of") < parse_instant(fit_before))
    aggregates = past.group_by(_LABEL).agg(_describe_history(fitted, config))
    features = labels.select(_LABEL).join(aggregates, on=_LABEL, how="left", maintain_order="left").drop(_LABEL)
    always_known = [n for n in features.columns if n.startswith(("has_", "num_", "log_sum_", "trend_"))]
    parts = [labels.select(LABEL_COLUMNS), features.with_columns(pl.col(always_known).fill_null(0)).cast(pl.Float32)]
    if config.use_profiles:
        parts.append(_describe_profiles(labels["user_id"], profiles, config))
    return pl.concat(parts, how="horizontal")


def _keep_known_users(user_labels: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    known = user_labels.join(events.select("user_id").unique(), on="user_id", how="semi")
    strangers = user_labels.height - known.height
    if strangers:
        logger.warning(
            "%d of %d user labels belong to users without any event in this ledger and are left out.",
            strangers, user_labels.height,
        )  # fmt: skip
    return known


def _describe_history(fitted: pl.DataFrame, config: HistoryConfig) -> list[pl.Expr]:
    """All aggregates of one label's events, which stand in order; the values are those frequent in `fitted`."""
    age_us = (pl.col("as_of") - pl.col("event_time")).dt.total_microseconds()
    cents = pl.col("amount_cents").fill_null(0)
    aggregates = [
        pl.lit(1).alias("has_history"),
        (age_us.max() / DAY_US).alias("tenure_days"),
        (age_us.min() / DAY_US).alias("days_since_last"),
        # Of an account seen from its start these are its balance, and the lowest it ever was.
        _log_amount(cents.sum()).alias("log_sum_net"),
        _log_amount(cents.cum_sum().min()).alias("log_lowest_net"),
    ]
    for days in [*config.windows_days, EVER]:
        inside = age_us > 0 if days is EVER else age_us <= days * DAY_US
        aggregates += _describe_window(cents, inside, name_window(days))
    for days in config.windows_days:
        recent, before = age_us <= days * DAY_US, (age_us > days * DAY_US) & (age_us <= 2 * days * DAY_US)
        aggregates += _describe_trend(cents, recent, before, name_window(days))
    for name in categories(fitted, {*ROLE_COLUMNS}):
        values = frequent_values(fitted[name], config.max_values)
        aggregates += [(pl.col(name) == value).mean().alias(f"share_{name}={value}") for value in values]
    for name in numbers(fitted, {*ROLE_COLUMNS}):
        value = pl.col(name)
        described = {
            "mean": value.mean(),
            "std": value.std(ddof=0),
            "min": value.min(),
            "last": value.drop_nulls().last(),
        }
        aggregates += [statistic.alias(f"number_{name}_{what}") for what, statistic in described.items()]
    return aggregates


def _describe_window(cents: pl.Expr, inside: pl.Expr, window: str) -> list[pl.Expr]:
    seen = cents.filter(inside)
    money_in, money_out = seen.clip(lower_bound=0).sum(), -seen.clip(upper_bound=0).sum()
    described = {
        "num_events": inside.sum(),
        "num_counterparties": pl.col("counterparty").filter(inside).drop_nulls().n_unique(),
        "log_sum_in": _log_amount(money_in),
        "log_sum_out": _log_amount(money_out),
        "net_share": ((money_in - money_out) / (money_in + money_out)).fill_nan(None),  # -1: all went out
        "log_mean_size": _log_amount(seen.abs().mean()),
        "log_std_size": _log_amount(seen.abs().std(ddof=0)),
        "log_min": _log_amount(seen.min()),
        "log_max": _log_amount(seen.max()),
    }
    return [aggregate.alias(f"{name}_{window}") for name, aggregate in described.items()]


def _describe_trend(cents: pl.Expr, recent: pl.Expr, before: pl.Expr, window: str) -> list[pl.Expr]:
    """Logs of ratios of a window and the equally long one before it; 0 = no change."""

    def change(measure) -> pl.Expr:
        return measure(recent).log1p() - measure(before).log1p()

    described = {
        "events": change(lambda inside: inside.sum()),
        "in": change(lambda inside: cents.filter(inside).clip(lower_bound=0).sum() / 100),
        "out": change(lambda inside: -cents.filter(inside).clip(upper_bound=0).sum() / 100),
    }
    return [aggregate.alias(f"trend_{name}_{window}") for name, aggregate in described.items()]


def _describe_profiles(user_ids_L: pl.Series, profiles: pl.DataFrame, config: HistoryConfig) -> pl.DataFrame:
    """The labelled users' numbers as they are, and one column per frequent value of a category."""
    rows = user_ids_L.to_frame().join(profiles, on="user_id", how="left", maintain_order="left")
    columns = [pl.col(name).alias(f"profile_{name}") for name in numbers(rows, set())]
    for name in categories(rows, {"user_id"}):
        values = frequent_values(rows[name], config.max_values)
        columns += [(pl.col(name) == value).fill_null(False).alias(f"profile_{name}={value}") for value in values]
    return rows.select(columns).cast(pl.Float32)


def _log_amount(cents: pl.Expr) -> pl.Expr:
    return cents.sign() * (cents.abs() / 100).log1p()
