"""The fast features against a loop over the definition, and the rule "nothing from the future"."""

import math
from datetime import timedelta
from statistics import fmean, pstdev

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panther_pipeline.features.config import FeatureConfig
from panther_pipeline.features.point_in_time import compute_features

from .conftest import make_ledger

CONFIG = FeatureConfig(
    windows_days=[1, 7], risk_windows_days=[2, 30], time_zone="UTC", night_start_hour=22, night_end_hour=6
)


def signed_log(x: float) -> float:
    return math.copysign(math.log1p(abs(x)), x)


def log_since(t, past: list[dict]) -> float:
    return math.log1p(min((t - o["event_time"]).total_seconds() for o in past)) if past else -1.0


def look_up(events: list[dict], e: dict, config: FeatureConfig) -> dict[str, float]:
    """Every feature of one event, by filtering the whole ledger."""
    t, amount = e["event_time"], (e["amount_cents"] or 0) / 100
    mine = [o for o in events if o["user_id"] == e["user_id"] and o["event_time"] < t]
    theirs = [o for o in events if e["counterparty"] is not None and o["counterparty"] == e["counterparty"]]
    pair = [o for o in mine if e["counterparty"] is not None and o["counterparty"] == e["counterparty"]]
    angle = 2 * math.pi * (t.hour + t.minute / 60) / 24
    row = {
        "amount": amount, "log_amount": signed_log(amount), "hour_sin": math.sin(angle),
        "hour_cos": math.cos(angle), "weekday": t.weekday(),
        "is_night": t.hour >= 22 or t.hour < 6, "is_weekend": t.weekday() >= 5,
        "user_log_s_since_last": log_since(t, mine), "pair_log_s_since_last": log_since(t, pair),
        "is_new_counterparty": e["counterparty"] is not None and not pair,
        "user_num_counterparties": len({o["counterparty"] for o in mine} - {None}),
    }  # fmt: skip
    for days in config.windows_days:
        window = [o for o in mine if o["event_time"] >= t - timedelta(days=days)]
        paid = [(o["amount_cents"] or 0) / 100 for o in window] or [0.0]
        mean, std = fmean(paid), pstdev(paid)
        row[f"user_count_{days}d"] = len(window)
        row[f"user_log_sum_{days}d"] = signed_log(sum(paid))
        row[f"user_mean_{days}d"], row[f"user_std_{days}d"] = mean, std
        row[f"amount_vs_mean_{days}d"] = signed_log(amount) - signed_log(mean) if window else 0
        z = (amount - mean) / (std + 0.01)
        row[f"amount_z_{days}d"] = min(max(z, -20), 20) if len(window) > 1 else 0
        row[f"counterparty_count_{days}d"] = sum(t - timedelta(days=days) <= o["event_time"] < t for o in theirs)
    everyone = {"user": [o for o in events if o["user_id"] == e["user_id"]], "counterparty": theirs}
    for who, group in everyone.items():
        for days in config.risk_windows_days:
            labels = [o["label"] for o in group if o["label_time"] and t - timedelta(days=days) <= o["label_time"] < t]
            row[f"{who}_known_count_{days}d"] = len(labels)
            row[f"{who}_known_frauds_{days}d"] = sum(labels)
            row[f"{who}_known_fraud_share_{days}d"] = sum(labels) / max(len(labels), 1)
    return row


@pytest.mark.parametrize("seed", range(8))
def test_features_equal_brute_force(seed):
    events = make_ledger(seed)
    fast = compute_features(events, CONFIG)
    rows = events.to_dicts()
    slow = pl.DataFrame([look_up(rows, e, CONFIG) for e in rows], strict=False)
    assert set(fast.columns) == {"event_id", *slow.columns}
    for name in slow.columns:
        expected = slow[name].cast(pl.Float64).to_numpy()
        exact = any(part in name for part in ("_count_", "_frauds_", "is_", "_num_"))
        rtol, atol = (0, 0) if exact else (2e-6, 1e-5)
        np.testing.assert_allclose(fast[name].to_numpy(), expected, rtol=rtol, atol=atol, err_msg=name)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), at=st.integers(0, 59), harm=st.sampled_from(["delete", "change", "relabel"]))
def test_features_before_ignore_what_comes_later(seed, at, harm):
    events = make_ledger(seed)
    instant = events["event_time"][at]
    before = pl.col("event_time") < instant
    if harm == "delete":
        mutated = events.filter(before)
    elif harm == "change":
        mutated = events.with_columns(
            amount_cents=pl.when(before).then("amount_cents").otherwise(987_654_321),
            user_id=pl.when(before).then("user_id").otherwise(pl.lit("u1")),
            counterparty=pl.when(before).then("counterparty").otherwise(pl.lit("m1")),
            label=pl.when(before).then("label").otherwise(pl.lit(1, pl.Int8)),
        )
    else:  # labels that are not yet known at the instant, of earlier events too
        mutated = events.with_columns(
            label=pl.when(pl.col("label_time") < instant).then("label").otherwise(1 - pl.col("label"))
        )
    ids = events.filter(before)["event_id"]
    old, new = (compute_features(e, CONFIG).filter(pl.col("event_id").is_in(ids.implode())) for e in (events, mutated))
    assert old.equals(new)


def test_features_of_event_ignore_its_own_label_and_ties():
    events = make_ledger(1)
    twin = events[[10]].with_columns(
        event_id=pl.lit("twin"), amount_cents=pl.lit(4_000_000, pl.Int64), label=pl.lit(1, pl.Int8)
    )
    with_twin = compute_features(pl.concat([events, twin]), CONFIG)
    alone = compute_features(events, CONFIG)
    assert with_twin.row(10) == alone.row(10)


def test_features_do_not_depend_on_row_order():
    events = make_ledger(2)
    shuffled = events.sample(fraction=1.0, shuffle=True, seed=0)
    a, b = (compute_features(e, CONFIG).sort("event_id") for e in (events, shuffled))
    assert a.equals(b)


def test_features_survive_ledger_without_amounts_counterparties_labels():
    events = make_ledger(3).with_columns(
        amount_cents=pl.lit(None, pl.Int64), counterparty=pl.lit(None, pl.String),
        label=pl.lit(None, pl.Int8), label_time=pl.lit(None, pl.Datetime("us", "UTC")),
    )  # fmt: skip
    bare, full = compute_features(events, CONFIG), compute_features(make_ledger(3), CONFIG)
    assert bare.columns == full.columns
    assert bare.select(pl.all().exclude("event_id").is_finite().all()).row(0) == (True,) * (bare.width - 1)
    assert bare["counterparty_known_frauds_30d"].sum() == 0
    assert bare["user_count_7d"].equals(full["user_count_7d"])


def test_features_of_empty_ledger_keep_their_columns():
    empty = compute_features(make_ledger(0)[:0], CONFIG)
    assert empty.height == 0
    assert empty.columns == compute_features(make_ledger(0), CONFIG).columns
    assert set(empty.dtypes[1:]) == {pl.Float32}


def test_label_known_before_its_event_counts_from_the_event():
    events = make_ledger(4).with_columns(label_time=pl.col("event_time") - timedelta(days=5))
    honest = events.with_columns(label_time=pl.col("event_time"))
    assert compute_features(events, CONFIG).equals(compute_features(honest, CONFIG))


def test_night_is_meant_in_the_configured_zone():
    events = make_ledger(5)
    tokyo = CONFIG.model_copy(update={"time_zone": "Asia/Tokyo"})
    hours = events["event_time"].dt.convert_time_zone("Asia/Tokyo").dt.hour()
    expected = ((hours >= 22) | (hours < 6)).cast(pl.Float32).alias("is_night")
    assert compute_features(events, tokyo)["is_night"].equals(expected)
