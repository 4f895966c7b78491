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

from collections.abc import Iterator

import numpy as np
import polars as pl

from panther_pipeline.features.config import EVER, FeatureConfig
from panther_pipeline.features.formulas import (
    SIDES,
    AmountSums,
    describe_amounts,
    describe_context,
    describe_risk,
    feature_names,
    log_seconds_since,
)
from panther_pipeline.features.squares import clip_cents, split_square
from panther_pipeline.features.windows import Windows, code_groups
from panther_pipeline.units import BEFORE_ALL_US, epoch_us

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
    novelty = config.choose_novelty(categorical_attributes(valid_events.schema))
    names = feature_names(config, novelty)
    columns = (column_N.astype(np.float32) for column_N in _columns(valid_events, config, novelty))
    features = [pl.Series(name, column_N) for name, column_N in zip(names, columns, strict=True)]
    return pl.DataFrame([valid_events["event_id"], *features])


def categorical_attributes(schema: pl.Schema) -> list[str]:
    """The attributes of a ledger that are text, in its order."""
    return [name for name, kind in schema.items() if kind == pl.String and name not in _NO_ATTRIBUTES]


def _columns(events: pl.DataFrame, config: FeatureConfig, novelty: list[str]) -> Iterator[np.ndarray]:
    """The features in the order of `feature_names`."""
    cents_N = events["amount_cents"].fill_null(0).to_numpy()
    time_N = epoch_us(events["event_time"])
    users_N, counterparties_N = code_groups(events["user_id"]), code_groups(events["counterparty"])
    groups = {"user": (users_N, counterparties_N), "counterparty": (counterparties_N, users_N)}
    yield from _context(events["event_time"], cents_N, config)
    for side in SIDES:
        group_N, others_N = groups[side]
        yield from _activity(group_N, others_N, time_N, cents_N, config.windows_days)
        yield from _known_risk(group_N, time_N, events, config.risk_windows_days)
    yield from _novelty(events, time_N, novelty)


def _context(times_N: pl.Series, cents_N: np.ndarray, config: FeatureConfig) -> list[np.ndarray]:
    local_N = times_N.dt.convert_time_zone(config.time_zone).dt
    clock = (local_N.hour(), local_N.minute(), local_N.weekday() - 1)  # 0 = Monday
    return describe_context(cents_N, *(part_N.cast(pl.Int64).to_numpy() for part_N in clock), config)


def _activity(
    group_N: pl.Series, others_N: pl.Series, time_N: np.ndarray, cents_N: np.ndarray, windows_days: list[int]
) -> Iterator[np.ndarray]:
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
    yield log_seconds_since(_last(windows), time_N)
    for days in [*windows_days, EVER]:
        seen = windows.look_back(days, **sums).with_columns(distinct=windows.count_distinct(days, "other"))
        yield from describe_amounts(AmountSums(**_integers(seen)), cents_N)


def _known_risk(
    group_N: pl.Series, time_N: np.ndarray, events: pl.DataFrame, windows_days: list[int]
) -> Iterator[np.ndarray]:
    """Known fraud among what became known in [t-w, t): how many, which share, and when the payments were."""
    # A label cannot be known before its event, whatever the source says.
    known_N = np.maximum(epoch_us(events["label_time"]), time_N)
    label_N = events["label"].cast(pl.Int64)
    fraud_time_N = pl.select(pl.when(label_N == 1).then(pl.Series(time_N))).to_series()
    facts = pl.DataFrame({"group": group_N, "time": known_N, "fraud": label_N, "fraud_time": fraud_time_N})
    is_known_N = events["label"].is_not_null() & events["label_time"].is_not_null()
    windows = Windows(facts.filter(is_known_N), pl.DataFrame({"group": group_N, "time": time_N}))
    yield log_seconds_since(_last(windows, "fraud_time"), time_N)
    for days in windows_days:
        seen = windows.look_back(
            days, known=pl.col("fraud").count(), frauds=pl.col("fraud").sum(), first=pl.col("fraud_time").min()
        )
        counts = _integers(seen.select("known", "frauds"))
        yield from describe_risk(counts["known"], counts["frauds"], _instants(seen["first"]), time_N)


def _novelty(events: pl.DataFrame, time_N: np.ndarray, names: list[str]) -> Iterator[np.ndarray]:
    """How long ago the user last met this counterparty, and whether this value of an attribute is their first."""
    for name in ["counterparty", *names]:
        pair_N = code_groups(events["user_id"], events[name])
        last_N = _last(Windows(pl.DataFrame({"group": pair_N, "time": time_N})))
        yield (last_N == BEFORE_ALL_US) & pair_N.is_not_null().to_numpy()
        if name == "counterparty":
            yield log_seconds_since(last_N, time_N)


def _last(windows: Windows, column: str = "time") -> np.ndarray:
    return _instants(windows.look_back(EVER, last=pl.col(column).max()).to_series())


def _instants(times_N: pl.Series) -> np.ndarray:
    return times_N.fill_null(BEFORE_ALL_US).to_numpy()


def _integers(seen: pl.DataFrame) -> dict[str, np.ndarray]:
    """Null is what a row in no group, or an empty window, has: nothing seen."""
    return {column.name: column.cast(pl.Int64).fill_null(0).to_numpy() for column in seen}
