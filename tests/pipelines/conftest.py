"""A labelled ledger of one month for the pipelines that predict from it."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest


@pytest.fixture
def labelled_events() -> pl.DataFrame:
    rng = np.random.default_rng(0)
    num = 1200
    label = (rng.random(num) < 0.1).astype(np.int8)
    minutes = rng.integers(0, 30 * 1440, num)
    times = pl.Series([datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=int(m)) for m in minutes])
    return (
        pl.DataFrame(
            {
                "user_id": [f"u{i:02d}" for i in rng.integers(0, 50, num)],
                "event_id": [f"e{i}" for i in range(num)],
                "event_time": times.cast(pl.Datetime("us", "UTC")),
                "amount_cents": (3000 + 1500.0 * label + rng.normal(0, 300, num)).astype(np.int64),
                "counterparty": [f"m{i}" for i in rng.integers(0, 20, num)],
                "label": label,
                "label_time": times.cast(pl.Datetime("us", "UTC")) + timedelta(days=3),
            }
        )
        .sort("user_id", "event_time")
        .with_columns(event_seq=pl.int_range(pl.len()).over("user_id"))
    )
