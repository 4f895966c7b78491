"""The `finetune` pipeline on an in-memory catalog, and the parameters that ship."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner

from panther_pipeline.cache.embed import EventEmbeddingConfig
from panther_pipeline.features.config import FeatureConfig
from panther_pipeline.ledger.splits import SplitConfig
from panther_pipeline.metrics.fraud import FRAUD_MODELS
from panther_pipeline.metrics.merchant_risk import MERCHANT_MODELS
from panther_pipeline.pipelines.finetune import create_pipeline
from panther_pipeline.scoring.fit import HeadConfig
from panther_pipeline.scoring.task import FraudTaskConfig
from panther_pipeline.scoring.trees import TreeConfig
from panther_pipeline.tasks.merchant_risk.config import MerchantRiskConfig
from panther_pipeline.units import epoch_us

OUTPUTS = {"event_features", "fraud_head", "fraud_scores", "merchant_risk_rows", "merchant_risk_scores"}
MERCHANT_BLOCKS = {"rows": MerchantRiskConfig, "trees": TreeConfig}
BLOCKS = {"features": FeatureConfig, "task": FraudTaskConfig, "head": HeadConfig, "trees": TreeConfig}
SPLITS = SplitConfig(
    protocol="time", train_end="2024-01-16", valid_end="2024-01-24", test_end=None,
    embargo_days=0.0, test_share=None, valid_share=None, held_out_user_share=0.0
)  # fmt: skip


def read_blocks(load_config, env: str = "base") -> dict:
    parameters = load_config(env)["parameters"]
    return {name: block(**parameters["finetuning"][name]) for name, block in BLOCKS.items()}


def read_merchant_blocks(load_config, env: str = "base") -> dict:
    parameters = load_config(env)["parameters"]["finetuning"]["merchant_risk"]
    assert set(parameters) == set(MERCHANT_BLOCKS)
    return {name: block(**parameters[name]) for name, block in MERCHANT_BLOCKS.items()}


def make_sequences(valid_events: pl.DataFrame) -> SimpleNamespace:
    """What the task reads of token sequences: whose events they are and when."""
    lengths_U = valid_events["user_id"].rle().struct.field("len").to_numpy().astype(np.int64)
    offsets_U1 = np.concatenate([[0], np.cumsum(lengths_U)])
    return SimpleNamespace(
        num_events=valid_events.height,
        time_us_N=epoch_us(valid_events["event_time"]),
        offsets_U1=offsets_U1,
        first_row_N=lambda: np.repeat(offsets_U1[:-1], lengths_U),
        user_ix_N=lambda: np.repeat(np.arange(len(lengths_U)), lengths_U),
    )


@pytest.fixture
def valid_events() -> pl.DataFrame:
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


def run_pipeline(load_config, valid_events: pl.DataFrame) -> DataCatalog:
    torch.set_num_threads(1)
    blocks = read_blocks(load_config)
    blocks["head"] = blocks["head"].model_copy(update={"seeds": [0], "max_epochs": 2})
    blocks["trees"] = blocks["trees"].model_copy(update={"seeds": [0], "num_rounds": 10})
    merchant = read_merchant_blocks(load_config)
    merchant["rows"] = merchant["rows"].model_copy(update={"windows_days": [2, 5], "horizon_days": 2, "every_days": 1})
    merchant["trees"] = blocks["trees"]
    count = valid_events.height
    rng = np.random.default_rng(1)
    embeddings = pl.DataFrame(
        {
            "row": np.arange(count),
            "embedding": pl.Series(np.zeros((count, 4), dtype=np.float32), dtype=pl.Array(pl.Float32, 4)),
            **dict.fromkeys(("surprise", "surprise_z", "cosine"), np.zeros(count, dtype=np.float32)),
        }
    )
    inputs = {
        "valid_events": valid_events,
        "event_embeddings": embeddings,
        "params:ledger.splits": SPLITS,
        **{f"params:finetuning.{name}": block for name, block in blocks.items()},
        "event_surprises": pl.DataFrame({"surprise": rng.random(count), "cosine": rng.random(count)}),
        "token_sequences": make_sequences(valid_events),
        "params:embedding.events": EventEmbeddingConfig(since=None, refresh="daily", batch_size=1),
        **{f"params:finetuning.merchant_risk.{name}": block for name, block in merchant.items()},
    }
    pipeline = create_pipeline()
    assert pipeline.inputs() == set(inputs)
    catalog = DataCatalog({name: MemoryDataset(value, copy_mode="assign") for name, value in inputs.items()})
    for name in pipeline.all_outputs():
        catalog[name] = MemoryDataset(copy_mode="assign")
    SequentialRunner().run(pipeline, catalog)
    return catalog


def test_finetune_makes_all_its_outputs(load_config, valid_events):
    assert create_pipeline().all_outputs() >= OUTPUTS
    catalog = run_pipeline(load_config, valid_events)
    scores = catalog.load("fraud_scores")
    assert set(scores["model"]) == set(FRAUD_MODELS)
    assert scores["score"].is_between(0, 1).all()
    assert catalog.load("fraud_head").is_trained
    assert set(catalog.load("merchant_risk_scores")["model"]) == set(MERCHANT_MODELS)


def test_finetune_ends_well_on_a_ledger_without_labels(load_config, valid_events):
    bare = valid_events.with_columns(label=pl.lit(None, pl.Int8), label_time=pl.lit(None, pl.Datetime("us", "UTC")))
    catalog = run_pipeline(load_config, bare)
    assert catalog.load("fraud_scores").is_empty()
    assert not catalog.load("fraud_head").is_trained
    assert catalog.load("merchant_risk_scores").is_empty()


def test_shipped_finetuning_parameters_are_valid(environments, load_config):
    for env in environments:
        assert read_blocks(load_config, env)
        assert read_merchant_blocks(load_config, env)


def test_handbook_blocks_the_cards_that_its_protocol_blocks(load_config):
    task = read_blocks(load_config, "handbook")["task"]
    assert task.fit_start is None
    assert task.blocked_since == "2018-07-25"


def test_trees_are_tuned_as_much_as_the_head(environments, load_config):
    for env in environments:
        blocks = read_blocks(load_config, env)
        assert len(blocks["trees"].search) == len(blocks["head"].search)
