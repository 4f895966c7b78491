"""Which parts a transaction of the served ledger has: what a service accepts, and describes."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class AttributeSchema:
    """A declared attribute of an event."""

    name: str
    kind: Literal["category", "number"]
    example: str | float  # a value of the ledger that may be shown in public documentation
    required: bool = False  # whether an event without it is refused
    known: tuple[str, ...] = ()  # categories of the ledger, the most frequent first


@dataclass(frozen=True, kw_only=True)
class EventSchema:
    """Which parts an event of the served ledger has, and their bounds."""

    attributes: tuple[AttributeSchema, ...]
    has_counterparty: bool
    amount_range_cents: tuple[int, int] | None  # lowest and highest; None where the ledger has no amounts
    earliest_us: int  # microseconds UTC, inclusive
    latest_us: int
    has_labels: bool
    amount_required: bool = False  # whether an event without an amount is refused
    card_key_id: str | None = None  # of the key that replaced card numbers in ids; None where there were none
    masks_card_numbers: bool = False  # whether the ledger's categories have a mask in place of card numbers
    counterparty_required: bool = False
