import json
from dataclasses import replace
from datetime import datetime

import pytest
from fastapi.exceptions import RequestValidationError
from hypothesis import given
from hypothesis import strategies as st

from panther_pipeline.serving.config import ServingConfig
from panther_pipeline.serving.contracts import EventContract, to_refusal
from panther_pipeline.serving.strict_json import parse_json

NOW_US = 1_700_000_000_000_000


def read(contract, body):
    """As it comes over the wire: through JSON text."""
    return contract.read_scored(parse_json(json.dumps(body).encode()))


def read_ingested(contract, body):
    return contract.read_ingested(parse_json(json.dumps(body).encode()))


def problems_of(contract, body, read=read):
    with pytest.raises(RequestValidationError) as refused:
        read(contract, body)
    return [(p["where"], p["reason"]) for p in to_refusal(list(refused.value.errors()))]


def test_event_is_read_in_integers(contract, event):
    event |= {"event_time": "2023-11-14T22:13:19.000001+05:30", "amount": "-0.29"}
    (read_event,) = read(contract, event)
    assert read_event.time_us == 1_699_980_199_000_001
    assert read_event.amount_cents == -29
    assert read_event.attributes == {"channel": "online", "distance": 12.5, "class": "a"}
    assert (read_event.counterparty, read_event.label, read_event.label_time_us) == ("shop-1", None, None)


@given(cents=st.integers(-10_000_000, 10_000_000), as_text=st.booleans())
def test_amount_is_exact(fake_serving, cents, as_text):
    contract = EventContract(fake_serving.SCHEMA, ServingConfig(), now_us=lambda: NOW_US)
    text = f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02d}"
    event = contract.example()
    event["amount"] = "AMOUNT"
    raw = json.dumps(event).replace('"AMOUNT"', f'"{text}"' if as_text else text).encode()
    assert contract.read_scored(parse_json(raw))[0].amount_cents == cents


@pytest.mark.parametrize(
    ("sent", "cents"), [("12", 1200), ('"12"', 1200), ("1e2", 10000), ('"0.5"', 50), ("-0.0", 0), ("0.30", 30)]
)
def test_amount_may_be_written_in_several_ways(contract, event, sent, cents):
    event["amount"] = "AMOUNT"
    raw = json.dumps(event).replace('"AMOUNT"', sent).encode()
    assert contract.read_scored(parse_json(raw))[0].amount_cents == cents


@pytest.mark.parametrize(
    "amount",
    [True, False, [], {}, 0.125, "0.125", "1,5", "1e2", "+1", ".5", "5.", " 5", "5\n", "", "NaN", "١٢", "12.50 EUR"],
)
def test_amount_that_is_not_one_is_refused(contract, event, amount):
    assert problems_of(contract, event | {"amount": amount})[0][0] == "amount"


@pytest.mark.parametrize("amount", ["100000.01", -100000.01, 10**30, "999999999999999"])
def test_amount_out_of_range_is_refused(contract, event, amount):
    assert problems_of(contract, event | {"amount": amount}) == [("amount", "out_of_range")]


def test_amount_at_the_border_is_accepted(contract, event):
    assert read(contract, event | {"amount": "100000.00"})[0].amount_cents == 10_000_000


@pytest.mark.parametrize(
    ("instant", "reason"),
    [
        ("2023-11-14T22:13:19", "not_an_instant_with_offset"),
        ("2023-11-14", "not_an_instant_with_offset"),
        ("2023-11-14 22:13:19Z", "not_an_instant_with_offset"),
        ("20231114T221319Z", "not_an_instant_with_offset"),
        ("2023-11-14T22:13:19.1234567Z", "not_an_instant_with_offset"),
        ("２023-11-14T22:13:19Z", "not_an_instant_with_offset"),
        (1_700_000_000, "not_an_instant_with_offset"),
        (None, "not_an_instant_with_offset"),
        ("2023-02-29T00:00:00Z", "no_such_instant"),
        ("2023-11-14T24:61:00Z", "no_such_instant"),
        ("2023-11-14T22:13:60Z", "no_such_instant"),
        ("2023-11-14T22:13:19+25:00", "no_such_instant"),
        ("0000-01-01T00:00:00Z", "no_such_instant"),
        ("1969-12-31T23:59:59Z", "out_of_range"),
        ("0001-01-01T00:00:00+23:59", "out_of_range"),
        ("9999-12-31T23:59:59-23:59", "out_of_range"),
        ("2023-11-16T22:13:21Z", "in_the_future"),
    ],
)
def test_instant_that_is_not_one_is_refused(contract, event, instant, reason):
    assert problems_of(contract, event | {"event_time": instant}) == [("event_time", reason)]


@given(st.integers(0, NOW_US), st.sampled_from(["+00:00", "-11:30", "+14:00"]))
def test_instant_keeps_its_microseconds(fake_serving, time_us, offset):
    contract = EventContract(fake_serving.SCHEMA, ServingConfig(max_future_s=None))
    zone = datetime.fromisoformat(f"2020-01-01T00:00:00{offset}").tzinfo
    whole = datetime.fromtimestamp(time_us // 1_000_000, zone).replace(microsecond=time_us % 1_000_000)
    assert read(contract, contract.example() | {"event_time": whole.isoformat()})[0].time_us == time_us


def test_clock_ahead_is_allowed_where_stated(fake_serving, event):
    contract = EventContract(fake_serving.SCHEMA, ServingConfig(max_future_s=None), now_us=lambda: NOW_US)
    assert read(contract, event | {"event_time": "2099-01-01T00:00:00Z"})


@pytest.mark.parametrize("name", ["user_id", "event_id", "counterparty"])
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "wrong_length"),
        ("x" * 129, "wrong_length"),
        ("a\tb", "control_character"),
        ("a\x85b", "control_character"),
        (" a", "malformed_id"),
        ("a\u00a0", "malformed_id"),
        ("4.12345E+15", "malformed_id"),
        (17, "not_text"),
        (True, "not_text"),
        (["a"], "not_text"),
        ("4111111111111111", "card_number"),
        ("card 4111 1111 1111 1111", "card_number"),
    ],
)
def test_identifier_that_is_not_one_is_refused(contract, event, name, value, reason):
    assert problems_of(contract, event | {name: value}) == [(name, reason)]


def test_identifier_may_be_any_other_text(contract, event):
    for value in ("007", "NA", "null", "ü" * 128, "a b", "-"):
        assert read(contract, event | {"user_id": value})[0].user_id == value


@pytest.mark.parametrize(
    ("attributes", "problem"),
    [
        ({"channel": 1}, ("attributes.channel", "not_text")),
        ({"channel": ""}, ("attributes.channel", "wrong_length")),
        ({"channel": "x" * 257}, ("attributes.channel", "wrong_length")),
        ({"channel": "4111-1111-1111-1111"}, ("attributes.channel", "card_number")),
        ({"class": "a\nb"}, ("attributes.class", "control_character")),
        ({"distance": "1"}, ("attributes.distance", "not_a_number")),
        ({"distance": True}, ("attributes.distance", "not_a_number")),
        ({"distance": 10**19}, ("attributes.distance", "out_of_range")),
        ({"distance": 4111111111111111}, ("attributes.distance", "card_number")),
        ({"distance": -4111111111111111}, ("attributes.distance", "card_number")),
        ({"secret-4711": 1}, ("attributes", "extra_forbidden")),
        ({"value_0": "x"}, ("attributes", "extra_forbidden")),
        (None, ("attributes", "model_type")),
        ([], ("attributes", "model_type")),
    ],
)
def test_attribute_that_is_not_one_is_refused(contract, event, attributes, problem):
    assert problems_of(contract, event | {"attributes": attributes}) == [problem]


def test_attributes_that_are_missing_are_as_in_the_ledger(contract, event):
    nothing = {"channel": "(missing)", "distance": None, "class": "(missing)"}
    assert read(contract, event | {"attributes": {"distance": None}})[0].attributes == nothing
    del event["attributes"], event["counterparty"]
    (read_event,) = read(contract, event)
    assert read_event.attributes == nothing
    assert read_event.counterparty is None


def test_card_numbers_pass_where_ids_look_like_them(fake_serving, event):
    contract = EventContract(fake_serving.SCHEMA, ServingConfig(allow_card_numbers=True), now_us=lambda: NOW_US)
    event |= {"user_id": "4111111111111111", "attributes": {"distance": 4111111111111111}}
    assert read(contract, event)[0].user_id == "4111111111111111"


def test_required_parts_must_be_there(fake_serving, event):
    attributes = tuple(replace(a, required=a.name == "channel") for a in fake_serving.SCHEMA.attributes)
    schema = replace(fake_serving.SCHEMA, attributes=attributes, counterparty_required=True)
    contract = EventContract(schema, ServingConfig(), now_us=lambda: NOW_US)
    assert problems_of(contract, {**event, "attributes": {}}) == [("attributes.channel", "missing")]
    assert problems_of(contract, {**event, "counterparty": None}) == [("counterparty", "not_text")]
    del event["attributes"], event["counterparty"], event["amount"]
    assert problems_of(contract, event) == [(w, "missing") for w in ("amount", "counterparty", "attributes")]


def test_ledger_without_a_part_refuses_it(fake_serving, event):
    schema = replace(
        fake_serving.SCHEMA, amount_range_cents=None, has_counterparty=False, attributes=(), has_labels=False
    )
    contract = EventContract(schema, ServingConfig(), now_us=lambda: NOW_US)
    assert problems_of(contract, event) == [("body", "extra_forbidden")] * 3
    assert set(contract.example(with_label=True)) == {"user_id", "event_id", "event_time"}
    assert read(contract, contract.example())[0].amount_cents is None


def test_labels_are_read_where_events_are_taken_in(contract):
    event = contract.example(with_label=True)
    (labelled,) = read_ingested(contract, event)
    assert (labelled.label, labelled.label_time_us) == (0, labelled.time_us)
    assert problems_of(contract, event) == [("body", "extra_forbidden")] * 2  # a score must not know its label


def test_schema_tells_that_a_label_and_its_time_come_together(contract):
    both = {"label": ["label_time"], "label_time": ["label"]}
    assert contract.ingested_model.model_json_schema()["dependentRequired"] == both
    assert "dependentRequired" not in contract.scored_model.model_json_schema()


@pytest.mark.parametrize(
    ("label", "problem"),
    [
        ({"label": True, "label_time": "2023-11-14T22:13:19Z"}, ("label", "not_a_whole_number")),
        ({"label": 2, "label_time": "2023-11-14T22:13:19Z"}, ("label", "literal_error")),
        ({"label": "1", "label_time": "2023-11-14T22:13:19Z"}, ("label", "not_a_whole_number")),
        ({"label": 1}, ("label_time", "only_with_the_other")),
        ({"label_time": "2023-11-14T22:13:19Z"}, ("label", "only_with_the_other")),
        ({"label": 1, "label_time": "2023-11-14"}, ("label_time", "not_an_instant_with_offset")),
    ],
)
def test_label_that_is_not_one_is_refused(contract, event, label, problem):
    assert problems_of(contract, event | label, read_ingested) == [problem]


def test_several_events_are_read_in_order(contract, event):
    several = {"events": [{**event, "event_id": str(i)} for i in range(256)]}
    assert [e.event_id for e in read(contract, several)] == [str(i) for i in range(256)]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda e: {"events": []}, ("events", "too_short")),
        (lambda e: {"events": [e] * 257}, ("events", "too_long")),
        (lambda e: {"events": e}, ("events", "list_type")),
        (lambda e: {"events": [e], **e}, ("body", "extra_forbidden")),
        (lambda e: {"events": [e, 5]}, ("events.1", "not_an_object")),
        (lambda e: {"events": [e, {**e, "user_id": 5}]}, ("events.1.user_id", "not_text")),
        (lambda e: {"events": [{"events": [e]}]}, ("events.0", "extra_forbidden")),
        (lambda e: [e], ("body", "not_an_object")),
        (lambda e: "x", ("body", "not_an_object")),
        (lambda e: None, ("body", "not_an_object")),
    ],
)
def test_list_of_events_that_is_not_one_is_refused(contract, event, change, problem):
    assert problem in problems_of(contract, change(event))


def test_question_for_the_next_is_read(contract):
    assert contract.read_next({"user_id": "a"}) == ("a", 10)
    for wrong in ({"k": 1}, {"user_id": "a", "k": 0}, {"user_id": "a", "k": 101}, {"user_id": "a", "k": True}):
        assert problems_of(contract, wrong, lambda c, body: c.read_next(body))


def test_examples_are_valid(contract, fake_serving):
    assert read(contract, contract.example())
    assert read_ingested(contract, contract.example(with_label=True))
    narrow = replace(fake_serving.SCHEMA, amount_range_cents=(-900, -100), latest_us=1_000_000_000)
    contract = EventContract(narrow, ServingConfig())
    assert read(contract, contract.example())[0].amount_cents == -100


CARD = "4111111111111111"


@pytest.fixture
def keyed(fake_serving, card_key):
    """A contract with the key of the store that is served."""
    schema = replace(
        fake_serving.SCHEMA,
        card_key_id=card_key.id,
        masks_card_numbers=True,
        amount_range_cents=(-(10**17), 10**17),
    )
    return EventContract(schema, ServingConfig(), now_us=lambda: NOW_US, card_key=card_key)


def test_card_numbers_become_the_tokens_of_ingestion_with_its_key(keyed, card_key, event):
    token = card_key.token(CARD)
    event |= {"user_id": "4111 1111 1111 1111", "event_id": CARD, "counterparty": f"0-{CARD}"}
    (read_event,) = read(keyed, event | {"attributes": {"channel": f"card {CARD}!"}})
    assert (read_event.user_id, read_event.event_id, read_event.counterparty) == (token, token, f"0-{token}")
    assert read_event.attributes["channel"] == "card [card number]!"
    assert keyed.read_user({"user_id": CARD}) == token
    assert keyed.read_next({"user_id": CARD}) == (token, 10)


@pytest.mark.parametrize(
    ("change", "where"),
    [({"attributes": {"distance": int(CARD)}}, "attributes.distance"), ({"amount": "378282246310005"}, "amount")],
)
def test_number_that_is_a_card_number_is_refused_even_with_the_key(keyed, event, change, where):
    assert problems_of(keyed, event | change) == [(where, "card_number")]


@pytest.mark.parametrize("key_id", [None, "00000000"])
def test_card_numbers_are_refused_where_the_store_has_another_key(fake_serving, card_key, event, key_id):
    schema = replace(fake_serving.SCHEMA, card_key_id=key_id)
    contract = EventContract(schema, ServingConfig(), now_us=lambda: NOW_US, card_key=card_key)
    assert problems_of(contract, event | {"user_id": CARD}) == [("user_id", "card_number")]


def test_card_number_in_a_category_is_masked_without_a_key_where_ingestion_did_so(fake_serving, event):
    schema = replace(fake_serving.SCHEMA, masks_card_numbers=True)
    contract = EventContract(schema, ServingConfig(), now_us=lambda: NOW_US)
    (read_event,) = read(contract, event | {"attributes": {"channel": f"paid {CARD}"}})
    assert read_event.attributes["channel"] == "paid [card number]"
    assert problems_of(contract, event | {"user_id": CARD}) == [("user_id", "card_number")]
