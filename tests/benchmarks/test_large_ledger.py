"""The large ledger is one ledger: blocks of users that were simulated apart, merged in time."""

import polars as pl
import pytest

NUM_BLOCKS, NUM_USERS, NUM_ROWS = 3, 20, 15_000


@pytest.fixture(scope="module")
def files(benchmarks, tmp_path_factory):
    from large_ledger import write_months, write_parts

    folder = tmp_path_factory.mktemp("large")
    csv, parquet = folder / "ledger.csv", folder / "ledger.parquet"
    months = write_parts(folder, NUM_BLOCKS, NUM_USERS)
    write_months(folder, months, NUM_ROWS, csv, parquet)
    return csv, parquet


@pytest.fixture(scope="module")
def rows(files):
    return pl.read_parquet(files[1])


def test_csv_and_parquet_hold_the_same_rows(files, rows):
    from large_ledger import COLUMNS

    assert rows.columns == list(COLUMNS)
    assert rows.height == NUM_ROWS
    assert pl.read_csv(files[0], infer_schema=False).equals(rows)


def test_rows_stand_in_order_of_time_with_blocks_mixed(rows):
    readable = rows.filter(pl.col("booked_at") < "2024-13")
    assert readable["booked_at"].is_sorted()
    blocks = readable.filter(pl.col("customer_id") != "")["customer_id"].str.head(3)
    assert (blocks != blocks.shift()).mean() > 0.5
    assert blocks.n_unique() == NUM_BLOCKS


def test_ids_of_different_blocks_never_meet(rows):
    named = rows.filter((pl.col("transaction_id") != "") & (pl.col("customer_id") != ""))
    assert (named["transaction_id"].str.slice(1, 2) == named["customer_id"].str.slice(1, 2)).all()
    # More than one block has: the same customer number in two blocks is two customers.
    assert named["customer_id"].n_unique() > 2 * NUM_USERS


def test_broken_rows_and_duplicates_are_kept(rows):
    assert (rows["booked_at"] > "2024-13").any()
    assert (rows["customer_id"] == "").any()
    assert rows.is_duplicated().any()


def test_added_columns_follow_from_the_others(rows):
    assert rows.group_by("merchant_id").agg(pl.col("merchant_city").n_unique())["merchant_city"].max() == 1
    named = rows.filter(pl.col("customer_id") != "")
    assert named.group_by("customer_id").agg(pl.col("card_product").n_unique())["card_product"].max() == 1
    assert set(rows.filter(pl.col("channel") == "atm")["device"]) == {"cash machine"}
