"""What the HTTP service needs of whatever scores: the protocol, and what goes in and out of it.

Nothing here knows HTTP, and the service knows nothing of models: it holds a `Scorer` and one thread that calls it.
"""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from panther_pipeline.features.event import OnlineEvent as Event

IngestStatus = Literal["accepted", "duplicate", "too_late", "label_updated"]


@dataclass(frozen=True, kw_only=True)
class AttributeSchema:
    """A declared attribute of an event."""

    name: str
    kind: Literal["category", "number"]
    example: str | float  # a value of the ledger that may be shown in public documentation
    required: bool = False  # whether an event without it is refused


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
    counterparty_required: bool = False


@dataclass(frozen=True, kw_only=True)
class Expected:
    """A token the model holds possible, and how probable it is."""

    token: str
    prob: float


@dataclass(frozen=True, kw_only=True)
class Reason:
    """What moved a score, and by how much (in log-odds)."""

    what: str
    effect: float


@dataclass(frozen=True, kw_only=True)
class Score:
    """What is said of one event. The features behind it are not shown."""

    event_id: str
    probability: float  # calibrated
    surprise: float  # nats: minus log of what the model gave the token
    surprise_z: float  # against the user's own past surprises
    cosine: float  # of the embedding to the one before
    history_length: int  # events known of the user before this one
    is_new_user: bool
    token: str  # readable
    expected: tuple[Expected, ...] = ()  # filled where an explanation was asked for, as are the reasons
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Ingested:
    """What became of one event that was handed in."""

    event_id: str
    status: IngestStatus


@dataclass(frozen=True, kw_only=True)
class NextTransactions:
    """The most probable next tokens of a user, most probable first."""

    history_length: int
    expected: tuple[Expected, ...]


class Scorer(Protocol):
    """Scores events and takes them in. All calls come from one thread, one after the other."""

    identity: dict[str, str]  # digests and versions of model, tokenizer, store: shown in answers and by /readyz
    schema: EventSchema

    def score(self, events: list[Event], explain: bool) -> list[Score]:
        """One score per event, in order; changes nothing."""
        ...

    def ingest(self, events: list[Event]) -> list[Ingested]:
        """Take events into the state; one status per event, in order."""
        ...

    def next_transactions(self, user_id: str, num: int) -> NextTransactions | None:
        """At most `num` expected tokens; None for a user without history."""
        ...

    def user(self, user_id: str) -> dict[str, Any] | None:
        """What is known of a user; None for a user without history."""
        ...

    def refresh(self) -> int:
        """Embed some users that events touched and return how many; 0 when none is left.

        Scoring waits while this runs, so a call takes on a small batch of users only.
        """
        ...
