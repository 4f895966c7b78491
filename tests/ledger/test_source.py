"""Where rows come from: numbered, accounted for, found again."""

import polars as pl
import pytest

from panther_pipeline.errors import SourceError
from panther_pipeline.ledger import source as source_module
from panther_pipeline.ledger.source import SourceAccount, TableSource, as_source, locate_row, main_source

TABLE = pl.DataFrame({"a": range(10), "b": list("abcdefghij")})


@pytest.mark.parametrize("table", [TABLE, TABLE.lazy(), pl.concat([TABLE.head(4), TABLE.tail(6)], rechunk=False)])
def test_every_row_of_a_table_is_numbered_and_counted(table, monkeypatch):
    monkeypatch.setattr(source_module, "BATCH_ROWS", 4)
    account = SourceAccount()
    batches = list(TableSource(table, name="raw").batches(["b"], account))
    rows = pl.concat([batch.rows for batch in batches])
    assert rows.columns == ["source_row", "b"]
    assert rows["source_row"].to_list() == list(range(10))
    assert rows["b"].to_list() == TABLE["b"].to_list()
    assert all(batch.rejects.is_empty() for batch in batches)
    (file,) = account.files
    assert (file.lines, file.rows, file.rejected, file.first_row) == (10, 10, 0, 0)


def test_batches_are_no_longer_than_asked(monkeypatch):
    monkeypatch.setattr(source_module, "BATCH_ROWS", 4)
    heights = [batch.rows.height for batch in TableSource(TABLE, name="raw").batches(["a"], SourceAccount())]
    assert heights == [4, 4, 2]


def test_header_is_known_without_reading_rows():
    def explode(frame):
        raise AssertionError("rows were read")

    lazy = TABLE.lazy().map_batches(explode, schema=TABLE.schema)
    assert TableSource(lazy, name="raw").column_names() == ["a", "b"]


def test_tables_have_no_lines_to_show():
    assert TableSource(TABLE, name="raw").original_lines([0, 5]) == [None, None]


def make_account(*lines):
    account = SourceAccount()
    for i, number in enumerate(lines):
        account.open_file(f"{i}.csv").lines = number
    return account.as_json()


def test_files_follow_one_another():
    account = make_account(3, 2)
    assert [file["first_row"] for file in account["files"]] == [0, 3]
    assert account["lines"] == 5


def test_rows_are_found_in_their_file():
    account = make_account(3, 0, 2)
    places = [locate_row(account, row) for row in range(5)]
    assert places == [("0.csv", 1), ("0.csv", 2), ("0.csv", 3), ("2.csv", 1), ("2.csv", 2)]


def test_row_of_an_empty_first_file_is_in_the_next():
    assert locate_row(make_account(0, 2), 0) == ("1.csv", 1)


@pytest.mark.parametrize("row", [-1, 5])
def test_rows_that_do_not_exist_are_nowhere(row):
    with pytest.raises(ValueError, match=f"row {row} is not one of the 5 lines"):
        locate_row(make_account(3, 2), row)


def test_anything_else_is_no_source():
    assert as_source(TableSource(TABLE, name="x"), "raw").name == "x"
    assert as_source(TABLE.lazy(), "raw").name == "raw"
    with pytest.raises(SourceError, match=r"raw is a list; .*Correct its type in the catalog"):
        as_source([1, 2], "raw")


def test_main_source_is_the_named_table():
    tables = {"trans": TABLE, "card": TABLE.clear()}
    assert main_source(TABLE, None, "raw").column_names() == ["a", "b"]
    assert main_source(tables, "trans", "raw").name == "trans"
    with pytest.raises(SourceError, match="raw has the tables trans, card; the schema says that 'order' comes first"):
        main_source(tables, "order", "raw")


def test_card_number_in_a_file_name_is_masked_in_the_account():
    account = SourceAccount()
    account.open_file("export_4111-1111-1111-1111.csv").lines = 3
    assert locate_row(account.as_json(), 2) == ("export_[card number].csv", 3)
