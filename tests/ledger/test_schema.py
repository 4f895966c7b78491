"""The schema of a ledger: what it refuses before anything runs; every environment states all of it."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from panther_pipeline.ledger.schema import LedgerSchema
from panther_pipeline.ledger.splits import SplitConfig

CONF = Path(__file__).resolve().parents[2] / "conf"
LEDGER_FILES = sorted([CONF / "base/parameters/ledger.yml", *CONF.glob("*/parameters_ledger.yml")])

USER_LABELS = {
    "user_id": "who", "as_of": {"column": "day", "format": "%y%m%d", "zone": "UTC", "earliest": "1990-01-01",
    "latest": "2000-01-01"}, "column": "status", "positive": ["B"], "negative": ["A"],
}  # fmt: skip


@pytest.mark.parametrize("path", LEDGER_FILES, ids=lambda path: str(path.relative_to(CONF)))
def test_ledger_block_is_complete_on_its_own(path):
    ledger = yaml.safe_load(path.read_text(encoding="utf-8"))["ledger"]  # other blocks may stand beside it
    assert sorted(ledger) == ["schema", "splits"]
    schema, splits = LedgerSchema(**ledger["schema"]), SplitConfig(**ledger["splits"])
    # `schema` is replaced as a whole, so nothing is inherited; but no role may be left out in silence.
    assert {f for f, info in LedgerSchema.model_fields.items() if info.is_required()} == {
        "user_id", "event_id", "event_time", "tie_break", "amount", "amount_range", "counterparty", "attributes",
        "label", "forbidden", "profiles", "user_labels",
    }  # fmt: skip
    assert schema.event_time.earliest_instant < schema.event_time.end_instant
    if splits.is_by_time:
        assert splits.train_end_us > schema.event_time.earliest_instant.timestamp() * 1e6
    assert schema.is_timed or not splits.is_by_time  # without times only the order can split


def test_handbook_forbids_the_scenario_column():
    schema = yaml.safe_load((CONF / "handbook/parameters_ledger.yml").read_text())["ledger"]["schema"]
    assert "TX_FRAUD_SCENARIO" in schema["forbidden"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"user_id": "leak"}, "user_id uses source column 'leak', which is forbidden: says who cheated"),
        ({"label__column": "leak"}, "label.column uses source column 'leak', which is forbidden"),
        ({"profiles__user_id": "leak"}, "profiles.user_id uses source column 'leak'"),
        ({"profiles__user_id": ["who", "leak"]}, "profiles.user_id[1] uses source column 'leak'"),
        ({"user_id": ["who", "leak"]}, "user_id[1] uses source column 'leak', which is forbidden"),
        ({"event_time__column": ["when", "leak"]}, "event_time.column[1] uses source column 'leak'"),
        ({"event_time": {"order": "leak"}}, "event_time.order uses source column 'leak'"),
        ({"amount": {"column": "amount", "times": "leak"}}, "amount.times uses source column 'leak'"),
        ({"tie_break": ["fraud"]}, "tie_break[0] uses source column 'fraud', which is the label"),
        ({"joins": [{"table": "t", "match": {"fraud": "id"}}]}, "joins[t].match uses source column 'fraud'"),
        ({"joins": [{"table": "t", "match": {"who": "id"}}] * 2}, "joins: table 't' is joined twice"),
        ({"tie_break": ["id", "id"]}, "names a column twice"),
        ({"event_time": {"order": "when"}, "user_labels": USER_LABELS}, "user_labels are as of a date"),
        ({"counterparty": "fraud"}, "counterparty uses source column 'fraud', which is the label"),
        ({"attributes": [{"name": "label", "column": "kind", "kind": "category"}]}, "'label' is reserved"),
        ({"attributes": [{"name": "problem", "column": "kind", "kind": "category"}]},
        "'problem' is reserved"),
        ({"attributes": [{"name": "a", "column": "kind", "kind": "category"}] * 2}, "'a' is declared twice"),
        ({"amount_range": [5, 5]}, "lowest < highest"),
        ({"amount_range": None}, "amount and amount_range must both be stated"),
        ({"amount": None}, "amount and amount_range must both be stated"),
        ({"amount_range": [0, float("nan")]}, "lowest < highest"),
        ({"profiles__user_id": None}, "profiles.user_id"),
        ({"profiles__attributes": [{"name": "user_id", "column": "a", "kind": "category"}]}, "'user_id' is reserved"),
        ({"label__negative": ["0", "1"]}, "in both: ['1']"),
        ({"label__positive": []}, "must each name a value"),
        ({"event_time__zone": "Mars/Olympus"}, "zone 'Mars/Olympus' is not an IANA time zone"),
        ({"event_time__zone": "../etc/passwd"}, "is not an IANA time zone"),
        ({"event_time__latest": "31.12.2024"}, "latest '31.12.2024' is not an ISO date"),
        ({"event_time__earliest": "2025-01-01"}, "must lie before latest"),
        ({"user_id": 7}, "user_id"),
        ({"colour": "red"}, "colour"),
    ],
)  # fmt: skip
def test_schema_refuses_contradictions(make_schema, changes, told):
    with pytest.raises(ValidationError) as caught:
        make_schema(**changes)
    assert told in str(caught.value)


def test_schema_reports_all_problems_at_once(make_schema):
    with pytest.raises(ValidationError, match=r"forbidden(.|\n)*lowest < highest"):
        make_schema(user_id="leak", amount_range=[1, 0])


def test_latest_date_means_the_whole_local_day(make_schema):
    time = make_schema(event_time__zone="America/New_York").event_time
    assert time.earliest_instant == datetime(2024, 1, 1, 5, tzinfo=UTC)
    assert time.end_instant == datetime(2025, 1, 1, 5, tzinfo=UTC)
    exact = make_schema(event_time__latest="2024-06-30T12:00:00").event_time
    assert exact.end_instant == datetime(2024, 6, 30, 12, 0, 0, 1, tzinfo=UTC)


def test_schema_names_the_key_of_every_column_it_reads(make_schema):
    schema = make_schema(
        user_id=["who", "card"], amount={"column": "amount", "currency": {"column": "cur", "only": "EUR"}},
        joins=[{"table": "t", "match": {"shop": "id"}}],
    )  # fmt: skip
    assert schema.event_keys() == {
        "user_id[0]": "who", "user_id[1]": "card", "event_id": "id", "counterparty": "shop",
        "event_time.column": "when", "amount": "amount", "amount.currency.column": "cur", "tie_break[0]": "id",
        "joins[t].match": "shop",
        "attributes.category": "kind",
    }  # fmt: skip


def test_only_ledgers_with_instants_are_timed(make_schema):
    assert make_schema().is_timed
    assert not make_schema(event_time={"order": "when"}).is_timed
