"""`pretrain` on an in-memory catalog, with the parameters of every environment."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from pydantic import ValidationError

from panther_pipeline.datasets import SourceArtifactDataset
from panther_pipeline.errors import TrainingError
from panther_pipeline.ledger.splits import TRAIN, VALID
from panther_pipeline.lock import taken
from panther_pipeline.model.config import ModelConfig
from panther_pipeline.pipelines.pretrain import create_pipeline
from panther_pipeline.pipelines.pretrain.nodes import pretrain_backbone
from panther_pipeline.report.training_plot import plot_training_curves
from panther_pipeline.training.checkpoint import CheckpointFolder
from panther_pipeline.training.config import LossConfig, TrainingConfig, TransferConfig
from panther_pipeline.training.pretraining import pretrain

NO_SOURCE = SourceArtifactDataset(ledger=None, path="nowhere", name="backbone", artifact="backbone")


@pytest.fixture
def sequences():
    path = Path(__file__).parents[1] / "fixtures" / "histories.py"
    return runpy.run_path(str(path))["random_sequences"]()


def make_tokenizer(kind: str) -> SimpleNamespace:
    return SimpleNamespace(kind=kind, content=SimpleNamespace(train_end="2024-08-01"))


@pytest.fixture(params=["structured", "factored"])
def kind(request):
    return request.param


@pytest.fixture
def run_pretrain(sequences, kind, tmp_path):
    torch.set_num_threads(1)
    model = ModelConfig(dim=16, num_layers=1, num_heads=2, max_events=16, num_prototypes=4)
    loss = LossConfig(contrastive_weight=0.2)
    training = TrainingConfig(max_steps=4, warmup_steps=1, log_every=2, eval_every=2, batch_size=8, num_threads=1)
    catalog = DataCatalog(
        {
            "token_sequences": MemoryDataset(sequences, copy_mode="assign"),
            "tokenizer": MemoryDataset(make_tokenizer(kind), copy_mode="assign"),
            "pretraining_checkpoints": MemoryDataset(CheckpointFolder(tmp_path), copy_mode="assign"),
            "source_backbone": NO_SOURCE,
            "source_tokenizer": NO_SOURCE,
            "params:pretraining.model": MemoryDataset(model),
            "params:pretraining.loss": MemoryDataset(loss),
            "params:pretraining.training": MemoryDataset(training),
            "params:pretraining.transfer": MemoryDataset(
                TransferConfig(ledger="own", source=None, allow_later_source=False)
            ),
        }
    )
    outputs = SequentialRunner().run(create_pipeline(), catalog)
    expected = pretrain(sequences, model, loss, training, tokenizer_kind=kind)
    return {name: dataset.load() for name, dataset in outputs.items()}, expected


def test_pretrain_gives_the_librarys_backbone_and_curves(run_pretrain, sequences, kind):
    outputs, (backbone, _) = run_pretrain
    assert outputs["transfer_report"] == {"source": None}
    assert outputs["backbone"].digest == backbone.digest
    assert outputs["backbone"].tokenizer_kind == kind
    assert outputs["backbone"].tokenizer_digest == sequences.tokenizer_digest
    assert not outputs["backbone"].training
    newest_us = int(sequences.time_us_N[np.isin(sequences.split_N, (TRAIN, VALID))].max())
    assert outputs["backbone"].learnt_until == str(np.datetime64(newest_us, "us"))


def test_two_trainings_into_one_folder_are_refused(sequences, tmp_path):
    with taken(tmp_path) as is_ours:
        assert is_ours
        with pytest.raises(TrainingError, match=r"another process is training into .*ledger_name"):
            pretrain_backbone(
                sequences, None, CheckpointFolder(tmp_path), None, None, ModelConfig(), LossConfig(), TrainingConfig(),
                TransferConfig(ledger="own", source=None, allow_later_source=False),
            )  # fmt: skip


def test_training_plot_shows_every_metric_once(run_pretrain):
    _, (_, curves) = run_pretrain
    figure = plot_training_curves(curves)
    assert isinstance(figure, go.Figure)
    names = {trace.name for trace in figure.data}
    assert names == set(curves["metric"]) - {"train_loss"}
    hit_rate = next(trace for trace in figure.data if trace.name == "valid_hr@10")
    assert list(hit_rate.y) == curves.filter(metric="valid_hr@10")["value"].to_list()


def test_training_plot_of_no_curves_is_empty(run_pretrain):
    _, (_, curves) = run_pretrain
    assert len(plot_training_curves(curves.clear()).data) == 0


def test_parameters_of_every_environment_build(environments, load_config):
    for env in environments:
        block = load_config(env)["parameters"]["pretraining"]
        ModelConfig(**block["model"])
        LossConfig(**block["loss"])
        TrainingConfig(**block["training"])
        assert TransferConfig(**block["transfer"]).source is None


def test_named_source_is_what_the_catalog_reads(load_config):
    config = load_config(runtime_params={"source_ledger": "berka_1993"})
    assert TransferConfig(**config["parameters"]["pretraining"]["transfer"]).source == "berka_1993"
    assert {config["catalog"][name]["ledger"] for name in ("source_backbone", "source_tokenizer")} == {"berka_1993"}


@pytest.mark.parametrize(
    "stated", [{"source_ledger": "simulated"}, {"ledger_name": "branch", "source_ledger": "branch"}]
)
def test_ledger_of_the_run_is_refused_as_its_own_source(load_config, stated):
    transfer = load_config(runtime_params=stated)["parameters"]["pretraining"]["transfer"]
    with pytest.raises(ValidationError, match="the ledger that is trained itself"):
        TransferConfig(**transfer)


def test_base_parameters_name_every_field(load_config):
    block = load_config()["parameters"]["pretraining"]
    assert set(block["model"]) == set(ModelConfig.model_fields)
    assert set(block["loss"]) == set(LossConfig.model_fields)
    assert set(block["training"]) == set(TrainingConfig.model_fields)
    assert set(block["transfer"]) == set(TransferConfig.model_fields)
