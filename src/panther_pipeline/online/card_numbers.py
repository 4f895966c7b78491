"""Card numbers in the texts of an event that arrives: what ingestion made of those in the ledger, or a refusal."""

from panther_pipeline.cards.keys import KEY_VARIABLE, CardKey
from panther_pipeline.cards.numbers import holds_card_number, mask_card_numbers
from panther_pipeline.online.event_values import RefusedValueError
from panther_pipeline.online.schema import EventSchema


class CardNumbers:
    """Replaces card numbers as ingestion did: under its tokens in ids, behind its mask in categories.

    Args:
        schema: of the ledger.
        key: of this process; tokens of another key than the ledger's would be those of nobody.
    """

    def __init__(self, schema: EventSchema, key: CardKey | None) -> None:
        self._key = key if is_key_of(schema, key) else None
        self._key_id, self._masks = schema.card_key_id, schema.masks_card_numbers

    def replace_in_id(self, text: str) -> str:
        """The id that the ledger has.

        Raises:
            RefusedValueError: card_number; it holds one, and the key is not that of the ledger.
        """
        if not holds_card_number(text):
            return text
        if self._key is None:
            told_as = f"which the ledger has under a token of key {self._key_id}: set {KEY_VARIABLE} to it"
            raise RefusedValueError("card_number", f"holds a card number, {told_as}")
        return self._key.tokenize(text)

    def replace_in_category(self, text: str) -> str:
        """The category that the ledger has.

        Raises:
            RefusedValueError: card_number; it holds one, and ingestion masked none.
        """
        if self._masks:
            return mask_card_numbers(text)
        if holds_card_number(text):
            raise RefusedValueError("card_number", "holds a card number, and the ledger has none")
        return text


def is_key_of(schema: EventSchema, key: CardKey | None) -> bool:
    """Whether card numbers in the ids of a ledger were replaced with this key."""
    return key is not None and key.id == schema.card_key_id
