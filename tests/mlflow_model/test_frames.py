"""A frame is read to the cent and the microsecond, and refused with row and column; as the HTTP service would."""

import json
from dataclasses import replace
from decimal import Decimal

import pandas as pd
import pytest
from fastapi.exceptions import RequestValidationError
from hypothesis import given
from hypothesis import strategies as st

from panther_pipeline.errors import ConfigurationError, SourceError
from panther_pipeline.mlflow_model.frames import columns_of, example_frame, read_frame, write_frame
from panther_pipeline.online.decision import Decision, ExpectedTransaction, Reason
from panther_pipeline.online.schema import AttributeSchema
from panther_pipeline.serving.config import ServingConfig
from panther_pipeline.serving.contracts import EventContract
from panther_pipeline.serving.strict_json import MalformedJson, parse_json

NOW_US = 1_700_000_000_000_000


@pytest.fixture(scope="module")
def schema(fake_serving):
    return fake_serving.SCHEMA


@pytest.fixture
def frame(schema):
    return pd.concat([example_frame(schema, NOW_US)] * 3, ignore_index=True).astype(object)


def test_row_is_read_in_integers(frame, schema):
    frame.loc[1, ["event_time", "amount", "distance"]] = ["2023-11-14T22:13:19.000001+05:30", "-0.29", 3]
    event = read_frame(frame, schema)[1]
    assert (event.time_us, event.amount_cents) == (1_699_980_199_000_001, -29)
    assert event.attributes == {"channel": "online", "distance": 3.0, "class": "a"}
    assert (event.user_id, event.event_id, event.counterparty) == ("user-1", "event-1", "shop-1")
    assert (event.label, event.label_time_us) == (None, None)


@given(cents=st.integers(-10_000_000, 10_000_000))
def test_amount_is_exact(fake_serving, cents):
    text = f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02d}"
    for amount in (text, Decimal(text)):
        row = example_frame(fake_serving.SCHEMA, NOW_US).assign(amount=[amount])
        assert read_frame(row, fake_serving.SCHEMA)[0].amount_cents == cents


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, pd.NaT])
def test_missing_cells_are_none(frame, schema, missing):
    for column in ("counterparty", "channel", "distance"):
        frame.loc[2, column] = missing
    event = read_frame(frame, schema)[2]
    assert (event.counterparty, event.attributes["channel"], event.attributes["distance"]) == (None, None, None)


WRONG = [
    ("user_id", None), ("user_id", 7), ("user_id", ""), ("user_id", " u"), ("user_id", "5.7E+15"), ("user_id", "u\n"),
    ("user_id", "u" * 129), ("event_id", float("nan")), ("event_id", True), ("event_time", None),
    ("event_time", "2023-11-14T22:13:19"), ("event_time", "2023-11-14 22:13:19Z"), ("event_time", 1_700_000_000),
    ("event_time", "2023-02-30T00:00:00Z"), ("event_time", "1969-12-31T23:59:59Z"),
    ("event_time", "2023-11-14T22:13:19.0000001Z"), ("event_time", pd.Timestamp("2023-11-14", tz="UTC")),
    ("amount", None), ("amount", True), ("amount", "12,5"), ("amount", "0.125"), ("amount", "1e2"), ("amount", "+1"),
    ("amount", "100000.01"), ("amount", "NaN"), ("amount", "١٢"), ("amount", " 5"), ("amount", Decimal("0.125")),
    ("amount", Decimal("NaN")), ("counterparty", 7), ("counterparty", " m"), ("channel", 7), ("channel", ""),
    ("channel", "a\x00"), ("channel", "a\ud800"), ("channel", "c" * 257),
    ("distance", "1"), ("distance", True), ("distance", float("inf")),
    ("distance", 2 * 10**18),
]  # fmt: skip


@pytest.mark.parametrize(("column", "cell"), WRONG)
def test_wrong_cell_is_refused_by_row_and_column(frame, schema, column, cell):
    frame[column] = pd.Series([frame[column][0], cell, frame[column][0]], dtype=object)
    with pytest.raises(SourceError, match=rf"^row 1 \(the first is 0\), column {column}: must ") as refused:
        read_frame(frame, schema)
    allowed = str(refused.value)
    assert not isinstance(cell, str) or len(cell) < 3 or cell not in allowed, "what was sent is not repeated"


def test_float_amount_is_refused_although_it_looks_exact(frame, schema):
    with pytest.raises(SourceError, match=r"row 0 .*column amount.*a float has lost the exact amount"):
        read_frame(frame.assign(amount=[12.5] * 3), schema)


def over_http(contract, event):
    """The event as the service reads it: through JSON text."""
    return contract.read_scored(parse_json(json.dumps(event).encode()))


@pytest.mark.parametrize(("column", "cell"), [w for w in WRONG if w[1] is None or isinstance(w[1], str | bool)])
def test_service_refuses_the_same_cells(schema, column, cell):
    contract = EventContract(schema, ServingConfig(allow_card_numbers=True), now_us=lambda: NOW_US)
    event = contract.example()
    over_http(contract, event)
    (event if column in event else event["attributes"])[column] = cell
    with pytest.raises((RequestValidationError, MalformedJson)):
        over_http(contract, event)


def test_service_reads_the_same_event(schema):
    contract = EventContract(schema, ServingConfig(), now_us=lambda: NOW_US)
    (sent,) = over_http(contract, contract.example() | {"attributes": {"channel": "x", "class": "é" * 256}})
    row = example_frame(schema, sent.time_us).assign(channel="x", **{"class": "é" * 256, "distance": [None]})
    assert read_frame(row, schema) == [sent]


def test_missing_column_is_named_with_those_needed(frame, schema):
    with pytest.raises(SourceError, match=r"no column class; it needs user_id, .*distance, class"):
        read_frame(frame.drop(columns="class"), schema)


def test_attribute_named_as_a_column_is_refused(schema):
    clash = replace(schema, attributes=(AttributeSchema(name="amount", kind="number", example=1.0),))
    with pytest.raises(ConfigurationError, match=r"'amount'.*ledger\.schema\.attributes"):
        columns_of(clash)


def test_ledger_without_amounts_and_counterparties_has_no_such_columns(schema):
    bare = replace(schema, amount_range_cents=None, has_counterparty=False, attributes=())
    assert list(columns_of(bare)) == ["user_id", "event_id", "event_time"]
    (event,) = read_frame(example_frame(bare, NOW_US), bare)
    assert (event.amount_cents, event.counterparty, event.attributes) == (None, None, {})


def test_decisions_become_rows_of_fixed_types():
    decision = Decision(
        event_id="e1", probability=0.25, surprise=1.5, surprise_z=0.1, cosine=0.9, history_length=3, is_new_user=False,
        token="groceries", expected=(ExpectedTransaction(token="rent", prob=0.5),),
        reasons=(Reason(what="amount", effect=0.7),),
    )  # fmt: skip
    plain, explained = write_frame([decision], explain=False), write_frame([decision], explain=True)
    assert list(plain) == [
        "event_id", "probability", "surprise", "surprise_z", "cosine", "history_length", "is_new_user", "token",
    ]  # fmt: skip
    assert [str(t) for t in plain.dtypes] == [str(t) for t in write_frame([], explain=False).dtypes]
    assert explained["expected"][0] == [{"token": "rent", "prob": 0.5}]
    assert explained["reasons"][0] == [{"what": "amount", "effect": 0.7}]


CARD = "4111 1111 1111 1111"


def test_card_numbers_become_the_tokens_that_ingestion_made_of_them(frame, schema, card_key):
    row = frame.assign(user_id=CARD, counterparty=CARD, channel=f"by {CARD}")
    event = read_frame(row, replace(schema, card_key_id=card_key.id, masks_card_numbers=True))[0]
    assert (event.user_id, event.counterparty) == (card_key.token("4111111111111111"),) * 2
    assert event.attributes["channel"] == "by [card number]"


def test_card_number_without_the_key_of_the_ledger_is_refused(frame, schema, card_key, monkeypatch):
    row, made_with = frame.assign(user_id=CARD), replace(schema, card_key_id="0123abcd")
    with pytest.raises(SourceError, match=r"row 0 .* column user_id: holds a card number.* key 0123abcd") as refused:
        read_frame(row, made_with)
    assert "4111" not in str(refused.value)
    monkeypatch.delenv("PANTHER_CARD_KEY")
    with pytest.raises(SourceError, match="set PANTHER_CARD_KEY"):
        read_frame(row, made_with)


def test_ids_that_look_like_cards_stay_where_the_ledger_replaced_none(frame, schema):
    assert read_frame(frame.assign(user_id=CARD), schema)[0].user_id == CARD
