"""Kedro datasets of this project: atomic tables, artifacts, and sources that need no file."""

from panther_pipeline.datasets.artifact import (
    ArtifactDataset,
    CheckpointDataset,
    RunStoreDataset,
    SourceArtifactDataset,
)
from panther_pipeline.datasets.atomic import (
    HTMLDataset,
    JSONDataset,
    LongTableDataset,
    PlotDataset,
    TableDataset,
    TextDataset,
)
from panther_pipeline.datasets.code_version import CodeVersionDataset
from panther_pipeline.datasets.delimited import DelimitedDataset, ExcelDataset, ParquetDataset
from panther_pipeline.datasets.empty import EmptyTableDataset
from panther_pipeline.datasets.fraud_kinds import FraudKindsDataset
from panther_pipeline.datasets.tables import TablesDataset

__all__ = [
    "ArtifactDataset",
    "CheckpointDataset",
    "CodeVersionDataset",
    "DelimitedDataset",
    "EmptyTableDataset",
    "ExcelDataset",
    "FraudKindsDataset",
    "HTMLDataset",
    "JSONDataset",
    "LongTableDataset",
    "ParquetDataset",
    "PlotDataset",
    "RunStoreDataset",
    "SourceArtifactDataset",
    "TableDataset",
    "TablesDataset",
    "TextDataset",
]
