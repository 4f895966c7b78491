"""Card numbers in what ingestion reads: ids get tokens, text and numbers lose them, and where they stood is counted."""

import polars as pl
import pytest

from panther_pipeline.cards.keys import CardKey, read_card_key
from panther_pipeline.errors import ConfigurationError
from panther_pipeline.ledger.card_guard import CardGuard
from panther_pipeline.ledger.delimited import DelimitedSource
from panther_pipeline.ledger.excel import ExcelSource
from panther_pipeline.ledger.expectations import ExpectationsConfig, check_expectations
from panther_pipeline.ledger.faults import find_faults
from panther_pipeline.ledger.findings import find_oddities
from panther_pipeline.ledger.fraud_kinds import select_fraud_kinds
from panther_pipeline.ledger.mapping import map_events
from panther_pipeline.ledger.parquet import open_parquet
from panther_pipeline.ledger.profiles import map_profiles, map_user_labels

from ..fixtures.workbook import make_workbook

CARD, AMEX = "4111111111111111", "378282246310005"
SPACED = "4111 1111 1111 1111"


@pytest.fixture
def read(make_schema, make_rows):
    """Events of rows with these cells; keyword arguments change the schema."""

    def read(*cells, **changes):
        lazy, account = map_events(make_rows(*cells), make_schema(**changes))
        return lazy.collect(), account

    return read


def test_ids_become_tokens_that_keep_events_together(read, card_key):
    events, _ = read({"who": CARD}, {"who": SPACED}, {"who": AMEX, "shop": CARD, "id": AMEX}, {"who": "u1"})
    token, other = card_key.token(CARD), card_key.token(AMEX)
    assert events["user_id"].to_list() == [token, token, other, "u1"]
    assert events["counterparty"].to_list() == ["s1", "s1", token, "s1"]
    assert events["event_id"][2] == other
    assert events["problem"].null_count() == 4


def test_every_kind_of_source_is_guarded(tmp_path, make_schema, make_rows, card_key):
    rows = make_rows({"who": AMEX, "kind": CARD}, {"who": "7", "kind": "food"})
    rows.write_csv(tmp_path / "a.csv")
    (tmp_path / "a.xlsx").write_bytes(make_workbook([rows.columns, *rows.rows()]))
    rows.with_columns(pl.col("who").cast(pl.Int64)).write_parquet(tmp_path / "a.parquet")
    sources = [
        DelimitedSource([tmp_path / "a.csv"], name="csv"),
        ExcelSource(tmp_path / "a.xlsx", name="excel"),
        open_parquet([tmp_path / "a.parquet"], name="parquet"),
    ]
    for source in sources:
        events = map_events(source, make_schema())[0].collect()
        expected = [(card_key.token(AMEX), "[card number]"), ("7", "food")]
        assert events.select("user_id", "category").rows() == expected, source.name


def test_id_of_several_columns_keeps_its_other_parts(read, card_key):
    events, _ = read({"who": "0", "shop": "4111-1111-1111-1111"}, user_id=["who", "shop"], counterparty=None)
    assert events["user_id"].to_list() == [f"0-{card_key.token(CARD)}"]


def test_categories_are_masked_and_need_no_key(read, monkeypatch):
    monkeypatch.delenv("PANTHER_CARD_KEY", raising=False)
    events, account = read({"kind": f"paid with {SPACED} in May"}, {"kind": "food"})
    assert events["category"].to_list() == ["paid with [card number] in May", "food"]
    assert account["card_numbers"] == {"key_id": None, "tokenized": {}, "masked": {"category": 1}}


def test_numbers_that_are_card_numbers_are_not_read(read, card_key):
    number = [{"name": "size", "column": "kind", "kind": "number"}]
    events, account = read(
        {"amount": AMEX, "kind": "1"}, {"kind": CARD}, {"kind": "4111111111111112"},
        attributes=number, amount_range=[-1e15, 1e15],
    )  # fmt: skip
    assert events["amount_cents"].to_list() == [None, 1234, 1234]
    assert events["size"].to_list() == [1.0, None, 4111111111111112.0]
    assert events["problem"].to_list() == ["amount_not_a_number", "attribute_not_a_number", None]
    assert events["problem_value"].to_list() == ["[masked]", "[masked]", None]
    assert account["card_numbers"]["masked"] == {"amount_cents": 1, "size": 1}


@pytest.mark.parametrize("column", ["who", "id", "shop"])
def test_missing_key_stops_with_file_row_and_column(tmp_path, make_schema, make_rows, monkeypatch, column):
    monkeypatch.delenv("PANTHER_CARD_KEY", raising=False)
    file = tmp_path / f"export_{CARD}.csv"
    make_rows({}, {}, {column: CARD}).write_csv(file)
    lazy, _ = map_events(DelimitedSource([file], name="raw_transactions"), make_schema())
    told = rf"export_\[card number\].csv, row 4, column {column}: .* no key .* PANTHER_CARD_KEY to 32 random bytes"
    with pytest.raises(ConfigurationError, match=told) as caught:
        lazy.collect()
    assert CARD not in str(caught.value)


def test_unusable_key_is_refused_before_a_row_is_read(read, monkeypatch):
    monkeypatch.setenv("PANTHER_CARD_KEY", "00" * 32)
    with pytest.raises(ConfigurationError, match="not random"):
        read({})


def test_allowed_numbers_stay_as_they_are(read, monkeypatch):
    monkeypatch.delenv("PANTHER_CARD_KEY", raising=False)
    events, account = read({"who": CARD, "kind": CARD}, card_numbers="allow")
    assert events.select("user_id", "category").row(0) == (CARD, CARD)
    assert "card_numbers" not in account


def test_ledger_without_card_numbers_says_nothing_of_them(read, card_key):
    assert "card_numbers" not in read({"who": "4111111111111112"})[1]


@pytest.mark.parametrize("user", [f" {CARD}", f"{CARD}\n", "4.111111111111111E+15"])
def test_malformed_id_stays_malformed_without_its_digits(read, make_schema, rules, card_key, user):
    events, _ = read(*[{}] * 150, {"who": user})
    faults = find_faults(events, make_schema(), rules)
    assert faults.select("source_row", "reason").rows() == [(150, "malformed_user_id")]
    assert CARD not in str(events.rows()) + str(faults.rows())
    assert "111111" not in events["user_id"][150]


def test_tie_breaks_hold_no_card_number(read, card_key):
    events, _ = read({"leak": CARD}, {"leak": "2"}, tie_break=["leak"], forbidden={})
    assert events["tie_break_0"].to_list() == [card_key.token(CARD), "2"]


def test_another_key_gives_other_tokens(read, monkeypatch, card_key):
    before, account = read({"who": CARD}, {"who": AMEX})
    monkeypatch.setenv("PANTHER_CARD_KEY", "91f3c07be28d465aa0e7135fd4b98c2260ab7de1f409835cc6127b9e3d50f8a4")
    after, other = read({"who": CARD}, {"who": AMEX})
    assert set(before["user_id"]).isdisjoint(after["user_id"])
    assert after["user_id"].n_unique() == 2
    assert account["card_numbers"]["key_id"] == card_key.id
    assert other["card_numbers"]["key_id"] == read_card_key().id != card_key.id


def test_profiles_and_labels_of_users_meet_the_events(make_schema, card_key):
    raw = pl.DataFrame({"who": [CARD, "u1"], "region": ["north", f"card {SPACED}"]})
    profiles = map_profiles(raw, make_schema())
    assert sorted(profiles.rows()) == sorted([(card_key.token(CARD), "north"), ("u1", "card [card number]")])
    when = {"column": "when", "format": None, "zone": "UTC", "earliest": "2024-01-01", "latest": "2024-12-31"}
    labels = {"user_id": "who", "as_of": when, "column": "bad", "positive": ["1"], "negative": ["0"]}
    raw = pl.DataFrame({"who": [SPACED], "when": ["2024-03-01"], "bad": ["1"]})
    assert map_user_labels(raw, make_schema(user_labels=labels))["user_id"].to_list() == [card_key.token(CARD)]


def test_profile_numbers_that_are_card_numbers_are_unknown(make_schema, card_key):
    schema = make_schema(profiles__attributes=[{"name": "size", "column": "size", "kind": "number"}])
    profiles = map_profiles(pl.DataFrame({"who": ["u1", "u2"], "size": [CARD, "7"]}), schema)
    assert profiles["size"].to_list() == [None, 7.0]


def test_missing_key_names_the_row_of_a_profile(make_schema, monkeypatch):
    monkeypatch.delenv("PANTHER_CARD_KEY", raising=False)
    with pytest.raises(ConfigurationError, match=r"raw_profiles, row 2, column who: a card number"):
        map_profiles(pl.DataFrame({"who": ["u1", CARD], "region": ["north", "south"]}), make_schema())


def test_kinds_of_fraud_meet_the_events(card_key):
    table = pl.DataFrame({"id": ["1", CARD], "kind": ["0", "2"]})
    chosen = {"event_id": "id", "kind": "kind", "names": {"2": "stolen_card"}}
    assert select_fraud_kinds(table, **chosen).rows() == [(card_key.token(CARD), "stolen_card")]
    assert select_fraud_kinds(table, **chosen, card_numbers="allow").rows() == [(CARD, "stolen_card")]


def test_report_says_what_became_of_card_numbers(read, make_schema, rules, card_key):
    events, account = read({"who": CARD}, {"who": SPACED, "kind": CARD}, {})
    faults, schema = find_faults(events, make_schema(), rules), make_schema()
    report = check_expectations(events, faults, account, schema, ExpectationsConfig(extra=[], sample_rows=5))
    assert report["card_key_id"] == card_key.id
    found = [f for f in report["findings"] if f["kind"] == "card_number"]
    assert [(f["column"], f["count"], f["severity"]) for f in found] == [
        ("user_id", 2, "warning"), ("category", 1, "warning")
    ]  # fmt: skip
    assert card_key.id in found[0]["statement"]
    none = find_oddities(events.lazy(), events.lazy(), faults, {"rows": 0}, account, schema)
    assert [f["kind"] for f in none] == ["card_number", "card_number"]


def test_rounded_share_of_a_column_is_judged_before_ids_are_replaced(read, card_key):
    with pytest.raises(ValueError, match="scientific notation"):
        read(*[{"who": "4.111111111111111E+15"}] * 50)


def test_guard_counts_cells_by_role(card_key):
    guard = CardGuard("tokenize", str)
    rows = pl.Series([0, 1, 2])
    guard.guard_ids(pl.Series("a", [CARD, "x", CARD]), "user_id", rows)
    guard.guard_ids(pl.Series("b", [CARD, None, None]), "user_id", rows)
    guard.guard_text(pl.Series([f"{CARD}!"]), "note")
    assert guard.as_json() == {"key_id": card_key.id, "tokenized": {"user_id": 3}, "masked": {"note": 1}}
    assert isinstance(read_card_key(), CardKey)
