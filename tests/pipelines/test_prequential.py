"""`prequential` on an in-memory catalog: from a ledger and a backbone to what a deployed model does week after week."""

from datetime import UTC, datetime, timedelta

import numpy as np
import plotly.graph_objects as go
import polars as pl
import pytest
import torch
from kedro.framework.project import configure_project, pipelines
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner

from panther_pipeline.cache.embed import EventEmbeddingConfig, measure_surprises
from panther_pipeline.features.config import FeatureConfig
from panther_pipeline.features.point_in_time import compute_features
from panther_pipeline.ledger.splits import SplitConfig, assign_split
from panther_pipeline.metrics.config import BootstrapConfig
from panther_pipeline.metrics.prequential import MEAN_OF_SHIFTS
from panther_pipeline.metrics.records import find_value
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.model.config import ModelConfig
from panther_pipeline.pipelines.prequential import create_pipeline
from panther_pipeline.scoring.fit import HeadConfig
from panther_pipeline.scoring.shifts import PrequentialConfig, plan_shifts
from panther_pipeline.scoring.task import CALIBRATION, FIT, JUDGED, FraudTaskConfig, choose_rows
from panther_pipeline.scoring.trees import TreeConfig
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.units import epoch_us

OUTPUTS = {"prequential_scores", "prequential_metrics", "prequential_table", "prequential_plot"}
START = datetime(2024, 1, 1, tzinfo=UTC)
SPLITS = SplitConfig(
    protocol="time", train_end="2024-01-12", valid_end="2024-01-18", test_end=None, embargo_days=0.0, test_share=None,
    valid_share=None, held_out_user_share=0.0,
)  # fmt: skip
CONFIG = PrequentialConfig(num_shifts=2, step_days=6, test_days=6, models=["trees_both", "panther_head"], seeds=[0])
FIRST_END = datetime(2024, 1, 24, tzinfo=UTC)  # of the first test window
VOCAB_SIZE = 8


class KeptDataset(MemoryDataset):
    """Stays after the last node that reads it, as a file would."""

    def _release(self) -> None:
        pass


@pytest.fixture(scope="module")
def valid_events() -> pl.DataFrame:
    rng = np.random.default_rng(0)
    num = 900
    label = (rng.random(num) < 0.15).astype(np.int8)
    minutes = rng.integers(0, 30 * 1440, num)
    times = pl.Series([START + timedelta(minutes=int(m)) for m in minutes], dtype=pl.Datetime("us", "UTC"))
    return (
        pl.DataFrame(
            {
                "user_id": [f"u{i:02d}" for i in rng.integers(0, 40, num)],
                "event_id": [f"e{i}" for i in range(num)],
                "event_time": times,
                "amount_cents": (3000 + 1500.0 * label + rng.normal(0, 300, num)).astype(np.int64),
                "counterparty": [f"m{i}" for i in rng.integers(0, 20, num)],
                "label": label,
                "label_time": times + timedelta(days=3),
            }
        )
        .sort("user_id", "event_time")
        .with_columns(event_seq=pl.int_range(pl.len()).over("user_id"))
    )


@pytest.fixture(scope="module")
def blocks(load_config) -> dict:
    parameters = load_config()["parameters"]
    head = HeadConfig(**parameters["finetuning"]["head"] | {"max_epochs": 2})
    trees = TreeConfig(**parameters["finetuning"]["trees"] | {"num_rounds": 10, "min_rows_per_leaf": 10})
    return {
        "params:prequential": CONFIG,
        "params:finetuning.task": FraudTaskConfig(**parameters["finetuning"]["task"]),
        "params:finetuning.head": head,
        "params:finetuning.trees": trees,
        "params:embedding.events": EventEmbeddingConfig(**parameters["embedding"]["events"]),
        "params:evaluation.bootstrap": BootstrapConfig(num_resamples=100, seed=0),
        "params:ledger.splits": SPLITS,
        "params:pretraining.training.seed": 0,
        "features": FeatureConfig(**parameters["finetuning"]["features"]),
    }


def encode(events: pl.DataFrame) -> TokenSequences:
    """Amounts in steps of 1000 cents are the tokens."""
    token_N = (1 + (events["amount_cents"] // 1000).clip(0, VOCAB_SIZE - 2)).to_numpy().astype(np.int32)
    users = events.group_by("user_id", maintain_order=True).len()
    time_us_N = epoch_us(events["event_time"])
    return TokenSequences(
        user_ids=users["user_id"].to_list(),
        offsets_U1=np.concatenate([[0], np.cumsum(users["len"].to_numpy())]).astype(np.int64),
        token_ids_N=token_N, attribute_ids_NF=token_N[:, None], time_us_N=time_us_N,
        split_N=assign_split(time_us_N, events["user_id"], SPLITS),
        profile_ids_UP=np.zeros((users.height, 0), dtype=np.int32),
        vocab_size=VOCAB_SIZE, attribute_names=["amount"], attribute_sizes=[VOCAB_SIZE], profile_names=[],
        profile_sizes=[], tokenizer_digest="t",
    )  # fmt: skip


@pytest.fixture(scope="module")
def run_pipeline(blocks):
    torch.set_num_threads(1)
    model = ModelConfig(dim=8, num_layers=1, num_heads=2, max_events=16, num_prototypes=4, dropout=0.0, profile="none")
    backbone = Backbone(
        model, vocab_size=VOCAB_SIZE, attribute_sizes=[VOCAB_SIZE], profile_sizes=[], tokenizer_digest="t",
        tokenizer_kind="structured", seed=1,
    ).eval()  # fmt: skip

    def run(events: pl.DataFrame) -> dict:
        sequences = encode(events)
        params = {name: block for name, block in blocks.items() if name.startswith("params:")}
        inputs = params | {
            "valid_events": events,
            "event_features": compute_features(events, blocks["features"]),
            "token_sequences": sequences,
            "event_surprises": measure_surprises(
                backbone, sequences, np.ones(VOCAB_SIZE, dtype=np.int64), params["params:embedding.events"]
            ),
            "backbone": backbone,
            "code_version": {"commit": "abc", "changed": "false"},
            "transfer_report": {"source": None},
        }
        pipeline = create_pipeline()
        assert pipeline.inputs() == set(inputs)
        catalog = DataCatalog({name: MemoryDataset(value, copy_mode="assign") for name, value in inputs.items()})
        for name in pipeline.all_outputs():
            catalog[name] = KeptDataset(copy_mode="assign")
        SequentialRunner().run(pipeline, catalog)
        return {name: catalog.load(name) for name in OUTPUTS}

    return run


@pytest.fixture(scope="module")
def outputs(run_pipeline, valid_events) -> dict:
    return run_pipeline(valid_events)


def test_prequential_measures_every_shift_and_their_mean(outputs):
    metrics = outputs["prequential_metrics"]
    assert list(dict.fromkeys(record["split"] for record in metrics)) == ["test+0d", "test+6d", MEAN_OF_SHIFTS]
    for model in ("trees_both", "panther_head", "trees_both_aged", "panther_head_aged"):
        assert find_value(metrics, model=model, metric="average_precision", split=MEAN_OF_SHIFTS)["value"] > 0.3
    assert "| test+6d | 2024-01-24 | 2024-01-30 |" in outputs["prequential_table"]
    assert isinstance(outputs["prequential_plot"], go.Figure)


def test_shifts_go_beyond_the_splits_of_the_backbone(outputs):
    last = outputs["prequential_scores"].filter(split="test+6d")["event_time"]
    assert last.min() >= FIRST_END
    assert last.max() >= datetime(2024, 1, 29, tzinfo=UTC)


def test_nothing_after_a_window_reaches_its_scores(outputs, run_pipeline, valid_events):
    is_later = pl.col("event_time") >= FIRST_END
    is_unknown = pl.col("label_time") >= FIRST_END
    changed = valid_events.with_columns(
        amount_cents=pl.when(is_later).then(9000 - pl.col("amount_cents")).otherwise("amount_cents"),
        counterparty=pl.when(is_later).then(pl.lit("m0")).otherwise("counterparty"),
        label=pl.when(is_unknown).then(1 - pl.col("label")).otherwise("label"),
    )
    again = run_pipeline(changed)["prequential_scores"]
    before, after = (
        table.filter(split="test+0d")["score"].to_numpy() for table in (outputs["prequential_scores"], again)
    )
    assert before.tobytes() == after.tobytes()
    assert not again.filter(split="test+6d")["score"].equals(
        outputs["prequential_scores"].filter(split="test+6d")["score"]
    )


def test_ledger_without_labels_ends_with_empty_outputs(run_pipeline, valid_events, caplog):
    bare = valid_events.with_columns(label=pl.lit(None, pl.Int8), label_time=pl.lit(None, pl.Datetime("us", "UTC")))
    outputs = run_pipeline(bare)
    assert outputs["prequential_scores"].is_empty()
    assert outputs["prequential_metrics"] == []
    assert "Nothing was measured" in outputs["prequential_table"]
    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1


def test_prequential_is_no_part_of_the_default_run():
    configure_project("panther_pipeline")
    own = {node.name for node in create_pipeline().nodes}
    assert not own & {node.name for node in pipelines["__default__"].nodes}
    assert {node.name for node in pipelines["prequential"].nodes} == own


def test_shipped_shifts_fit_into_their_ledgers(environments, load_config):
    for env in environments:
        parameters = load_config(env)["parameters"]
        config = PrequentialConfig(**parameters["prequential"])
        splits = SplitConfig(**parameters["ledger"]["splits"])
        if parameters["ledger"]["schema"]["label"] is None:
            continue
        latest = datetime.fromisoformat(parameters["ledger"]["schema"]["event_time"]["latest"]).replace(tzinfo=UTC)
        ledger = pl.DataFrame({"event_time": [latest], "label": [1]})
        task = FraudTaskConfig(**parameters["finetuning"]["task"])
        assert len(plan_shifts(ledger, config, task, splits)) == config.num_shifts, env


def test_shifts_of_the_test_environment_have_frauds_to_fit_and_judge(finished_project, load_config):
    events = pl.read_parquet(finished_project / "data/03_primary/test/valid_events.parquet")
    parameters = load_config("test", finished_project)["parameters"]
    config = PrequentialConfig(**parameters["prequential"])
    task, splits = FraudTaskConfig(**parameters["finetuning"]["task"]), SplitConfig(**parameters["ledger"]["splits"])
    for shift in plan_shifts(events, config, task, splits):
        part_N, _ = choose_rows(events, shift.task, shift.splits)
        for part in (FIT, CALIBRATION, JUDGED):
            assert (events["label"].filter(pl.Series(part_N == part)) == 1).any(), (shift.name, part)
