"""File datasets whose save replaces the old content in one step, or leaves it untouched.

Kedro's own file datasets write in place: a run killed while it saves leaves a file that exists and does not load, or,
for CSV, loads and is silently short. Each class here is the stock dataset with its save redirected through
`publish_file`; loading and the previews of Kedro-Viz are inherited.
"""

import copy
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl
from kedro.io import AbstractDataset
from kedro_datasets.json import JSONDataset as _StockJSON
from kedro_datasets.plotly import JSONDataset as _StockPlot
from kedro_datasets.polars import EagerPolarsDataset as _StockTable
from kedro_datasets.text import TextDataset as _StockText

from panther_pipeline.ledger.source import BATCH_ROWS
from panther_pipeline.publish import publish_file


class _AtomicSave:
    """Mixin for a Kedro file dataset: save into a hidden sibling, then rename it over the old file."""

    _filepath: PurePosixPath

    def save(self, data: Any) -> None:
        publish_file(Path(self._filepath), lambda partial: self._save_as(partial, data))

    def _save_as(self, path: Path, data: Any) -> None:
        twin = copy.copy(self)
        twin._filepath = PurePosixPath(path.as_posix())
        super(_AtomicSave, twin).save(data)  # type: ignore[misc]


class TableDataset(_AtomicSave, _StockTable):
    """A polars DataFrame as Parquet."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None):
        super().__init__(filepath=filepath, file_format="parquet", metadata=metadata)


class LongTableDataset(AbstractDataset[pl.DataFrame | pl.LazyFrame, pl.LazyFrame]):
    """A table of any length as Parquet: written batch by batch, loaded as a lazy scan.

    Kedro's LazyPolarsDataset collects the whole table before it writes.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None):
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> pl.LazyFrame:
        return pl.scan_parquet(self._filepath, glob=False)

    def save(self, data: pl.DataFrame | pl.LazyFrame) -> None:
        publish_file(self._filepath, lambda partial: self._write(partial, data))

    def _write(self, path: Path, data: pl.DataFrame | pl.LazyFrame) -> None:
        # Row groups as long as the batches that later stages read; lz4, since it is read again at once.
        data.lazy().sink_parquet(path, compression="lz4", row_group_size=BATCH_ROWS, maintain_order=True)

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class JSONDataset(_AtomicSave, _StockJSON):
    """JSON-able values; NaN and infinity are refused."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None):
        save_args = {"indent": 2, "ensure_ascii": False, "allow_nan": False}
        super().__init__(filepath=filepath, save_args=save_args, metadata=metadata)


class PlotDataset(_AtomicSave, _StockPlot):
    """A Plotly figure as JSON; Kedro-Viz draws it."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None):
        super().__init__(filepath=filepath, metadata=metadata)


class TextDataset(_AtomicSave, _StockText):
    """Text in UTF-8, such as Markdown."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None):
        super().__init__(filepath=filepath, fs_args={"open_args_save": {"encoding": "utf-8"}}, metadata=metadata)


class HTMLDataset(TextDataset):
    """A page that opens offline."""
