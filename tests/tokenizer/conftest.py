"""A small ledger with rare combinations, refunds and missing values."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from panther_pipeline.ledger.splits import SplitConfig
from panther_pipeline.tokenizer.config import FieldConfig, VocabularyConfig

CATEGORIES = ["groceries", "rent", "fuel", "food|drink", "*", "(other)", "travel", "(missing)"]
CHANNELS = ["card", "card_online", "transfer"]
START = datetime(2024, 1, 1, tzinfo=UTC)


def build_events(num_events: int = 3000, num_users: int = 40, seed: int = 0) -> pl.DataFrame:
    """A valid ledger over 2024, sorted by (user_id, event_seq)."""
    rng = np.random.default_rng(seed)
    user = np.sort(rng.integers(0, num_users, num_events))
    time_us = rng.integers(0, 366 * 86_400 * 10**6, num_events)
    order = np.lexsort([time_us, user])
    category = np.minimum(rng.geometric(0.35, num_events) - 1, len(CATEGORIES) - 1)
    frame = pl.DataFrame(
        {
            "user_id": [f"u{i:03d}" for i in user[order]],
            "event_id": [f"e{n:05d}" for n in range(num_events)],
            "event_time": pl.Series(time_us[order]).cast(pl.Duration("us")) + START,
            "amount_cents": np.round(np.exp(rng.normal(8, 1.2, num_events))).astype(np.int64)
            * np.where(rng.random(num_events) < 0.1, -1, 1),
            "category": np.array(CATEGORIES)[category],
            "channel": np.array(CHANNELS)[np.minimum(rng.geometric(0.6, num_events) - 1, 2)],
            "counterparty": [f"m{i}" for i in rng.integers(0, 30, num_events)],
            "ratio": rng.normal(0, 2, num_events),
        }
    )
    holes = pl.Series(rng.random(num_events) < 0.02)
    return frame.with_columns(
        event_seq=pl.int_range(pl.len()).over("user_id"),
        amount_cents=pl.when(holes).then(None).otherwise(pl.col("amount_cents")),
    )


def build_profiles(num_users: int = 40) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "user_id": [f"u{i:03d}" for i in range(num_users)],
            "region": [("north", "south", "(missing)")[i % 3] for i in range(num_users)],
            "income": [float(i * 100) for i in range(num_users)],
        }
    )


def vocabulary_config(**changes) -> VocabularyConfig:
    fields = [
        FieldConfig(name="category", source="category", kind="categorical", max_categories=20),
        FieldConfig(name="channel", source="category", kind="categorical", max_categories=20),
        FieldConfig(name="amount", source="amount", kind="quantile", num_bins=8, significant_digits=2),
    ]
    defaults = {
        "fields": fields, "zone": "UTC", "max_tokens": None, "coverage_target": None, "min_count": 3,
        "max_dropped": 2, "profile_max_categories": 10, "profile_num_bins": 4,
    }  # fmt: skip
    return VocabularyConfig(**{**defaults, **changes})


def every_source_config(**changes) -> VocabularyConfig:
    fields = [
        FieldConfig(name="what", source="category", column="category", kind="categorical", max_categories=5),
        FieldConfig(name="amount", source="amount", kind="fixed", edges=[-10, 0, 19.99, 100]),
        FieldConfig(name="hour", source="hour", kind="fixed", edges=[6, 12, 18]),
        FieldConfig(name="weekday", source="weekday", kind="fixed", edges=[5]),
        FieldConfig(name="gap", source="gap", kind="log", num_bins=5, significant_digits=1),
        FieldConfig(name="partner", source="counterparty", kind="categorical", max_categories=3),
        FieldConfig(name="ratio", source="number", kind="quantile", num_bins=3),
    ]
    return vocabulary_config(fields=fields, zone="America/New_York", max_dropped=6, **changes)


SPLITS = SplitConfig(
    protocol="time", train_end="2024-09-01", valid_end="2024-10-15", test_end=None,
    embargo_days=0.0, test_share=None, valid_share=None, held_out_user_share=0.1
)  # fmt: skip


@pytest.fixture(scope="session")
def events() -> pl.DataFrame:
    return build_events()


@pytest.fixture(scope="session")
def profiles() -> pl.DataFrame:
    return build_profiles()


@pytest.fixture(scope="session")
def splits() -> SplitConfig:
    return SPLITS


@pytest.fixture(scope="session")
def make_events():
    return build_events


@pytest.fixture(scope="session")
def make_config():
    return vocabulary_config


@pytest.fixture(scope="session")
def every_source():
    return every_source_config
