"""Every feature equals one that a loop over the whole ledger computes from the definitions."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from scipy.stats import median_abs_deviation, trim_mean

from panther_pipeline.tasks.merchant_risk.config import MerchantRiskConfig
from panther_pipeline.tasks.merchant_risk.rows import ROW_SCHEMA, tabulate_rows

MEASURES = ["surprise_z", "distance_z"]


def describe(seen: list[dict], config: MerchantRiskConfig) -> dict[str, float]:
    """One window."""
    cents = [e["amount_cents"] or 0 for e in seen]
    found = {
        "activity_count": len(seen), "activity_amount": sum(cents) / 100, "activity_largest": max(cents) / 100,
        "activity_users": len({e["user_id"] for e in seen}),
    }  # fmt: skip
    for name in MEASURES:
        z = np.array([e[name] for e in seen], dtype=np.float64)
        statistics = {f"q{q}": np.percentile(z, q) for q in config.quantiles_percent}
        statistics |= {f"share_above_{limit:g}": (z > limit).mean() for limit in config.thresholds}
        statistics |= {"median": np.median(z), "mad": median_abs_deviation(z)}
        statistics["trimmed_mean"] = trim_mean(z, config.trim_share)
        found |= {f"deviation_{name}_{statistic}": value for statistic, value in statistics.items()}
    return found


def look_up(events: list[dict], place: str, t, config: MerchantRiskConfig, start) -> dict[str, float | None]:
    """All that is known of one counterparty at one instant."""
    mine = [e for e in events if e["counterparty"] == place and e["event_time"] < t]
    known = [e for e in events if e["counterparty"] == place and e["label"] is not None and e["label_time"] < t]
    row = {}
    for days in config.windows_days:
        middle, early = t - timedelta(days=days), t - timedelta(days=2 * days)
        now = [e for e in mine if e["event_time"] >= middle]
        before = [e for e in mine if early <= e["event_time"] < middle] if early >= start else []
        stats_now, stats_before = (describe(seen, config) if seen else {} for seen in (now, before))
        for name in describe(mine, config):
            fallback = 0 if name.startswith("activity_") else None
            row[f"{name}_{days}d"] = stats_now.get(name, fallback)
            has_both = stats_now and stats_before
            row[f"{name}_change_{days}d"] = stats_now[name] - stats_before[name] if has_both else None
        recent = [e for e in known if e["label_time"] >= middle]
        frauds = sum(e["label"] for e in recent)
        row[f"known_count_{days}d"], row[f"known_frauds_{days}d"] = len(recent), frauds
        row[f"known_share_{days}d"] = frauds / max(len(recent), 1)
    times = [e["event_time"] for e in known if e["label"] == 1]
    row["known_days_since_fraud"] = (t - max(times)) / timedelta(days=1) if times else None
    return row


def test_every_feature_equals_a_brute_force_oracle(make_ledger, config, splits):
    events, deviations = make_ledger(1, num=400, num_counterparties=5)
    events = events.with_columns(
        pl.when(pl.col("event_id").str.ends_with("3")).then(None).otherwise("label").alias("label"),
        pl.when(pl.col("event_id").str.ends_with("7")).then(None).otherwise("amount_cents").alias("amount_cents"),
    )
    table = tabulate_rows(events, deviations, config.model_copy(update={"every_days": 5}), splits)
    ledger = events.hstack(deviations).filter(pl.col("counterparty").is_not_null()).to_dicts()
    start = min(e["event_time"] for e in ledger)
    features = [name for name in table.columns if name not in ROW_SCHEMA]
    assert table["as_of"].n_unique() >= 10
    for row in table.to_dicts():
        expected = look_up(ledger, row["counterparty"], row["as_of"], config, start)
        assert set(expected) == set(features)
        for name, value in expected.items():
            assert row[name] == (None if value is None else pytest.approx(value, rel=1e-5, abs=1e-5)), name


def test_features_are_known_to_their_family_by_name(rows):
    features = [name for name in rows.columns if name not in ROW_SCHEMA]
    assert all(name.startswith(("activity_", "known_", "deviation_")) for name in features)
    assert set(rows.select(features).dtypes) == {pl.Float32}


def test_one_customer_without_pattern_does_not_move_the_median(ledger, config, splits):
    events, deviations = ledger
    first = events["user_id"] == "u00"
    wild = deviations.with_columns(pl.when(first).then(1000.0).otherwise("surprise_z").alias("surprise_z"))
    calm_rows, wild_rows = (tabulate_rows(events, table, config, splits) for table in (deviations, wild))
    name = "deviation_surprise_z_median_9d"
    assert (calm_rows[name] - wild_rows[name]).abs().mean() < 0.1
