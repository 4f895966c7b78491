"""The store says with which key the card numbers of its ids were replaced."""

from types import SimpleNamespace

import polars as pl
import pytest

from panther_pipeline.cards.keys import CardKey
from panther_pipeline.errors import ArtifactError
from panther_pipeline.online.build import StoreSources, _card_key_id

CARD = "4111111111111111"


@pytest.fixture
def sources():
    """Of a ledger with one event and one profile."""

    def sources(*, user="u1", event="1", shop="s1", profile="u1", sequence="u1"):
        events = pl.DataFrame({"user_id": [user], "event_id": [event], "counterparty": [shop]})
        rest = dict.fromkeys(("surprises", "forecasts", "backbone", "tokenizer"))
        sequences = SimpleNamespace(user_ids=[sequence])
        profiles = pl.DataFrame({"user_id": [profile]})
        return StoreSources(valid_events=events, profiles=profiles, sequences=sequences, **rest)

    return sources


@pytest.mark.parametrize("where", ["user", "event", "shop", "profile", "sequence"])
def test_store_knows_the_key_of_its_ids(sources, where):
    key = CardKey(b"a" * 32)
    assert _card_key_id(sources()) is None
    assert _card_key_id(sources(**{where: key.token(CARD)})) == key.id


def test_ids_made_with_different_keys_are_not_mixed(sources):
    tokens = [CardKey(bytes([byte]) * 32).token(CARD) for byte in (1, 2)]
    with pytest.raises(ArtifactError, match="different keys"):
        _card_key_id(sources(user=tokens[0], profile=tokens[1]))
