"""Small ledgers with ties, gaps and unknown values."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from panther_pipeline.features.config import FeatureConfig

START = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="session")
def config() -> FeatureConfig:
    return FeatureConfig(
        windows_days=[1, 7],
        risk_windows_days=[2, 30],
        novelty=None,
        time_zone="UTC",
        night_start_hour=22,
        night_end_hour=6,
    )


def make_ledger(seed: int, num: int = 60, known_after_hours: int = 30) -> pl.DataFrame:
    """A random ledger: instants coincide, also on whole days (window borders), and values are missing."""
    rng = np.random.default_rng(seed)
    hours = rng.integers(0, 24 * 12, num) // rng.choice([1, 24], num) * rng.choice([1, 24], num)
    times = [START + timedelta(hours=int(hour % (24 * 12))) for hour in hours]
    labels = [None if x < 0.2 else int(x < 0.5) for x in rng.random(num)]
    known = [
        t + timedelta(hours=int(rng.integers(0, known_after_hours))) if label is not None else None
        for t, label in zip(times, labels, strict=True)
    ]
    return pl.DataFrame(
        {
            "user_id": rng.choice(["u1", "u2", "u3", "u4"], num),
            "event_id": [f"e{i}" for i in range(num)],
            "event_time": pl.Series(times, dtype=pl.Datetime("us", "UTC")),
            "amount_cents": [None if x < -900 else int(x) for x in rng.integers(-1000, 5000, num)],
            "channel": rng.choice(["shop", "online", "(missing)"], num),
            "counterparty": [None if x == 0 else f"m{x}" for x in rng.integers(0, 5, num)],
            "label": pl.Series(labels, dtype=pl.Int8),
            "label_time": pl.Series(known, dtype=pl.Datetime("us", "UTC")),
        }
    ).sort("user_id", "event_time")
