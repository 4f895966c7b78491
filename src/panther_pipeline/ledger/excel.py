"""One sheet of an Excel workbook as a source of text, cell by cell as it is stored."""

import datetime
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import polars as pl
from python_calamine import CalamineError, CalamineSheet, CalamineWorkbook

from panther_pipeline.errors import SourceError
from panther_pipeline.ledger.reasons import Reason
from panther_pipeline.ledger.source import BATCH_ROWS, REJECT_SCHEMA, SourceAccount, SourceBatch
from panther_pipeline.ledger.values import mask_long_numbers, mask_values

_FIRST_LOST_NUMBER = 10**15  # Excel keeps 15 digits: a longer number was rounded when it was typed
_LINE_CHARS = 2000


class ExcelSource:
    """The rows of one sheet; its first row with content is the header.

    Cells come out as text: integers without `.0`, other numbers in their shortest exact form, days and instants in ISO
    form, `true` and `false`. An empty cell is null, and so is one that shows an error such as #N/A.

    Args:
        file: xlsx, xls, xlsb or ods.
        name: what messages call the source.
        sheet: the sheet's name; the first one if not given.
    """

    def __init__(self, file: Path, *, name: str, sheet: str | None = None) -> None:
        self.name, self.file, self.sheet = name, file, sheet

    def column_names(self) -> list[str]:
        return self._read_header()[1]

    def batches(self, columns: Sequence[str], account: SourceAccount) -> Iterator[SourceBatch]:
        """All rows in order, with these columns only, filling `account` on the way.

        Raises:
            SourceError: the header is wrong, a column is missing, or a cell holds a number whose digits are lost.
        """
        header_at, names, rows = self._read_header()
        if missing := [column for column in columns if column not in names]:
            raise SourceError(
                f"{self.file}, row {header_at + 1}: there is no column {missing}; the header has {names}. "
                "Correct ledger.schema."
            )
        file = account.open_file(self.file.name)
        file.lines, file.blank, file.header = header_at + 1, header_at, 1
        while some := list(islice(rows, BATCH_ROWS)):
            texts = [(i, self._row_text(i, row, names)) for i, row in enumerate(some, file.lines) if _has_content(row)]
            good = [(file.first_row + i, *text[: len(names)]) for i, text in texts if not any(text[len(names) :])]
            bad = [(file.first_row + i, text) for i, text in texts if any(text[len(names) :])]
            file.lines += len(some)
            file.blank += len(some) - len(texts)
            file.rows += len(good)
            file.rejected += len(bad)
            schema = {"source_row": pl.Int64, **dict.fromkeys(names, pl.String)}
            table = pl.DataFrame(good, schema=schema, orient="row")
            yield SourceBatch(table.select("source_row", *columns), _describe_rejects(bad))

    def original_lines(self, source_rows: Sequence[int]) -> list[str | None]:
        """The cells of these rows with tabs between them, long numbers masked, cut to 2000 characters.

        Raises:
            SourceError: there are fewer rows than that: the file has changed.
        """
        wanted, found = set(source_rows), {}
        for i, row in enumerate(self._open_sheet().iter_rows()):
            if i in wanted:
                found[i] = "\t".join(_cell_text(cell) or "" for cell in row)
        if len(found) < len(wanted):
            raise SourceError(
                f"{self.file}: row {max(wanted) + 1} was read before and is not there now: the file has changed. "
                "Run again from 'ingest'."
            )
        lines = pl.Series([found[row] for row in source_rows], dtype=pl.String)
        return mask_long_numbers(lines).str.slice(0, _LINE_CHARS).to_list()

    def _read_header(self) -> tuple[int, list[str], Iterator[list[Any]]]:
        """Position of the header, its names, and the rows behind it."""
        rows = self._open_sheet().iter_rows()
        at, header = next(((i, row) for i, row in enumerate(rows) if _has_content(row)), (0, []))
        first_row = next(rows, None)
        if first_row is None:
            raise SourceError(
                f"{self.file}: the sheet has no row after the header. Name another one with `sheet` in the catalog."
            )
        names = [_cell_text(cell) or "" for cell in header]
        while not names[-1].strip():
            names.pop()
        faults = [f"column {_letters(i)} has no name" for i, name in enumerate(names) if not name.strip()]
        faults += [f"{name!r} stands there twice" for i, name in enumerate(names) if name.strip() and name in names[:i]]
        if faults:
            raise SourceError(
                f"{self.file}, row {at + 1}: {'; '.join(faults[:5])}. "
                "Every column needs a name of its own: correct the header."
            )
        return at, names, chain([first_row], rows)

    def _open_sheet(self) -> CalamineSheet:
        try:
            book = CalamineWorkbook.from_path(self.file)
            if self.sheet is None:
                return book.get_sheet_by_index(0)
            if self.sheet in book.sheet_names:
                return book.get_sheet_by_name(self.sheet)
        except (CalamineError, OSError) as error:
            raise SourceError(
                f"{self.file} cannot be read as an Excel workbook: {error}. "
                "Check the path; save the file again without a password, or export it as CSV."
            ) from error
        raise SourceError(
            f"{self.file} has no sheet '{self.sheet}'; its sheets are {book.sheet_names}. "
            "Correct `sheet` in the catalog."
        )

    def _row_text(self, i: int, row: Sequence[Any], names: Sequence[str]) -> list[str | None]:
        for j, cell in enumerate(row):
            if isinstance(cell, float) and abs(cell) >= _FIRST_LOST_NUMBER:
                column = f"{_letters(j)} ({names[j]})" if j < len(names) else _letters(j)
                raise SourceError(
                    f"{self.file}, row {i + 1}, column {column}: a number of 16 digits or more; Excel keeps 15, so "
                    "its last digits are lost and different ids may have become one. Export the column as text from "
                    "where it comes from."
                )
        return [_cell_text(cell) for cell in row]


def _cell_text(cell: Any) -> str | None:
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() else repr(cell)
    if isinstance(cell, datetime.date | datetime.datetime | datetime.time):
        return cell.isoformat()
    return str(cell) or None


def _has_content(row: Sequence[Any]) -> bool:
    return any(not isinstance(cell, str) or cell.strip() for cell in row)


def _describe_rejects(rows: list[tuple[int, list[str | None]]]) -> pl.DataFrame:
    """Rows with content to the right of the header."""
    shown = pl.Series(["\t".join(cell or "" for cell in text) for _, text in rows], dtype=pl.String)
    content: dict[str, Any] = {
        "source_row": [row for row, _ in rows],
        "problem": [Reason.WRONG_NUMBER_OF_FIELDS.value] * len(rows),
        "problem_column": [None] * len(rows),
        "problem_value": mask_values(shown),
    }
    return pl.DataFrame(content, schema=REJECT_SCHEMA)


def _letters(column: int) -> str:
    """The column's name in Excel: A, B, ..., Z, AA, ..."""
    name = ""
    while column >= 0:
        name, column = chr(ord("A") + column % 26) + name, column // 26 - 1
    return name
