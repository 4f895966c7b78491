"""Atomic datasets: what the stock ones do, minus half-written files."""

import json
import os

import plotly.graph_objects as go
import polars as pl
import pytest
from kedro.io import DatasetError

from panther_pipeline.datasets import (
    ArtifactDataset,
    EmptyTableDataset,
    HTMLDataset,
    JSONDataset,
    PlotDataset,
    SourceArtifactDataset,
    TableDataset,
)
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.model.config import ModelConfig

CASES = {
    TableDataset: ("t.parquet", pl.DataFrame({"a": [1, 2]})),
    JSONDataset: ("t.json", {"a": [1, 2]}),
    PlotDataset: ("p.json", go.Figure(data=[go.Bar(y=[1, 2])])),
    HTMLDataset: ("t.html", "<p>ü</p>"),
}


@pytest.mark.parametrize("kind", CASES, ids=lambda kind: kind.__name__)
def test_atomic_dataset_round_trips_and_leaves_no_stray(kind, tmp_path):
    name, value = CASES[kind]
    dataset = kind(filepath=str(tmp_path / "deep" / name))
    assert not dataset.exists()
    dataset.save(value)
    dataset.save(value)
    loaded = dataset.load()
    assert loaded.equals(value) if isinstance(value, pl.DataFrame) else loaded == value
    assert os.listdir(tmp_path / "deep") == [name]


def test_failed_save_leaves_old_content(tmp_path):
    dataset = JSONDataset(filepath=str(tmp_path / "t.json"))
    dataset.save({"old": 1})
    with pytest.raises(DatasetError):
        dataset.save({"new": object()})
    assert json.loads((tmp_path / "t.json").read_text()) == {"old": 1}
    assert os.listdir(tmp_path) == ["t.json"]


def test_table_preview_reads_the_published_file(tmp_path):
    dataset = TableDataset(filepath=str(tmp_path / "t.parquet"))
    dataset.save(pl.DataFrame({"a": range(10)}))
    assert len(dataset.preview(nrows=3)["data"]) == 3


def test_unknown_artifact_kind_lists_the_allowed():
    with pytest.raises(DatasetError, match="allowed: backbone"):
        ArtifactDataset(filepath="x", artifact="os:system")


def test_empty_table_cannot_be_written():
    dataset = EmptyTableDataset(reason="there is none")
    assert dataset.exists()
    assert dataset.load().is_empty()
    with pytest.raises(DatasetError, match="there is none"):
        dataset.save(pl.DataFrame())


def test_source_artifact_is_another_ledgers_and_only_read(tmp_path):
    backbone = Backbone(ModelConfig(dim=8, num_layers=1), vocab_size=4, attribute_sizes=[3], profile_sizes=[])
    backbone.save(tmp_path / "theirs" / "backbone")
    entry = {"path": str(tmp_path), "name": "backbone", "artifact": "backbone"}
    source = SourceArtifactDataset(ledger="theirs", **entry)
    assert source.exists()
    assert source.load().digest == backbone.digest
    with pytest.raises(DatasetError, match="only read"):
        source.save(backbone)
    assert not SourceArtifactDataset(ledger="nobodys", **entry).exists()


def test_no_source_ledger_is_none(tmp_path):
    nothing = SourceArtifactDataset(ledger=None, path=str(tmp_path), name="backbone", artifact="backbone")
    assert nothing.exists()
    assert nothing.load() is None
