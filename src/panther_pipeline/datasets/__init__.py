"""Kedro datasets of this project: atomic tables, artifacts, and sources that need no file."""

from panther_pipeline.datasets.artifact import ArtifactDataset, CheckpointDataset
from panther_pipeline.datasets.atomic import HTMLDataset, JSONDataset, PlotDataset, TableDataset
from panther_pipeline.datasets.code_version import CodeVersionDataset
from panther_pipeline.datasets.empty import EmptyTableDataset

__all__ = [
    "ArtifactDataset",
    "CheckpointDataset",
    "CodeVersionDataset",
    "EmptyTableDataset",
    "HTMLDataset",
    "JSONDataset",
    "PlotDataset",
    "TableDataset",
]
