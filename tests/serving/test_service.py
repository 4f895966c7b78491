"""The key for card numbers reaches what reads requests, and another one than the store's is told."""

import asyncio
import logging
from dataclasses import replace

import pytest

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.serving.config import ServingConfig
from panther_pipeline.serving.server import serve
from panther_pipeline.serving.service import Service

CARD = "4111111111111111"


@pytest.fixture
def load(fake_serving, card_key):
    """Loads the scorer of a store that was made with a key; gives the service and the user it reads."""

    def load(key_id):
        scorer = fake_serving.FakeScorer(schema=replace(fake_serving.SCHEMA, card_key_id=key_id))
        service = Service(lambda: scorer, ServingConfig(), card_key=card_key)
        asyncio.run(service.load())
        return service.loaded.contract

    return load


def warnings_of(caplog):
    return [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_service_replaces_card_numbers_with_the_key_of_its_store(load, card_key, caplog):
    assert load(card_key.id).read_user({"user_id": CARD}) == card_key.token(CARD)
    assert not warnings_of(caplog)


def test_key_that_is_not_the_one_of_the_store_is_told(load, card_key, caplog):
    with caplog.at_level(logging.WARNING):
        load("0123abcd")
    (record,) = warnings_of(caplog)
    assert "not made with this PANTHER_CARD_KEY" in record.message
    assert record.fields == {"key_id": card_key.id, "key_id_of_store": "0123abcd"}


def test_weak_key_stops_the_service_before_it_starts(monkeypatch):
    monkeypatch.setenv("PANTHER_CARD_KEY", "00" * 32)
    with pytest.raises(ConfigurationError, match="PANTHER_CARD_KEY"):
        serve(lambda: None, ServingConfig())
