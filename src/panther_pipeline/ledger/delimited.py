"""Delimited text files as a source: every physical line is a row, or is accounted for with the reason why not."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from panther_pipeline.errors import SourceError
from panther_pipeline.ledger.ahead import read_ahead
from panther_pipeline.ledger.delimited_format import UNIT_SEPARATOR, DelimitedFormat
from panther_pipeline.ledger.delimited_header import Header, read_header, read_headers, split_record
from panther_pipeline.ledger.delimited_lines import read_line_blocks, show_lines
from panther_pipeline.ledger.delimited_scan import BLANK, ROW, Layout, Records, reason_of, scan_block
from panther_pipeline.ledger.source import BATCH_ROWS, REJECT_SCHEMA, FileAccount, SourceAccount, SourceBatch

_EXCERPT_BYTES, _EXCERPT_CHARS = 400, 40
_LINE_BYTES, _LINE_CHARS = 8000, 2000


class DelimitedSource:
    """One or many delimited text files with the same header, plain or gzip, read in their sorted order.

    A cell comes out as the text that stands in the file: `007`, `NA`, `1e999` and white space stay what they are; an
    empty cell is null.

    Args:
        files: the files.
        name: what messages call the source.
        format: how they are written.

    Raises:
        SourceError: there is no file.

    Example:
        >>> source = DelimitedSource([Path("payments.csv")], name="payments", format=DelimitedFormat(separator=";"))
        >>> for batch in source.batches(["customer", "amount"], account := SourceAccount()):
        ...     process(batch.rows, batch.rejects)
    """

    def __init__(self, files: Sequence[Path], *, name: str, format: DelimitedFormat | None = None) -> None:
        if not files:
            raise SourceError(f"{name}: no file to read. Correct filepath in the catalog.")
        self.name = name
        self.files = sorted(files)
        self.format = format or DelimitedFormat()

    def column_names(self) -> list[str]:
        return read_headers(self.files, self.format)[0].names

    def batches(self, columns: Sequence[str], account: SourceAccount) -> Iterator[SourceBatch]:
        """All rows in order, with these columns only, filling `account` on the way.

        Raises:
            SourceError: a header is wrong, a column is missing, or a file turns out to be damaged.
        """
        names = self.column_names()
        if missing := [column for column in columns if column not in names]:
            raise SourceError(f"{self.files[0]}, line 1: there is no column {missing}; the header has {names}.")
        for path in self.files:
            yield from _FileReader(path, self.format, columns).batches(account.open_file(path.name))

    def original_lines(self, source_rows: Sequence[int]) -> list[str | None]:
        """The text of these lines, long numbers masked, cut to 2000 characters.

        Raises:
            SourceError: there are fewer lines than that: the files have changed.
        """
        wanted, found, first_row = np.unique(np.asarray(source_rows, dtype=np.int64)), [], 0
        for path in self.files:
            with closing(read_line_blocks(path, self.format)) as blocks:
                for block in blocks:
                    if len(found) == len(wanted):
                        break
                    num_lines = block.count(b"\n") + (not block.endswith(b"\n"))
                    here = wanted[(wanted >= first_row) & (wanted < first_row + num_lines)]
                    found += _pick_lines(block, here - first_row)
                    first_row += num_lines
        if len(found) < len(wanted):
            raise SourceError(
                f"{self.files[-1]}: the source ends after {first_row} lines, but line {wanted[-1] + 1} was read from "
                "it before: the files changed in between. Run again from 'ingest'."
            )
        shown = show_lines(found, self.format, _LINE_BYTES).str.slice(0, _LINE_CHARS)
        by_row = dict(zip(wanted.tolist(), shown, strict=True))
        return [by_row[row] for row in source_rows]


class _FileReader:
    """Reads one file into batches."""

    def __init__(self, path: Path, format: DelimitedFormat, columns: Sequence[str]) -> None:
        self.path, self.format, self.columns = path, format, list(columns)

    def batches(self, file: FileAccount) -> Iterator[SourceBatch]:
        header = read_header(self.path, self.format)
        layout = _layout(header, self.format)
        file.lines = file.header = int(header.line is not None)
        for block, records in self._scanned_blocks(header, layout):
            first_row = file.first_row + file.lines
            _add_to_account(file, records)
            rows = self._parse(block, records, header.names, first_row)
            is_row_R, num_done = records.codes_R == ROW, 0
            # Cut at the same lines, so that rows and rejects of a batch lie before all of the next.
            for start in range(0, len(is_row_R), BATCH_ROWS):
                num_rows = int(np.count_nonzero(is_row_R[start : start + BATCH_ROWS]))
                rejects = self._describe_rejects(block, records, first_row, start)
                yield SourceBatch(rows.slice(num_done, num_rows), rejects)
                num_done += num_rows

    def _scanned_blocks(self, header: Header, layout: Layout) -> Iterator[tuple[bytes, Records]]:
        held, skip = b"", header.num_bytes  # held: the begun record at the end of a block
        with closing(read_ahead(read_line_blocks(self.path, self.format))) as blocks:
            for block in blocks:
                block, skip = held + block[skip:], 0
                is_last = not block.endswith(b"\n")
                is_cut = is_last and self.format.final_line_end == "required"
                block = block + b"\n" if is_last and block else block
                records = scan_block(block, layout, is_last=is_last, is_terminated=not is_cut)
                held = block[records.num_bytes :]
                yield block, records
        if held:
            yield held, scan_block(held, layout, is_last=True)

    def _parse(self, block: bytes, records: Records, names: list[str], first_row: int) -> pl.DataFrame:
        is_row_R = records.codes_R == ROW
        row_numbers = first_row + records.first_line_R[is_row_R]
        if not len(row_numbers):
            return self._no_rows()
        text = _without(block, records, is_row_R)
        table = self._parse_fast(text, names, records.has_quotes)
        if table is None or table.height != len(row_numbers):
            table = self._parse_slowly(block, records, is_row_R, names)
        return table.select(pl.Series("source_row", row_numbers), *self.columns)

    def _parse_fast(self, text: bytes, names: list[str], has_quotes: bool) -> pl.DataFrame | None:
        try:
            table = pl.read_csv(
                text,
                has_header=False,
                schema=dict.fromkeys(names, pl.String),
                columns=sorted({names.index(column) for column in self.columns}),
                separator=self.format.separator_byte.decode(),
                quote_char=self.format.quote,
            )
        except pl.exceptions.PolarsError:
            return None
        if has_quotes and self.format.replaces_separator:
            stand_in = UNIT_SEPARATOR.decode()
            table = table.with_columns(pl.all().str.replace_all(stand_in, self.format.separator, literal=True))
        return table

    def _parse_slowly(self, block: bytes, records: Records, is_row_R: np.ndarray, names: list[str]) -> pl.DataFrame:
        """Record by record, for a block about whose rows the fast parser is of another opinion."""
        spans = zip(records.starts_R[is_row_R], records.ends_R[is_row_R], strict=True)
        rows = [split_record(block[start:end].removesuffix(b"\r"), self.format) for start, end in spans]
        table = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")
        return table.with_columns(pl.all().replace("", None))

    def _describe_rejects(self, block: bytes, records: Records, first_row: int, start: int) -> pl.DataFrame:
        """Those among the `BATCH_ROWS` records from `start` on."""
        rejected = start + np.flatnonzero(records.codes_R[start : start + BATCH_ROWS] > BLANK)
        lines = [block[records.starts_R[r] : records.ends_R[r]].removesuffix(b"\r") for r in rejected]
        content: dict[str, Any] = {
            "source_row": first_row + records.first_line_R[rejected],
            "problem": [reason_of(code).value for code in records.codes_R[rejected].tolist()],
            "problem_column": [None] * len(rejected),
            "problem_value": show_lines(lines, self.format, _EXCERPT_BYTES).str.slice(0, _EXCERPT_CHARS),
        }
        return pl.DataFrame(content, schema=REJECT_SCHEMA)

    def _no_rows(self) -> pl.DataFrame:
        return pl.DataFrame(schema={"source_row": pl.Int64, **dict.fromkeys(self.columns, pl.String)})


def _layout(header: Header, format: DelimitedFormat) -> Layout:
    return Layout(
        separator=format.separator_byte[0],
        quote=format.quote_byte[0] if format.quote_byte else None,
        num_fields=len(header.names),
        header=header.line,
        most_breaks=format.quoted_line_breaks,
    )


def _add_to_account(file: FileAccount, records: Records) -> None:
    num_rows, num_blank = (int(np.count_nonzero(records.codes_R == code)) for code in (ROW, BLANK))
    file.lines += records.num_lines
    file.continuation += records.num_lines - len(records.codes_R)
    file.rows += num_rows
    file.blank += num_blank
    file.rejected += len(records.codes_R) - num_rows - num_blank


def _without(block: bytes, records: Records, is_row_R: np.ndarray) -> bytes:
    """The rows of a block with their line ends, all else removed."""
    if is_row_R.all():
        return block[: records.num_bytes]
    lengths_R = records.ends_R + 1 - records.starts_R
    is_kept = np.repeat(is_row_R, lengths_R)
    return np.frombuffer(block, dtype=np.uint8)[: records.num_bytes][is_kept].tobytes()


def _pick_lines(block: bytes, lines: np.ndarray) -> list[bytes]:
    if not len(lines):
        return []
    text = block if block.endswith(b"\n") else block + b"\n"
    ends = np.flatnonzero(np.frombuffer(text, dtype=np.uint8) == ord("\n"))
    starts = np.concatenate([[0], ends[:-1] + 1])
    return [text[starts[i] : ends[i]].removesuffix(b"\r") for i in lines]
