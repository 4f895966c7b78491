"""A ledger of 90 days in which some counterparties are compromised for a while, and the deviations of its events."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from panther_pipeline.ledger.splits import SplitConfig
from panther_pipeline.scoring.trees import TreeConfig
from panther_pipeline.tasks.merchant_risk.config import MerchantRiskConfig
from panther_pipeline.tasks.merchant_risk.rows import tabulate_rows

START = datetime(2024, 1, 1, tzinfo=UTC)
NUM_DAYS, DELAY_DAYS = 90, 3


def draw_ledger(seed: int, num: int = 2000, num_counterparties: int = 20) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Events and deviations; at a compromised counterparty both rise. Every tenth event has no counterparty."""
    rng = np.random.default_rng(seed)
    day = rng.integers(0, NUM_DAYS * 24, num) / 24  # whole hours, so that events fall on as-of instants
    place = rng.integers(0, num_counterparties, num)
    compromised = (place + (day // 28).astype(int)) % 5 == 0  # for four weeks, then others
    label = (rng.random(num) < np.where(compromised, 0.5, 0.01)).astype(np.int8)
    times = pl.Series([START + timedelta(days=float(d)) for d in day], dtype=pl.Datetime("us", "UTC"))
    events = pl.DataFrame(
        {
            "user_id": [f"u{i:02d}" for i in rng.integers(0, 40, num)],
            "event_id": [f"e{i}" for i in range(num)],
            "event_time": times,
            "amount_cents": rng.integers(100, 9999, num),
            "counterparty": [None if rng.random() < 0.1 else f"m{i:02d}" for i in place],
            "label": label,
            "label_time": times + timedelta(days=DELAY_DAYS),
        }
    )
    z = rng.normal(size=(num, 2)) + 1.5 * compromised[:, None]
    deviations = pl.DataFrame(z.astype(np.float32), schema=["surprise_z", "distance_z"])
    return events, deviations


@pytest.fixture(scope="session")
def make_ledger():
    return draw_ledger


@pytest.fixture(scope="session")
def ledger() -> tuple[pl.DataFrame, pl.DataFrame]:
    return draw_ledger(0)


@pytest.fixture(scope="session")
def splits() -> SplitConfig:
    return SplitConfig(
        protocol="time", train_end="2024-02-20", valid_end="2024-03-05", test_end=None, embargo_days=0.0,
        test_share=None, valid_share=None, held_out_user_share=0.0,
    )  # fmt: skip


@pytest.fixture(scope="session")
def config() -> MerchantRiskConfig:
    return MerchantRiskConfig(
        every_days=4, horizon_days=4, windows_days=[3, 9], quantiles_percent=[5, 75], trim_share=0.2,
        thresholds=[2.0, 3.0], fit_start=None, calibration_share=0.3,
    )  # fmt: skip


@pytest.fixture(scope="session")
def trees() -> TreeConfig:
    return TreeConfig(
        seeds=[0, 1], search=[], learning_rate=0.2, num_rounds=15, max_leaves=7, min_rows_per_leaf=10, l2=1.0,
        feature_share=0.5, num_threads=1, calibration="platt",
    )  # fmt: skip


@pytest.fixture(scope="session")
def rows(ledger, config, splits) -> pl.DataFrame:
    return tabulate_rows(*ledger, config, splits)
