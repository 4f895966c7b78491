"""The TabFormer ledger: composite users, times of four columns, money with a dollar sign."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

CHANNELS = {"Swipe Transaction": "swipe", "Chip Transaction": "chip", "Online Transaction": "online"}


@pytest.fixture(scope="module")
def ledger(read_ledger):
    return read_ledger("tabformer")


@pytest.fixture(scope="module")
def raw(read_raw):
    return read_raw("tabformer/User0_credit_card_transactions.csv")


def test_every_line_is_accounted_for(ledger):
    _, account = ledger.mapped
    assert [(f["lines"], f["header"], f["rows"], f["rejected"]) for f in account["files"]] == [(19964, 1, 19963, 0)]
    assert ledger.count_by_reason() == {}
    assert dict(ledger.valid_events["user_id"].value_counts().rows()) == {
        "0-0": 5011, "0-1": 1203, "0-2": 4332, "0-3": 9391, "0-4": 26,
    }  # fmt: skip


def test_every_event_is_what_its_line_says(ledger, raw):
    who_and_what = ["user_id", "event_time", "amount_cents", "counterparty", "mcc", "channel"]
    where = ["city", "state", "zip", "error"]
    rows = ledger.events.select(*who_and_what, *where, "label", "label_time").iter_rows()
    for row, got in zip(raw, rows, strict=True):
        hour, minute = map(int, row["Time"].split(":"))
        time = datetime(int(row["Year"]), int(row["Month"]), int(row["Day"]), hour, minute, tzinfo=UTC)
        assert got == (
            f"{row['User']}-{row['Card']}", time, int(row["Amount"].replace("$", "").replace(".", "")),
            row["Merchant Name"], row["MCC"], CHANNELS[row["Use Chip"]], row["Merchant City"],
            row["Merchant State"] or None, row["Zip"].removesuffix(".0") or None, row["Errors?"] or None,
            int(row["Is Fraud?"] == "Yes"), time + timedelta(days=7),
        )  # fmt: skip


def test_refunds_frauds_and_merchants_are_all_there(ledger):
    events = ledger.events
    assert (events["amount_cents"] < 0).sum() == 650
    assert events["label"].sum() == 27
    assert events["counterparty"].str.starts_with("-").sum() == pytest.approx(events.height / 2, rel=0.2)
    assert events["error"].null_count() == 19389
    assert "Bad PIN,Insufficient Balance" in events["error"].unique().to_list()


def test_a_row_is_known_by_its_number(ledger):
    assert ledger.events["event_id"].to_list() == [str(row) for row in range(1, 19964)]
    ordered = ledger.valid_events.sort("user_id", "event_seq")
    same_minute = ordered.with_columns(
        time_before=pl.col("event_time").shift(1).over("user_id"),
        row_before=pl.col("source_row").shift(1).over("user_id"),
    ).filter(pl.col("event_time") == pl.col("time_before"))
    assert same_minute.height > 50
    assert (same_minute["source_row"] > same_minute["row_before"]).all()  # the order of the file


def test_profile_of_a_card_is_that_of_its_holder(ledger, read_raw):
    people = read_raw("tabformer/sd254_users.csv")
    expected = {}
    for card in read_raw("tabformer/sd254_cards.csv"):
        person = people[int(card["User"])]
        expected[f"{card['User']}-{card['CARD INDEX']}"] = (
            card["Card Brand"], card["Card Type"], {"YES": "chip", "NO": "no chip"}[card["Has Chip"]],
            person["Gender"], float(person["Birth Year"]), person["State"],
            float(person["Yearly Income - Person"].removeprefix("$")),
        )  # fmt: skip
    assert {user: tuple(rest) for user, *rest in ledger.profiles.iter_rows()} == expected
    assert ledger.profiles.height == 6146
    assert set(ledger.events["user_id"]) <= set(ledger.profiles["user_id"])


def test_presence_outlives_the_coming_of_chips(ledger):
    # Chips come after training ends; what a token is made of must not be unknown from then on.
    chips = ledger.events.filter(pl.col("channel") == "chip")
    assert chips["event_time"].min().year == 2015
    assert set(chips["presence"]) == {"in person"}
    names = [field["name"] for field in ledger.parameters["tokenizer"]["vocabulary"]["fields"]]
    assert "presence" in names
    assert "channel" not in names


def test_every_split_has_frauds(ledger):
    assert ledger.count_by_split() == {"train": 13946, "valid": 1182, "test": 4835}
    by_year = ledger.events.filter(pl.col("label") == 1).group_by(pl.col("event_time").dt.year()).len()
    assert dict(by_year.rows()) == {2008: 10, 2015: 13, 2016: 4}


def test_the_full_file_would_be_read_too(ledger, tmp_path):
    from panther_pipeline.datasets import DelimitedDataset

    pattern = ledger.catalog["raw_transactions"]["filepath"].rsplit("/", 1)[1]
    for name in ("credit_card_transactions-ibm_v2.csv", "sd254_users.csv", "sd254_cards.csv"):
        (tmp_path / name).touch()
    files = DelimitedDataset(filepath=f"{tmp_path}/{pattern}")._files()
    assert [path.name for path in files] == ["credit_card_transactions-ibm_v2.csv"]


def test_parameters_fit_the_ledger(ledger, assert_fits):
    assert_fits(ledger)
