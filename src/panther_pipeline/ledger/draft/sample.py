"""Rows of a file to look at: all of a small one, some from everywhere of a large one."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from panther_pipeline.errors import SourceError
from panther_pipeline.ledger.delimited import DelimitedSource
from panther_pipeline.ledger.delimited_format import DelimitedFormat
from panther_pipeline.ledger.draft.blocks import TextBlocks, read_text_blocks
from panther_pipeline.ledger.draft.sniff import FileFormat, kind_of, sniff_text
from panther_pipeline.ledger.excel import ExcelSource
from panther_pipeline.ledger.parquet import open_parquet
from panther_pipeline.ledger.source import Source, SourceAccount

_MOST_ROWS = 600_000  # of a Parquet or Excel file; text is bounded by bytes
_NUM_SLICES = 12


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A part of a file, read by the same reader that ingestion uses."""

    path: Path
    format: FileFormat
    rows: pl.DataFrame  # source_row and the columns: text, or as the file types them
    num_rejects: int  # lines that are no rows
    is_whole: bool
    is_spread: bool  # it reaches to the end of the file

    @property
    def columns(self) -> list[str]:
        return [name for name in self.rows.columns if name != "source_row"]


def read_sample(path: Path) -> Sample:
    """Sniff a file and read a bounded part of it.

    Raises:
        SourceError: it cannot be read; the message says why and what to do.
    """
    kind = kind_of(path)
    if kind == "delimited":
        return _sample_text(path)
    source = open_parquet([path], name=path.name) if kind == "parquet" else ExcelSource(path, name=path.name)
    format = FileFormat(kind=kind)
    if kind == "excel":
        rows, rejects, is_whole = _read_rows(source, _MOST_ROWS)
        return Sample(path=path, format=format, rows=rows, num_rejects=rejects, is_whole=is_whole, is_spread=is_whole)
    rows, is_whole = _slice_parquet(path)
    return Sample(path=path, format=format, rows=rows, num_rejects=0, is_whole=is_whole, is_spread=True)


def _sample_text(path: Path) -> Sample:
    blocks = read_text_blocks(path)
    format = sniff_text(blocks, path)
    encoding = format.options.get("encoding", "utf-8")
    options = {key: value for key, value in format.options.items() if key not in ("encoding", "final_line_end")}
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        copy.write_bytes(_as_utf8(blocks, encoding))
        source = DelimitedSource([copy], name=path.name, format=DelimitedFormat(**options, final_line_end="optional"))
        try:
            rows, rejects, _ = _read_rows(source, None)
        except SourceError as error:
            raise SourceError(str(error).replace(str(copy), str(path))) from error
    rows = rows.slice(1) if format.has_faulty_header else rows
    return Sample(
        path=path, format=format, rows=rows, num_rejects=rejects, is_whole=blocks.is_whole, is_spread=blocks.is_spread
    )


def _as_utf8(blocks: TextBlocks, encoding: str) -> bytes:
    pieces = blocks.pieces[:1] if encoding == "utf-16" else blocks.pieces  # a cut between two bytes would be seen
    if encoding == "utf-8":
        return b"".join(pieces)
    return "".join(piece.decode(encoding, errors="replace") for piece in pieces).encode()


def _read_rows(source: Source, most: int | None) -> tuple[pl.DataFrame, int, bool]:
    tables, rejects, num_rows = [], 0, 0
    for batch in source.batches(source.column_names(), SourceAccount()):
        tables.append(batch.rows)
        rejects += batch.rejects.height
        num_rows += batch.rows.height
        if most and num_rows >= most:
            return pl.concat(tables, rechunk=True), rejects, False
    if not num_rows:
        raise SourceError(f"{source.name} has no row that can be read. Look at the file, or export it again.")
    return pl.concat(tables, rechunk=True), rejects, True


def _slice_parquet(path: Path) -> tuple[pl.DataFrame, bool]:
    table = pl.scan_parquet(path)
    height = table.select(pl.len()).collect().item()
    if not height:
        raise SourceError(f"{path} has no rows. Export it again.")
    if height <= _MOST_ROWS:
        rows = table.collect()
    else:
        size = _MOST_ROWS // _NUM_SLICES
        starts = [round(i * (height - size) / (_NUM_SLICES - 1)) for i in range(_NUM_SLICES)]
        rows = pl.concat([table.slice(start, size).collect() for start in starts])
    return rows.with_row_index("source_row").cast({"source_row": pl.Int64}), height <= _MOST_ROWS
