"""P21: the features of a table, computed at once, are those that a loop over the definitions finds one by one.

500 tables of hypothesis with ties, missing values, negative amounts, labels known at once or late; every feature of
every event. Counts are exact; what passes a logarithm or a root is float32. And the features of one event are the same,
bit for bit, when the table holds nothing but the past of its user and of its counterparty: that is how one payment is
scored.
"""

import runpy
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from panther_pipeline.features import windows
from panther_pipeline.features.config import FeatureConfig
from panther_pipeline.features.point_in_time import compute_features

ORACLE = runpy.run_path(str(Path(__file__).parents[1] / "fixtures" / "feature_oracle.py"))
NUM_TABLES = 500
START = datetime(2024, 1, 1, tzinfo=UTC)
CONFIG = FeatureConfig(
    windows_days=[1, 7], risk_windows_days=[2, 30], novelty=None, time_zone="UTC", night_start_hour=22, night_end_hour=6
)
EVENT = st.fixed_dictionaries(
    {
        "user_id": st.sampled_from("ab"),
        # Whole days among them: events on the border of a window.
        "hours": st.one_of(st.integers(0, 20 * 24), st.integers(0, 20).map(lambda day: 24 * day)),
        "amount_cents": st.one_of(st.none(), st.integers(-10_000, 500_000), st.just(1000)),
        "channel": st.sampled_from(["shop", "online"]),
        "counterparty": st.sampled_from([None, "m1", "m2"]),
        "label": st.sampled_from([None, 0, 0, 1]),
        "delay": st.integers(-24, 200),  # hours; a label that claims to be known before its event
    }
)


def make_table(drawn: list[dict]) -> pl.DataFrame:
    times = [START + timedelta(hours=e["hours"]) for e in drawn]
    known = [None if e["label"] is None else t + timedelta(hours=e["delay"]) for t, e in zip(times, drawn, strict=True)]
    moment = pl.Datetime("us", "UTC")
    return pl.DataFrame(
        {
            "user_id": [e["user_id"] for e in drawn],
            "event_id": [f"e{ix}" for ix in range(len(drawn))],
            "event_time": pl.Series(times, dtype=moment),
            "amount_cents": pl.Series([e["amount_cents"] for e in drawn], dtype=pl.Int64),
            "channel": [e["channel"] for e in drawn],
            "counterparty": pl.Series([e["counterparty"] for e in drawn], dtype=pl.String),
            "label": pl.Series([e["label"] for e in drawn], dtype=pl.Int8),
            "label_time": pl.Series(known, dtype=moment),
        }
    )


def find_differences(events: pl.DataFrame) -> list[str]:
    fast = compute_features(events, CONFIG)
    rows = events.to_dicts()
    slow = pl.DataFrame([ORACLE["look_up"](rows, e, CONFIG) for e in rows], strict=False)
    assert set(fast.columns) == {"event_id", *slow.columns}

    def is_same(name: str) -> bool:
        is_exact = any(part in name for part in ORACLE["EXACT"])
        expected = slow[name].cast(pl.Float64).to_numpy()
        return np.allclose(fast[name].to_numpy(), expected, rtol=0 if is_exact else 2e-6, atol=0 if is_exact else 1e-5)

    return [name for name in slow.columns if not is_same(name)]


def test_features_equal_brute_force():
    checked = []

    @settings(max_examples=NUM_TABLES, deadline=None, database=None, derandomize=True)
    @given(drawn=st.lists(EVENT, min_size=1, max_size=12))
    def check(drawn):
        assert find_differences(make_table(drawn)) == []
        checked.append(1)

    check()
    print(f"\nP21 {len(checked)} tables equal to the oracle / {NUM_TABLES}")
    assert len(checked) >= NUM_TABLES


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=st.lists(EVENT, min_size=1, max_size=25), at=st.integers(0, 24))
def test_features_of_one_event_need_the_past_of_its_two_sides_alone(drawn, at):
    events = make_table(drawn)
    row = at % events.height
    event = events.row(row, named=True)
    is_side = (pl.col("user_id") == event["user_id"]) | (
        pl.col("counterparty") == pl.lit(event["counterparty"], pl.String)
    )
    past = events.filter(is_side & (pl.col("event_time") < event["event_time"]))
    alone = compute_features(pl.concat([past, events[[row]]]), CONFIG)
    assert alone.row(-1) == compute_features(events, CONFIG).row(row)


@pytest.mark.parametrize("closed", ["both", "right", "none"])
def test_guard_notices_a_window_with_another_border(monkeypatch, closed):
    day = {"user_id": "a", "amount_cents": 100, "channel": "shop", "counterparty": "m1", "label": 1, "delay": 0}
    events = make_table([{**day, "hours": hours} for hours in (0, 0, 24, 24, 48)])
    assert find_differences(events) == []
    monkeypatch.setattr(windows, "_CLOSED", closed)
    assert find_differences(events)
