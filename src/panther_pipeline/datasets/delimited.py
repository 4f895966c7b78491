"""Sources in files: delimited text, Excel, Parquet. Loading opens and describes them; rows are read by ingestion."""

from glob import glob
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError
from pydantic import ValidationError

from panther_pipeline.cards.numbers import mask_card_numbers
from panther_pipeline.ledger.delimited import DelimitedSource
from panther_pipeline.ledger.delimited_format import DelimitedFormat
from panther_pipeline.ledger.excel import ExcelSource
from panther_pipeline.ledger.parquet import open_parquet
from panther_pipeline.ledger.source import Source, TableSource


class _SourceFiles(AbstractDataset[None, Source]):
    """Files that are read and never written."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None):
        self._filepath = str(filepath)
        self.metadata = metadata

    @property
    def _shown(self) -> str:
        """The path as messages and logs may name it."""
        return mask_card_numbers(self._filepath)

    def save(self, data: None) -> None:
        raise DatasetError(f"{self._shown} is a source: it is read, never written.")

    def _files(self) -> list[Path]:
        """The file, or all that the pattern fits, sorted.

        Raises:
            DatasetError: there is none.
        """
        files = self._matches()
        if not files:
            raise DatasetError(
                f"There is no file {self._shown}. Put the ledger's files there, or correct filepath in the catalog "
                "(`*` and `**` match several files)."
            )
        return files

    def _matches(self) -> list[Path]:
        if Path(self._filepath).is_file():  # first, since a file's name may look like a pattern
            return [Path(self._filepath)]
        return sorted(path for path in map(Path, glob(self._filepath, recursive=True)) if path.is_file())

    def _exists(self) -> bool:
        return bool(self._matches())

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._shown}


class DelimitedDataset(_SourceFiles):
    """Delimited text, plain or gzip, in one file or many with the same header.

    Example in a catalog:

    ```yaml
    raw_transactions:
      type: panther_pipeline.datasets.DelimitedDataset
      filepath: data/01_raw/payments_*.csv.gz
      separator: ";"
      encoding: cp1250
    ```

    Args:
        filepath: a file, or a pattern that fits several.
        metadata: for Kedro-Viz and run tracking.
        **options: the fields of `DelimitedFormat`.

    Raises:
        DatasetError: an option does not fit; the message lists all that do not.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None, **options: Any):
        super().__init__(filepath=filepath, metadata=metadata)
        try:
            self._format = DelimitedFormat(**options)
        except ValidationError as error:
            raise DatasetError(f"{self._shown}: the description of the file does not fit: {_explain(error)}") from error

    def load(self) -> DelimitedSource:
        return DelimitedSource(self._files(), name=Path(self._filepath).name, format=self._format)

    def _describe(self) -> dict[str, Any]:
        return {**super()._describe(), **self._format.model_dump()}


class ExcelDataset(_SourceFiles):
    """One sheet of an Excel workbook.

    Args:
        filepath: one file: xlsx, xls, xlsb or ods.
        sheet: the sheet's name; the first one if not given.
        metadata: for Kedro-Viz and run tracking.
    """

    def __init__(self, *, filepath: str, sheet: str | None = None, metadata: dict[str, Any] | None = None):
        super().__init__(filepath=filepath, metadata=metadata)
        self._sheet = sheet

    def load(self) -> ExcelSource:
        files = self._files()
        if len(files) > 1:
            raise DatasetError(f"{self._shown} fits {len(files)} workbooks; an ExcelDataset reads one. Name it.")
        return ExcelSource(files[0], name=files[0].name, sheet=self._sheet)

    def _describe(self) -> dict[str, Any]:
        return {**super()._describe(), "sheet": self._sheet}


class ParquetDataset(_SourceFiles):
    """Parquet in one file or many with the same columns.

    Args:
        filepath: a file, or a pattern that fits several.
        metadata: for Kedro-Viz and run tracking.
    """

    def load(self) -> TableSource:
        return open_parquet(self._files(), name=Path(self._filepath).name)


def _explain(error: ValidationError) -> str:
    return "; ".join(": ".join([*map(str, e["loc"]), e["msg"]]) for e in error.errors())
