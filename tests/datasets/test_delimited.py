"""Sources in files, as catalog entries."""

import gzip

import polars as pl
import pytest
from kedro.io import DataCatalog
from kedro.io.core import DatasetError

from panther_pipeline.datasets import DelimitedDataset, ExcelDataset, ParquetDataset
from panther_pipeline.ledger.source import SourceAccount

KINDS = (DelimitedDataset, ExcelDataset, ParquetDataset)


def read(source, columns):
    account = SourceAccount()
    return pl.concat([batch.rows for batch in source.batches(columns, account)]), account


def test_catalog_entry_reads_all_files_that_fit(tmp_path):
    for month in ("02", "01"):
        (tmp_path / f"payments_{month}.csv.gz").write_bytes(gzip.compress(f"id;amount\n{month};1\n".encode("cp1250")))
    (tmp_path / "other.csv").write_bytes(b"nothing")
    entry = {
        "type": "panther_pipeline.datasets.DelimitedDataset",
        "filepath": str(tmp_path / "payments_*.csv.gz"),
        "separator": ";",
        "encoding": "cp1250",
        "metadata": {"kedro-viz": {"layer": "raw"}},
    }
    catalog = DataCatalog.from_config({"raw_transactions": entry})
    assert catalog.exists("raw_transactions")
    rows, account = read(catalog.load("raw_transactions"), ["id"])
    assert rows.rows() == [(1, "01"), (3, "02")]
    assert [file.file for file in account.files] == ["payments_01.csv.gz", "payments_02.csv.gz"]


def test_name_that_looks_like_a_pattern_is_a_file_first(tmp_path):
    (tmp_path / "pay[1].csv").write_bytes(b"id\n7\n")
    assert read(DelimitedDataset(filepath=str(tmp_path / "pay[1].csv")).load(), ["id"])[0].rows() == [(1, "7")]


@pytest.mark.parametrize("kind", KINDS)
def test_missing_file_is_refused_by_path(kind, tmp_path):
    dataset = kind(filepath=str(tmp_path / "gone_*.csv"))
    assert not dataset.exists()
    with pytest.raises(DatasetError, match=r"no file .*gone_\*\.csv.*correct filepath"):
        dataset.load()


@pytest.mark.parametrize("kind", KINDS)
def test_source_is_never_written(kind, tmp_path):
    with pytest.raises(DatasetError, match="read, never written"):
        kind(filepath=str(tmp_path / "a.csv")).save(pl.DataFrame({"id": [1]}))


def test_option_that_does_not_exist_is_refused():
    with pytest.raises(DatasetError, match=r"a\.csv: .*did you mean 'separator'"):
        DelimitedDataset(filepath="a.csv", seperator=";")


def test_description_shows_the_format():
    assert DelimitedDataset(filepath="a.csv", separator="|")._describe()["separator"] == "|"


def test_parquet_files_are_one_table_with_types(tmp_path):
    for i in (2, 1):
        pl.DataFrame({"id": [str(i)], "amount": [i * 1.5]}).write_parquet(tmp_path / f"part_{i}.parquet")
    source = ParquetDataset(filepath=str(tmp_path / "part_*.parquet")).load()
    assert source.column_names() == ["id", "amount"]
    rows, account = read(source, ["amount", "id"])
    assert rows.rows() == [(0, 1.5, "1"), (1, 3.0, "2")]
    assert account.as_json()["rows"] == 2


def test_parquet_files_that_differ_are_refused(tmp_path):
    pl.DataFrame({"id": ["1"], "amount": [1.5]}).write_parquet(tmp_path / "part_1.parquet")
    pl.DataFrame({"id": [1], "amount": [1.5]}).write_parquet(tmp_path / "part_2.parquet")
    with pytest.raises(DatasetError, match=r"part_2\.parquet: columns \['id'\] differ from those of .*part_1\.parquet"):
        ParquetDataset(filepath=str(tmp_path / "part_*.parquet")).load()


def test_damaged_parquet_is_refused_by_name(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DatasetError, match=r"a\.parquet cannot be read as Parquet"):
        ParquetDataset(filepath=str(tmp_path / "a.parquet")).load()


def test_card_number_in_a_path_is_never_shown(tmp_path):
    path = str(tmp_path / "4111111111111111_a.csv")
    dataset = DelimitedDataset(filepath=path)
    for told in (str(dataset), str(dataset._describe())):
        assert "4111111111111111" not in told
    with pytest.raises(DatasetError, match=r"There is no file .*\[card number\]_a\.csv"):
        dataset.load()
    with pytest.raises(DatasetError, match=r"\[card number\]_a\.csv is a source"):
        dataset.save("rows")
    with pytest.raises(DatasetError, match=r"\[card number\]_a\.csv: the description"):
        DelimitedDataset(filepath=path, separator="")
    with pytest.raises(DatasetError, match=r"\[card number\]_\*\.xlsx fits 2 workbooks"):
        ExcelDataset(filepath=two_workbooks(tmp_path)).load()


def two_workbooks(folder):
    for name in "ab":
        (folder / f"4111111111111111_{name}.xlsx").write_bytes(b"")
    return str(folder / "4111111111111111_*.xlsx")
