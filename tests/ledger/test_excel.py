"""Cells of a workbook as text, rows accounted for, numbers that Excel has damaged refused."""

import runpy
from pathlib import Path

import polars as pl
import pytest

from panther_pipeline.errors import SourceError
from panther_pipeline.ledger.excel import ExcelSource
from panther_pipeline.ledger.source import SourceAccount

WORKBOOK = runpy.run_path(str(Path(__file__).parents[1] / "fixtures" / "workbook.py"))
INSTANT, DAY = WORKBOOK["INSTANT"], WORKBOOK["DAY"]


@pytest.fixture
def make_source(tmp_path):
    def make(rows, sheet=None, **options) -> ExcelSource:
        path = tmp_path / "payments.xlsx"
        path.write_bytes(WORKBOOK["make_workbook"](rows, **options))
        return ExcelSource(path, name="payments", sheet=sheet)

    return make


def read(source, columns):
    account = SourceAccount()
    batches = list(source.batches(columns, account))
    return pl.concat([b.rows for b in batches]), pl.concat([b.rejects for b in batches]), account


def test_cells_come_out_as_text(make_source):
    cells = [
        "007",
        7,
        7.5,
        0.1,
        -3,
        123456789012345,
        True,
        False,
        (45000.5, INSTANT),
        (45000, DAY),
        " x ",
        "#N/A",
        None,
    ]
    rows, _, _ = read(make_source([["id", "cell"], *([str(i), cell] for i, cell in enumerate(cells))]), ["cell"])
    assert rows["cell"].to_list() == [
        "007", "7", "7.5", "0.1", "-3", "123456789012345", "true", "false", "2023-03-15T12:00:00", "2023-03-15", " x ",
        None, None,
    ]  # fmt: skip


def test_every_row_is_accounted_for(make_source):
    rows = [["id", "amount"], ["1", 2], [None, None], [None, 3], ["4", 5, "4111111111111111"], ["6", 7]]
    source = make_source(rows, first_row=3)
    found, rejects, account = read(source, ["amount", "id"])
    assert found.rows() == [(3, "2", "1"), (5, "3", None), (7, "7", "6")]
    assert rejects.rows() == [(6, "wrong_number_of_fields", None, "4\t5\t[masked]")]
    [file] = account.files
    assert (file.lines, file.header, file.blank, file.rows, file.rejected) == (8, 1, 3, 3, 1)
    assert source.original_lines([6, 2]) == ["4\t5\t[masked]", "id\tamount\t"]


@pytest.mark.parametrize("number", [1234567890123456, 12345678901234567, -1e15, 1e300])
def test_number_longer_than_excel_keeps_is_refused(make_source, number):
    with pytest.raises(SourceError, match=r"payments.xlsx, row 3, column B \(card\): a number of 16 digits or more"):
        read(make_source([["id", "card"], ["1", 5], ["2", number]]), ["id"])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "no row after the header"),
        ([["id", "amount"]], "no row after the header"),
        ([["id", None, "amount"], [1, 2, 3]], "row 1: column B has no name"),
        ([["id", "id"], [1, 2]], "'id' stands there twice"),
    ],
)
def test_header_that_cannot_be_right_is_refused(make_source, rows, message):
    with pytest.raises(SourceError, match=message):
        make_source(rows).column_names()


def test_sheet_is_found_by_name_or_refused(make_source):
    rows = [["id"], ["1"]]
    assert make_source(rows, sheet="Payments").column_names() == ["id"]
    with pytest.raises(SourceError, match=r"no sheet 'Pay'; its sheets are \['Payments'\]"):
        make_source(rows, sheet="Pay").column_names()


def test_missing_column_is_refused(make_source):
    with pytest.raises(SourceError, match=r"no column \['when'\]"):
        read(make_source([["id"], ["1"]]), ["when"])


@pytest.mark.parametrize("content", [b"", b"id,amount\n1,2\n", b"PK\x03\x04 no archive"])
def test_file_that_is_no_workbook_is_refused(tmp_path, content):
    path = tmp_path / "payments.xlsx"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"payments.xlsx cannot be read as an Excel workbook"):
        ExcelSource(path, name="payments").column_names()


def test_row_that_is_gone_is_refused(make_source):
    with pytest.raises(SourceError, match="row 10 was read before and is not there now"):
        make_source([["id"], ["1"]]).original_lines([9])
