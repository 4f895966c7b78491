"""The Online Retail ledger: lines of invoices, price times quantity, a quarter of the lines without a customer."""

from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from panther_pipeline.ledger.quarantine import GateConfig, quarantine_events


@pytest.fixture(scope="module")
def ledger(read_ledger):
    return read_ledger("online_retail")


@pytest.fixture(scope="module")
def raw(read_raw):
    return read_raw("online_retail/online_retail.csv.gz")


def test_every_line_is_accepted_or_has_its_reason(ledger):
    _, account = ledger.mapped
    assert [(f["lines"], f["header"], f["rows"], f["rejected"]) for f in account["files"]] == [(541910, 1, 541909, 0)]
    assert ledger.count_by_reason() == {"missing_user_id": 135080, "amount_not_in_cents": 4}
    assert ledger.valid_events.height == 541909 - 135084
    assert ledger.valid_events["user_id"].n_unique() == 4372


def test_quarantined_lines_are_shown_as_they_stand_in_the_file(ledger, read_lines, tmp_path):
    path = tmp_path / "events.parquet"
    ledger.events.write_parquet(path, row_group_size=1 << 16)  # as it is kept: in pieces, read on several cores
    _, account = ledger.mapped
    source = ledger.load("raw_transactions")
    rows = quarantine_events(pl.scan_parquet(path), ledger.faults, source, account, ledger.schema).collect()
    lines = read_lines("online_retail/online_retail.csv.gz")
    assert rows["source_row"].is_sorted()
    assert dict(rows["reason"].value_counts().rows()) == ledger.count_by_reason()
    assert rows["original_line"].to_list() == [lines[line - 1] for line in rows["source_line"]]


def test_gate_lets_through_what_is_explained_and_no_more(ledger):
    gate = GateConfig(**ledger.parameters["validation"]["gate"])
    assert 135084 / 541909 < gate.max_quarantined_share < 0.27


def test_every_event_is_what_its_line_says(ledger, raw):
    london = ZoneInfo("Europe/London")
    corrections = {"C": "cancellation", "A": "bad debt"}
    columns = ["user_id", "event_time", "amount_cents", "product", "country", "correction", "quantity", "unit_price"]
    for row, got in zip(raw, ledger.events.select(columns).iter_rows(), strict=True):
        cents = Decimal(row["UnitPrice"]) * 100 * int(row["Quantity"])
        whole = Decimal(row["UnitPrice"]) * 100 % 1 == 0
        assert got == (
            row["CustomerID"].removesuffix(".0") or None,
            datetime.fromisoformat(row["InvoiceDate"]).replace(tzinfo=london),
            int(cents) if whole else None,
            row["StockCode"], row["Country"], corrections.get(row["InvoiceNo"][0]),
            float(row["Quantity"]), float(row["UnitPrice"]),
        )  # fmt: skip


def test_cancelled_lines_give_money_back(ledger):
    cancelled = ledger.events.filter(pl.col("correction") == "cancellation")
    assert cancelled.height == 9288
    assert (cancelled["amount_cents"] < 0).all()
    assert ledger.events.filter(pl.col("correction") == "bad debt").height == 3


def test_largest_line_lies_within_the_allowed_range(ledger):
    assert ledger.events["amount_cents"].max() == 16846960
    assert ledger.events["amount_cents"].min() == -16846960


def test_lines_of_an_invoice_keep_the_order_of_the_file(ledger):
    steps = ledger.valid_events.with_columns(
        time_before=pl.col("event_time").shift(1).over("user_id"),
        row_before=pl.col("source_row").shift(1).over("user_id"),
    ).filter(pl.col("event_time") == pl.col("time_before"))
    assert steps.height > 370_000
    assert (steps["source_row"] > steps["row_before"]).all()


def test_splits_hold_the_seasons_they_claim(ledger):
    assert ledger.count_by_split() == {"train": 272875 - 4, "valid": 50695, "test": 83259}


def test_parameters_fit_the_ledger(ledger, assert_fits):
    assert_fits(ledger)
