from dataclasses import replace

import pytest

from panther_pipeline.cards.keys import CardKey
from panther_pipeline.online.card_numbers import CardNumbers, is_key_of
from panther_pipeline.online.event_values import RefusedValueError

CARD = "4111111111111111"


@pytest.fixture
def schema(fake_serving, card_key):
    return replace(fake_serving.SCHEMA, card_key_id=card_key.id)


def test_card_number_in_an_id_becomes_the_token_of_the_ledger(schema, card_key):
    cards = CardNumbers(schema, card_key)
    assert cards.replace_in_id(f"0-{CARD}") == f"0-{card_key.token(CARD)}"
    assert cards.replace_in_id("user-1") == "user-1"


@pytest.mark.parametrize("key", [None, CardKey(bytes(range(32)))])
def test_card_number_in_an_id_is_refused_without_the_key_of_the_ledger(schema, key):
    assert not is_key_of(schema, key)
    cards = CardNumbers(schema, key)
    with pytest.raises(RefusedValueError, match=f"token of key {schema.card_key_id}: set PANTHER_CARD_KEY") as refused:
        cards.replace_in_id(CARD)
    assert refused.value.reason == "card_number"
    assert CARD not in str(refused.value)
    assert cards.replace_in_id("user-1") == "user-1"


def test_card_number_in_a_category_is_masked_where_ingestion_did_so(schema):
    assert CardNumbers(replace(schema, masks_card_numbers=True), None).replace_in_category(CARD) == "[card number]"
    cards = CardNumbers(schema, None)
    assert cards.replace_in_category("online") == "online"
    with pytest.raises(RefusedValueError, match="holds a card number"):
        cards.replace_in_category(CARD)
