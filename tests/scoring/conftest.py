"""A ledger whose frauds can be told from amount and embedding, and the task made of it."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
import torch

from panther_pipeline.ledger.splits import SplitConfig
from panther_pipeline.scoring.fit import HeadConfig
from panther_pipeline.scoring.networks.config import NetworkConfig
from panther_pipeline.scoring.task import FraudTask, FraudTaskConfig, assemble_fraud_task
from panther_pipeline.scoring.trees import TreeConfig

START = datetime(2024, 1, 1, tzinfo=UTC)
WIDTH = 4


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def splits() -> SplitConfig:
    return SplitConfig(
        protocol="time",
        train_end="2024-01-16",
        valid_end="2024-01-24",
        test_end="2024-01-31",
        embargo_days=0.0,
        test_share=None,
        valid_share=None,
        held_out_user_share=0.0,
    )


@pytest.fixture(scope="session")
def task_config() -> FraudTaskConfig:
    return FraudTaskConfig(
        fit_start="2024-01-03",
        calibration_share=0.25,
        calibration_gap=False,
        negatives_per_fraud=None,
        seed=0,
        blocked_since=None,
    )


@pytest.fixture(scope="session")
def ledger() -> pl.DataFrame:
    rng = np.random.default_rng(0)
    num, days = 3000, 30
    minutes = np.sort(rng.integers(0, days * 1440, num))
    label = (rng.random(num) < 0.1).astype(np.int8)
    times = pl.Series([START + timedelta(minutes=int(m)) for m in minutes], dtype=pl.Datetime("us", "UTC"))
    return (
        pl.DataFrame(
            {
                "user_id": [f"u{i:03d}" for i in rng.integers(0, 200, num)],
                "event_id": [f"e{i}" for i in range(num)],
                "event_time": times,
                "amount_cents": (rng.normal(3000, 500, num) + 1500.0 * label).astype(np.int64),
                "counterparty": [f"m{i}" for i in rng.integers(0, 20, num)],
                "label": label,
                "label_time": times + timedelta(days=5),
            }
        )
        .sort("user_id", "event_time")
        .with_columns(event_seq=pl.int_range(pl.len()).over("user_id"))
    )


@pytest.fixture(scope="session")
def features(ledger) -> pl.DataFrame:
    return ledger.select(
        "event_id",
        pl.col("amount_cents").cast(pl.Float32).alias("amount"),
        pl.col("event_time").dt.hour().cast(pl.Float32).alias("hour"),
    )


@pytest.fixture(scope="session")
def embeddings(ledger) -> pl.DataFrame:
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(ledger.height, WIDTH)).astype(np.float32)
    vectors[:, 0] += 1.5 * ledger["label"].to_numpy()
    return pl.DataFrame(
        {
            "row": np.arange(ledger.height),
            "embedding": pl.Series(vectors, dtype=pl.Array(pl.Float32, WIDTH)),
            "surprise": rng.normal(size=ledger.height).astype(np.float32),
            "surprise_z": rng.normal(size=ledger.height).astype(np.float32),
            "cosine": rng.normal(size=ledger.height).astype(np.float32),
        }
    )


@pytest.fixture(scope="session")
def task(ledger, features, embeddings, task_config, splits) -> FraudTask:
    return assemble_fraud_task(ledger, features, embeddings, task_config, splits)


@pytest.fixture(scope="session")
def unlabelled_task(ledger, features, embeddings, task_config, splits) -> FraudTask:
    bare = ledger.with_columns(label=pl.lit(None, pl.Int8), label_time=pl.lit(None, pl.Datetime("us", "UTC")))
    return assemble_fraud_task(bare, features, embeddings, task_config, splits)


@pytest.fixture(scope="session")
def network_config() -> NetworkConfig:
    return NetworkConfig(
        kind="dcn", num_frequencies=4, frequency_scale=0.3, number_width=4, num_cross_layers=2, cross_rank=4,
        deep_widths=[16], dropout=0.1,
    )  # fmt: skip


@pytest.fixture(scope="session")
def head_config(network_config) -> HeadConfig:
    return HeadConfig(
        network=network_config, also_without_backbone=False, seeds=[0, 1], search=[], batch_size=128, max_epochs=6,
        patience=2, learning_rate=0.01, weight_decay=0.001, calibration="platt",
    )  # fmt: skip


@pytest.fixture(scope="session")
def tree_config() -> TreeConfig:
    return TreeConfig(
        seeds=[0, 1], search=[], learning_rate=0.1, num_rounds=20, max_leaves=7, min_rows_per_leaf=10, l2=1.0,
        feature_share=0.5, num_threads=1, calibration="platt",
    )  # fmt: skip
