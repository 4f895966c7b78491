"""The cells of one role: one column as it is typed, or several joined to one text."""

import polars as pl

from panther_pipeline.ledger.cells import take_cells, text_of

ROWS = pl.DataFrame({"year": [2002, 2003, None], "time": [" 06:21 ", "", "07:00"], "code": [" NA ", "NAB", None]})


def test_one_column_keeps_its_type_and_name():
    cells = take_cells(ROWS, ["year"], separator=" ", missing=["2002"])
    assert (cells.name, cells.dtype, cells.to_list()) == ("year", pl.Int64, [None, 2003, None])


def test_several_columns_are_joined_without_their_blanks():
    cells = take_cells(ROWS, ["year", "time"], separator=" ")
    assert (cells.name, cells.to_list()) == ("year + time", ["2002 06:21", None, None])


def test_missing_texts_are_empty_whole_cells_only():
    assert take_cells(ROWS, ["code"], separator="", missing=["NA"]).to_list() == [None, "NAB", None]
    joined = take_cells(ROWS, ["time", "code"], separator="-", missing=["NA"])
    assert joined.to_list() == [None, None, None]


def test_source_rows_are_not_changed():
    before = ROWS.clone()
    take_cells(ROWS, ["code", "time"], separator="-", missing=["NA"])
    assert ROWS.equals(before)


def test_text_has_no_white_space_around_and_no_empty_cell():
    assert text_of(pl.Series([" a ", "\t", "", None, "\u00a0b"])).to_list() == ["a", None, None, None, "b"]
    assert text_of(pl.Series([1, None])).to_list() == ["1", None]
