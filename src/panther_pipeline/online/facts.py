"""What an online store says of itself: of which run it is, and which events it can score."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, ValidationError

from panther_pipeline.config import Config
from panther_pipeline.errors import ArtifactError
from panther_pipeline.features.config import FeatureConfig
from panther_pipeline.online.schema import AttributeSchema, EventSchema
from panther_pipeline.tokenizer.event_tokenizer import EventTokenizer

VERSION = 3
_LATEST_US = 4_102_444_800_000_000  # the year 2100; the service's own clock is the closer bound
_MOST_KNOWN = 30  # values of a category that documentation shows


class AttributeFacts(Config):
    """A declared attribute of an event."""

    name: str
    kind: Literal["category", "number"]
    example: str | float  # for documentation


class EventFacts(Config):
    """Which parts an event of the ledger has, and their bounds."""

    attributes: list[AttributeFacts]
    has_counterparty: bool
    amount_range_cents: tuple[int, int] | None  # lowest and highest; None where the ledger has no amounts
    earliest_us: int  # int64 microseconds UTC
    has_labels: bool
    card_key_id: str | None = None  # of the key that replaced card numbers in ids; None where there were none
    masks_card_numbers: bool = False  # whether the ledger's categories have a mask in place of card numbers

    def as_schema(self, known: Mapping[str, tuple[str, ...]]) -> EventSchema:
        """The same for a service, with the values that the tokenizer knows of each category."""
        return EventSchema(
            attributes=tuple(
                AttributeSchema(**attribute.model_dump(), known=known.get(attribute.name, ()))
                for attribute in self.attributes
            ),
            has_counterparty=self.has_counterparty,
            amount_range_cents=self.amount_range_cents,
            earliest_us=self.earliest_us,
            latest_us=_LATEST_US,
            has_labels=self.has_labels,
            card_key_id=self.card_key_id,
            masks_card_numbers=self.masks_card_numbers,
        )


class StoreFacts(Config):
    """Which run a store belongs to, and how it is read."""

    version: Literal[3] = VERSION
    as_of_us: int  # int64 microseconds UTC; events before it are in the records
    refresh: str  # how often the cache is renewed
    num_recent_events: int = Field(gt=0)
    num_next_transactions: int = Field(ge=0)
    lateness_days: int = Field(ge=0)
    label_wait_days: int = Field(ge=0)
    backbone_digest: str
    tokenizer_digest: str
    features: FeatureConfig
    events: EventFacts

    def as_json(self) -> dict[str, Any]:
        """What `read` reads."""
        return self.model_dump(mode="json")

    @classmethod
    def read(cls, facts: dict[str, Any]) -> Self:
        """What `as_json` gave, beside whatever else a store says of itself.

        Raises:
            ArtifactError: not the facts of an online store, or of another version.
        """
        try:
            return cls.model_validate({name: facts[name] for name in cls.model_fields if name in facts}, strict=False)
        except ValidationError as error:
            wrong = ", ".join(sorted({".".join(map(str, e["loc"])) for e in error.errors()}))
            raise ArtifactError(
                f"the online store was written by another version ({wrong}). Run `kedro run --pipelines=embed` again."
            ) from None


def known_values(tokenizer: EventTokenizer) -> dict[str, tuple[str, ...]]:
    """By column, the most frequent categories of the training events, the most frequent first."""
    return {field.column: tuple(field.categories[:_MOST_KNOWN]) for field in tokenizer.fields if field.categories}
