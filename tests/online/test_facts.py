"""What a store says of itself is read again, whichever version of it did not know of card keys."""

from panther_pipeline.online.facts import EventFacts

FACTS = {
    "attributes": [], "has_counterparty": True, "amount_range_cents": [-100, 100], "earliest_us": 0, "has_labels": True,
}  # fmt: skip


def test_facts_from_before_card_keys_are_read():
    facts = EventFacts.model_validate(FACTS, strict=False)
    assert facts.card_key_id is None
    assert facts.as_schema({}).card_key_id is None


def test_key_of_card_numbers_reaches_the_service():
    facts = EventFacts.model_validate(FACTS | {"card_key_id": "0123abcd"}, strict=False)
    assert EventFacts.model_validate(facts.model_dump(mode="json"), strict=False) == facts
    assert facts.as_schema({}).card_key_id == "0123abcd"
