"""`ablation` on an in-memory catalog: two variants, two seeds, each a child of one tracked run."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import mlflow
import plotly.graph_objects as go
import pytest
import torch
from kedro.framework.project import configure_project, pipelines
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner

from panther_pipeline.ablation.config import AblationConfig
from panther_pipeline.ablation.grid import Blocks, plan_grid
from panther_pipeline.ablation.store import RunStore
from panther_pipeline.errors import ConfigurationError, TrainingError
from panther_pipeline.metrics.config import BootstrapConfig, RankingConfig
from panther_pipeline.metrics.records import find_value
from panther_pipeline.model.config import ModelConfig
from panther_pipeline.pipelines.ablation import create_pipeline, nodes
from panther_pipeline.training.config import LossConfig, TrainingConfig

CODE = {"commit": "abc", "changed": "false", "version.torch": "2", "version.python": "3", "machine": "x"}
VARIANTS = {"panther": {}, "gru": {"model": {"mixer": "gru"}}, "left_out": None}


@pytest.fixture(scope="module")
def sequences():
    path = Path(__file__).parents[1] / "fixtures" / "histories.py"
    return runpy.run_path(str(path))["random_sequences"](motif=[2, 3, 4, 5, 6, 7])


@pytest.fixture(scope="module")
def tracking(tmp_path_factory):
    """A store of its own, and a client for it."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('tracking')}/mlflow.db"
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    yield mlflow.MlflowClient(uri)
    mlflow.set_tracking_uri(before)


@pytest.fixture
def run_pipeline(sequences, tmp_path):
    def run(variants=VARIANTS, **changes) -> dict:
        torch.set_num_threads(1)
        grid = {
            "ledger": "unit", "environment": "base", "reference": "panther", "only": None, "num_seeds": 2,
            "split": "test", "equal_parameters": True, "variants": variants,
        }  # fmt: skip
        inputs = {
            "token_sequences": sequences,
            "tokenizer": SimpleNamespace(kind="structured"),
            "ablation_runs": RunStore(tmp_path),
            "code_version": CODE,
            "params:ablation": AblationConfig(**grid | changes),
            "params:pretraining.model": ModelConfig(
                dim=16, num_layers=1, num_heads=2, max_events=16, num_prototypes=4, feed_forward_dim=64
            ),
            "params:pretraining.loss": LossConfig(),
            "params:pretraining.training": TrainingConfig(
                max_steps=60, warmup_steps=4, log_every=20, eval_every=20, batch_size=8, peak_lr=1e-2, num_threads=1,
                device="cpu",
            ),
            "params:evaluation.ranking": RankingConfig(max_users=None, seed=0, batch_size=8),
            "params:evaluation.bootstrap": BootstrapConfig(num_resamples=100, seed=0),
            "params:ledger.splits.protocol": "time",
        }  # fmt: skip
        catalog = DataCatalog({name: MemoryDataset(value, copy_mode="assign") for name, value in inputs.items()})
        outputs = SequentialRunner().run(create_pipeline(), catalog)
        return {name: dataset.load() for name, dataset in outputs.items()}

    return run


def children_of(parent, tracking) -> list:
    return tracking.search_runs([parent.info.experiment_id], f"tags.mlflow.parentRunId = '{parent.info.run_id}'")


def statuses(parent, tracking) -> list[str]:
    return [child.info.status for child in children_of(parent, tracking)]


def test_grid_ends_in_a_table_figures_and_tracked_children(run_pipeline, tracking):
    with mlflow.start_run() as parent:
        outputs = run_pipeline()
        assert mlflow.active_run().info.run_id == parent.info.run_id
    assert set(outputs) == {"ablation_table", "ablation_plot", "ablation_curves_plot"}
    assert outputs["ablation_table"].startswith("# Ablation: unit, test\n")
    assert all(isinstance(outputs[name], go.Figure) for name in ("ablation_plot", "ablation_curves_plot"))

    children = children_of(parent, tracking)
    assert {child.info.run_name for child in children} == {"panther/0", "panther/1", "gru/0", "gru/1"}
    for child in children:
        mixer, _, seed = child.info.run_name.partition("/")
        assert child.info.status == "FINISHED"
        assert child.data.params["model.mixer"] == {"panther": "both", "gru": "gru"}[mixer]
        assert child.data.params["training.seed"] == seed
        assert child.data.metrics["test/hr_at_10"] > 0.5, "a cycle of six tokens is learnt in sixty steps"
        assert len(tracking.get_metric_history(child.info.run_id, "valid_nll")) == 3


def test_results_tell_the_variants_apart_and_are_the_same_again(run_pipeline):
    kept = {}

    def keep(results):
        kept.update(results)
        return original(results)

    original = nodes.table.render_table
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nodes.table, "render_table", keep)
        first = run_pipeline()
    assert [v["variant"] for v in kept["variants"]] == ["panther", "gru"]
    assert len(kept["runs"]) == 4
    assert find_value(kept["metrics"], model="gru", metric="hr@10_difference_vs_panther")["seeds"] == 2
    assert run_pipeline()["ablation_table"] == first["ablation_table"]


def test_grid_goes_on_when_tracking_fails(run_pipeline, tracking, monkeypatch, caplog):
    def refuse(*args, **kwargs):
        raise RuntimeError("no route to host")

    with mlflow.start_run():
        with monkeypatch.context() as patch:
            patch.setattr(mlflow.MlflowClient, "create_run", refuse)
            assert "gru" in run_pipeline(num_seeds=1)["ablation_table"]
        assert sum("goes on untracked" in record.message for record in caplog.records) == 2
        caplog.clear()
        with monkeypatch.context() as patch:
            patch.setattr(mlflow.MlflowClient, "log_batch", refuse)
            patch.setattr(mlflow.MlflowClient, "set_terminated", refuse)
            assert "gru" in run_pipeline(num_seeds=1)["ablation_table"]


def test_failed_training_ends_its_child_as_failed(run_pipeline, tracking, monkeypatch):
    def fail(*args):
        raise TrainingError("not finite")

    monkeypatch.setattr("panther_pipeline.ablation.runs.pretrain", fail)
    with mlflow.start_run() as parent, pytest.raises(TrainingError, match="2 of 2 runs failed"):
        run_pipeline(num_seeds=1)
    assert statuses(parent, tracking) == ["FAILED", "FAILED"]


def test_interrupted_training_ends_its_child_as_killed(run_pipeline, tracking, monkeypatch):
    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("panther_pipeline.ablation.runs.pretrain", stop)
    with mlflow.start_run() as parent, pytest.raises(KeyboardInterrupt):
        run_pipeline(num_seeds=1)
    assert statuses(parent, tracking) == ["KILLED"]


def test_wrong_variant_stops_before_any_training(run_pipeline, monkeypatch):
    monkeypatch.setattr(nodes, "run_grid", lambda *args: pytest.fail("training began"))
    with pytest.raises(ConfigurationError, match=r"ablation\.variants\.typo\.model: unknown key 'mixr'"):
        run_pipeline({"panther": {}, "typo": {"model": {"mixr": "gru"}}})


def test_ablation_is_no_part_of_the_default_run():
    configure_project("panther_pipeline")
    default = {node.name for node in pipelines["__default__"].nodes}
    ablation = {node.name for node in create_pipeline().nodes}
    assert "pretrain_backbone" in default
    assert not default & ablation
    assert {node.name for node in pipelines["ablation"].nodes} == ablation


def test_grid_of_every_environment_can_be_trained(environments, load_config, sequences):
    for env in environments:
        parameters = load_config(env)["parameters"]
        blocks = parameters["pretraining"]
        config = AblationConfig(**parameters["ablation"])
        assert config.environment == env
        everything = config.model_copy(update={"only": None})
        base = Blocks(
            model=ModelConfig(**blocks["model"]),
            loss=LossConfig(**blocks["loss"]),
            training=TrainingConfig(**blocks["training"]),
        )
        grid = plan_grid(everything, base, sequences)
        assert {"panther", "transformer", "gru", "sasrec", "hstu"} <= {variant.name for variant in grid.variants}
        unequal = [variant.name for variant in grid.variants if not grid.is_equal_in_size(variant)]
        assert set(unequal) <= {"hstu"}, env
