"""Where rows come from: any table, however long, read in batches and accounted for line by line.

A source numbers what it reads: `source_row` counts physical lines (text files) or rows (tables) from 0 over all files
of the source, in order, so that one number says where a row stands (`locate_row`) and none can be lost unseen.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import polars as pl

from panther_pipeline.cards.numbers import mask_card_numbers
from panther_pipeline.errors import SourceError

BATCH_ROWS = 1 << 18  # rows of a batch: large enough for vectorised work, small beside any memory
REJECT_SCHEMA = {"source_row": pl.Int64, "problem": pl.String, "problem_column": pl.String, "problem_value": pl.String}


class SourceBatch(NamedTuple):
    """A few rows, and the lines among them that are no rows."""

    rows: pl.DataFrame  # `source_row` int64, then the columns asked for: text for text files, typed for tables
    rejects: pl.DataFrame  # REJECT_SCHEMA: lines that could not be cut into fields, with a Reason each


@dataclass(kw_only=True)
class FileAccount:
    """What became of every line of a file (a table's rows are its lines)."""

    file: str  # its name, without folders, a card number in it masked
    first_row: int  # source_row of its first line
    lines: int = 0  # physical lines; = header + blank + continuation + rows + rejected
    header: int = 0
    blank: int = 0
    continuation: int = 0  # further lines of rows whose quoted text holds line ends
    rows: int = 0
    rejected: int = 0


@dataclass(kw_only=True)
class SourceAccount:
    """Filled while a source is read; complete when its batches are used up."""

    files: list[FileAccount] = field(default_factory=list)

    def open_file(self, name: str) -> FileAccount:
        """The account of the next file, which begins where the last one ended."""
        last = self.files[-1] if self.files else None
        shown = mask_card_numbers(name)  # it is written wherever a row is told
        self.files.append(FileAccount(file=shown, first_row=last.first_row + last.lines if last else 0))
        return self.files[-1]

    def as_json(self) -> dict[str, Any]:
        totals = {key: sum(getattr(f, key) for f in self.files) for key in ("lines", "header", "blank", "rows")}
        return {**totals, "files": [asdict(file) for file in self.files]}


class Source(Protocol):
    """What ingestion reads: a name, columns, batches."""

    name: str

    def column_names(self) -> list[str]:
        """The header, checked; reads no more than that."""

    def batches(self, columns: Sequence[str], account: SourceAccount) -> Iterator[SourceBatch]:
        """All rows in order, with these columns only, filling `account` on the way."""

    def original_lines(self, source_rows: Sequence[int]) -> list[str | None]:
        """The text of these lines as it stands in the file; null where a table has none."""


class TableSource:
    """A table in memory or a lazy scan of one (Parquet, a simulator): every row is a row.

    Args:
        table: the table; a LazyFrame is read in batches and never held as a whole.
        name: what messages call it.
    """

    def __init__(self, table: pl.DataFrame | pl.LazyFrame, *, name: str) -> None:
        self.name = name
        self._table = table

    def column_names(self) -> list[str]:
        return self._table.lazy().collect_schema().names()

    def batches(self, columns: Sequence[str], account: SourceAccount) -> Iterator[SourceBatch]:
        file = account.open_file(self.name)
        if isinstance(self._table, pl.DataFrame):
            chunks = self._table.select(columns).iter_slices(BATCH_ROWS)
        else:
            chunks = self._table.select(columns).collect_batches(chunk_size=BATCH_ROWS, maintain_order=True)
        for chunk in self._readable(chunks):
            start = file.first_row + file.lines
            numbers = pl.Series("source_row", np.arange(start, start + chunk.height, dtype=np.int64))
            file.lines += chunk.height
            file.rows += chunk.height
            rows = pl.DataFrame([numbers, *chunk.rechunk().get_columns()])
            yield SourceBatch(rows, pl.DataFrame(schema=REJECT_SCHEMA))

    def _readable(self, chunks: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        try:
            yield from chunks
        except pl.exceptions.PolarsError as error:
            raise SourceError(f"{self.name} cannot be read: {error}. Copy or export the file again.") from error

    def original_lines(self, source_rows: Sequence[int]) -> list[str | None]:
        return [None] * len(source_rows)


def as_source(table: Any, name: str) -> Source:
    """A source, or a polars table as one.

    Raises:
        SourceError: neither; names the type and the catalog.
    """
    if isinstance(table, pl.DataFrame | pl.LazyFrame):
        return TableSource(table, name=name)
    if all(hasattr(table, method) for method in ("column_names", "batches", "original_lines")):
        return table
    raise SourceError(
        f"{name} is a {type(table).__name__}; a ledger's source must load as a polars table or be one of "
        "panther_pipeline.datasets.DelimitedDataset, ExcelDataset, ParquetDataset. Correct its type in the catalog."
    )


def main_source(raw: Any, table: str | None, entry: str) -> Source:
    """The table that comes first: `raw` itself, or of several the one that the schema names.

    Raises:
        SourceError: several and none named, or the named one is not there.
    """
    if not isinstance(raw, Mapping):
        return as_source(raw, entry)
    if table not in raw:
        raise SourceError(
            f"{entry} has the tables {', '.join(raw)}; the schema says that '{table}' comes first. Name one of them in "
            "ledger.schema.table (for profiles: ledger.schema.profiles.table)."
        )
    return as_source(raw[table], table)


def locate_row(account: dict[str, Any], source_row: int) -> tuple[str, int]:
    """File and line (from 1) of a row, from `SourceAccount.as_json`.

    Raises:
        ValueError: the source has no such row.
    """
    for file in account["files"]:
        line = source_row - file["first_row"] + 1
        if 1 <= line <= file["lines"]:
            return file["file"], line
    raise ValueError(f"row {source_row} is not one of the {account['lines']} lines of the source")
