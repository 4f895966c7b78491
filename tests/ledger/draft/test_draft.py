"""Drafts of strange and of public files: what is proposed is right, loads, and reads the file."""

from pathlib import Path

import polars as pl
import pytest
from kedro.io import AbstractDataset

from panther_pipeline.errors import ConfigurationError, SourceError
from panther_pipeline.ledger.draft import draft_ledger, save_draft
from panther_pipeline.ledger.mapping import map_events
from panther_pipeline.ledger.schema import LedgerSchema
from panther_pipeline.ledger.splits import SplitConfig
from panther_pipeline.tokenizer.config import VocabularyConfig

ELSEWHERE = Path("/elsewhere")  # so that the drafted catalog names the file by its whole path
STRANGE = {
    "single_quotes.csv": {
        "user_id": "customer",
        "event_time": {"column": "step", "format": "epoch_d"},
        "amount": "amount",
        "counterparty": "merchant",
        "attributes": ["age", "gender", "category"],
        "label": {"column": "fraud", "positive": ["1"]},
    },
    "german.csv": {
        "user_id": "Kontonummer",
        "event_time": {"column": "Buchungstag", "format": "%d.%m.%Y", "earliest": "2022-01-01", "latest": "2023-12-31"},
        "amount": {
            "column": "Betrag",
            "decimal": ",",
            "thousands": ".",
            "currency": {"column": "Währung", "only": "EUR"},
        },
        "counterparty": "Beguenstigter",
        "attributes": ["buchungstext"],
        "label": None,
    },
    "american.tsv": {
        "user_id": "Account Number",
        "event_time": {"column": "Posting Date", "format": "%m/%d/%Y"},
        "amount": {"column": "Amount", "prefix": "$", "thousands": ","},
        "counterparty": "Merchant",
        "attributes": ["transaction_type"],
        "missing": ["NA"],
    },
    "milliseconds.csv": {
        "user_id": "payload.userId",
        "event_id": "eventId",
        "event_time": {"column": "payload.ts", "format": "epoch_ms"},
        "amount": {"column": "payload.amount", "currency": {"column": "payload.currency", "only": "EUR"}},
        "counterparty": "payload.merchant.id",
        "attributes": ["payload_channel"],
    },
    "pipes.txt": {
        "user_id": "cust",
        "event_time": {"column": ["when", "hhmm"], "format": "%d/%m/%Y %H:%M"},
        "amount": {"column": "amt", "sign": {"column": "dc", "negative": ["D"], "positive": ["C"]}},
        "attributes": ["dc", "mcc"],
    },
    "sheet.xlsx": {
        "user_id": "Customer No",
        "event_time": {"column": "Booked At", "format": None},
        "amount": "Amount",
        "attributes": ["category"],
    },
}
PUBLIC = {
    "fraud_handbook/transactions.parquet": {
        "user_id": "CUSTOMER_ID",
        "event_id": "TRANSACTION_ID",
        "event_time": {"column": "TX_DATETIME", "format": None, "latest": "2018-12-31"},
        "amount": "TX_AMOUNT",
        "counterparty": "TERMINAL_ID",
        "attributes": [],
        "label": {"column": "TX_FRAUD", "positive": ["1"], "negative": ["0"]},
        "forbidden": ["TX_FRAUD_SCENARIO"],
    },
    "online_retail/online_retail.csv.gz": {
        "user_id": {"columns": ["CustomerID"], "written_as": "float"},
        "event_id": None,
        "event_time": {"column": "InvoiceDate", "format": None},
        "amount": {"column": "UnitPrice", "times": "Quantity"},
    },
    "berka/trans_prefix.asc.gz": {
        "user_id": "account_id",
        "event_id": "trans_id",
        "event_time": {"column": "date", "format": "%y%m%d", "earliest": "1993-01-01"},
        "amount": {"column": "amount", "sign": {"column": "type", "positive": ["PRIJEM"]}},
        "counterparty": "account",
        "attributes": ["type", "operation", "balance", "k_symbol", "bank"],
    },
    "tabformer/User0_credit_card_transactions.csv": {
        "user_id": ["User", "Card"],
        "event_time": {"column": ["Year", "Month", "Day", "Time"], "format": "%Y %m %d %H:%M"},
        "amount": {"column": "Amount", "prefix": "$"},
        "counterparty": "Merchant Name",
        "label": {"column": "Is Fraud?", "positive": ["Yes"], "negative": ["No"]},
    },
    "movielens_1m/ratings_ordered.parquet": {
        "user_id": "UserID",
        "event_time": {"order": "Order"},
        "amount": None,
        "attributes": ["movie_id", "rating"],
    },
}


LARGE = ("fraud_handbook/transactions.parquet", "online_retail/online_retail.csv.gz")


def assert_proposed(proposed: dict, expected: dict) -> None:
    for key, value in expected.items():
        found = proposed[key]
        if key == "attributes":
            found = [attribute["name"] for attribute in found]
        if key == "forbidden":
            found = list(found)
        if isinstance(value, dict):
            assert_proposed(found, value)
        else:
            assert found == value, key


def assert_reads(catalog: dict, parameters: dict) -> pl.DataFrame:
    """The written files build every config class, and nearly every row of the file is an event."""
    schema = LedgerSchema(**parameters["ledger"]["schema"])
    SplitConfig(**parameters["ledger"]["splits"])
    VocabularyConfig(**parameters["tokenizer"]["vocabulary"])
    source = AbstractDataset.from_config("raw_transactions", catalog["raw_transactions"]).load()
    events = map_events(source, schema)[0].collect()
    assert events["problem"].null_count() >= 0.98 * events.height
    return events


@pytest.mark.parametrize("name", STRANGE)
def test_roles_of_a_strange_file_are_found(name, draft_of):
    assert_proposed(draft_of(name).proposal.schema_values(), STRANGE[name])


@pytest.mark.parametrize("name", STRANGE)
def test_draft_of_a_strange_file_reads_it(name, draft_of, load_draft, card_key):
    events = assert_reads(*load_draft(draft_of(name)))
    assert events["user_id"].null_count() == 0


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name for name in PUBLIC]
)
def test_draft_of_a_public_ledger_reads_it(name, public_draft, load_draft, card_key):
    draft = public_draft(name)
    assert_proposed(draft.proposal.schema_values(), PUBLIC[name])
    assert_reads(*load_draft(draft))


@pytest.mark.parametrize(
    ("name", "attributes"),
    [("single_quotes.csv", ["category", "counterparty"]), ("sheet.xlsx", ["category"]), ("pipes.txt", ["mcc"])],
)
def test_draft_names_the_attributes_whose_next_value_is_forecast(draft_of, load_draft, name, attributes):
    _, parameters = load_draft(draft_of(name))
    found = parameters["finetuning"]["next_value"]["attributes"]
    assert set(found) >= set(attributes)
    schema = LedgerSchema(**parameters["ledger"]["schema"])
    known = {a.name for a in schema.attributes if a.kind == "category"}
    known |= {"counterparty"} if schema.counterparty else set()
    assert set(found) <= known


def test_splits_hold_their_shares_of_the_rows(draft_of, load_draft):
    catalog, parameters = load_draft(draft_of("german.csv"))
    times, splits = assert_reads(catalog, parameters)["event_time"], SplitConfig(**parameters["ledger"]["splits"])
    us = times.dt.epoch("us")
    assert (us < splits.train_end_us).mean() == pytest.approx(0.70, abs=0.02)
    assert (us < splits.valid_end_us).mean() == pytest.approx(0.85, abs=0.02)
    assert len(splits.train_end) == len("2024-01-31")  # midnight


def test_order_without_times_leaves_the_last_event_out(public_draft, load_draft):
    draft = public_draft("movielens_1m/ratings_ordered.parquet")
    _, parameters = load_draft(draft)
    assert parameters["ledger"]["splits"]["protocol"] == "leave_last_out"
    assert parameters["pretraining"]["model"]["time_encoding"] == "none"


def test_missing_user_and_time_are_placeholders_that_fail_in_a_sentence(draft_of, load_draft):
    draft = draft_of("neither.csv")
    assert not draft.is_complete
    assert (
        "# unsure: no column looks like a user: choose one of colour, weight." in draft.files["parameters_ledger.yml"]
    )
    with pytest.raises(SourceError, match=r"lacks 2 declared columns: 'CHOOSE_A_COLUMN' \(ledger.schema.user_id\)"):
        assert_reads(*load_draft(draft))


@pytest.mark.slow
def test_many_rows_without_a_user_raise_the_gate(public_draft, load_draft):
    draft = public_draft("online_retail/online_retail.csv.gz")
    _, parameters = load_draft(draft)
    assert 0.25 < parameters["validation"]["gate"]["max_quarantined_share"] < 0.4
    assert "no user 24.9%" in draft.files["parameters_ledger.yml"]


def test_swapped_day_and_month_are_told_by_order_and_marked(draft_of):
    notes = [note for key, note in draft_of("pipes.txt").unsure if key == "event_time"]
    assert any("%d/%m/%Y is taken (from row to row it goes back 0 times, %m/%d/%Y" in note for note in notes)


def test_ids_are_never_written_out(draft_of):
    for name in ("american.tsv", "german.csv", "single_quotes.csv"):
        text = "".join(draft_of(name).files.values())
        assert not any(number in text for number in ("400012341234", "DE1000", "C10938"))


def test_ids_that_read_as_card_numbers_are_told(draft_of):
    told = dict(draft_of("american.tsv").unsure)["card_numbers"]
    assert "of the values of Account Number read as card numbers: set PANTHER_CARD_KEY" in told
    assert "card_numbers" not in dict(draft_of("german.csv").unsure)


def test_users_file_is_matched_by_its_values(shared_data, load_draft):
    tabformer = shared_data / "tabformer"
    draft = draft_ledger(
        tabformer / "User0_credit_card_transactions.csv", name="mine", root=ELSEWHERE,
        users_file=tabformer / "sd254_cards.csv",
    )  # fmt: skip
    catalog, parameters = load_draft(draft)
    profiles = parameters["ledger"]["schema"]["profiles"]
    assert profiles["user_id"] == ["User", "CARD INDEX"]
    columns = {attribute["column"] for attribute in profiles["attributes"]}
    assert {"Card Brand", "Card Type"} <= columns
    assert not columns & {"Card Number", "CVV"}
    assert catalog["raw_profiles"]["filepath"].endswith("sd254_cards.csv")


def test_existing_environment_is_kept_unless_forced(draft_of, tmp_path):
    save_draft(draft_of("pipes.txt"), tmp_path, overwrite=False)
    (tmp_path / "mine" / "catalog.yml").write_text("mine: {}")
    with pytest.raises(ConfigurationError, match=r"exists already .*--force"):
        save_draft(draft_of("pipes.txt"), tmp_path, overwrite=False)
    assert (tmp_path / "mine" / "catalog.yml").read_text() == "mine: {}"
    save_draft(draft_of("pipes.txt"), tmp_path, overwrite=True)
    assert "raw_transactions" in (tmp_path / "mine" / "catalog.yml").read_text()


@pytest.mark.parametrize("name", ["base", "Mine", "my-bank", "../mine", ""])
def test_unusable_names_are_refused(name, strange_files):
    with pytest.raises(ConfigurationError, match="cannot be the name of a ledger"):
        draft_ledger(strange_files / "pipes.txt", name=name, root=strange_files)
