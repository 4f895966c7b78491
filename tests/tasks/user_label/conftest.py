"""A ledger of a few users with dated labels."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

START = datetime(2024, 1, 1, tzinfo=UTC)
INSTANT = pl.Datetime("us", "UTC")


def draw_events(seed: int = 0, num: int = 240, num_users: int = 6) -> pl.DataFrame:
    """Events of 200 days at whole hours, with ties, missing counterparties and missing numbers."""
    rng = np.random.default_rng(seed)
    times = [START + timedelta(hours=int(h)) for h in rng.integers(0, 200 * 24, num)]
    return (
        pl.DataFrame(
            {
                "user_id": [f"u{u}" for u in rng.integers(0, num_users, num)],
                "event_id": [f"e{i}" for i in range(num)],
                "event_time": pl.Series(times, dtype=INSTANT),
                "amount_cents": rng.integers(-50_000, 80_000, num),
                "counterparty": [None if i == 0 else f"c{i}" for i in rng.integers(0, 5, num)],
                "channel": rng.choice(["card", "cash", "wire"], num, p=[0.6, 0.3, 0.1]),
                "balance": pl.Series(
                    [None if i % 7 == 0 else float(i * 31 % 113) for i in range(num)], dtype=pl.Float64
                ),
                "label": pl.Series([None] * num, dtype=pl.Int8),
            }
        )
        .sort("user_id", "event_time", maintain_order=True)
        .with_columns(event_seq=pl.int_range(pl.len()).over("user_id"))
    )


def make_labels(rows: list[tuple[str, int, int]]) -> pl.DataFrame:
    """Rows of (user, days after the start, label)."""
    return pl.DataFrame(
        {
            "user_id": [user for user, _, _ in rows],
            "as_of": pl.Series([START + timedelta(days=days) for _, days, _ in rows], dtype=INSTANT),
            "label": pl.Series([label for _, _, label in rows], dtype=pl.Int8),
        },
        schema_overrides={"user_id": pl.String},
    )


def draw_labels(num_users: int, num_positive: int, seed: int = 0) -> pl.DataFrame:
    """One label per user, a day apart."""
    label = np.random.default_rng(seed).permutation(np.arange(num_users) < num_positive)
    return make_labels([(f"u{u:03d}", u, int(label[u])) for u in range(num_users)])


@pytest.fixture(scope="session")
def events() -> pl.DataFrame:
    return draw_events()


@pytest.fixture(scope="session")
def label_table():
    return make_labels


@pytest.fixture(scope="session")
def drawn_labels():
    return draw_labels
