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
    TableDataset,
)

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
