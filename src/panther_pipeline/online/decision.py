"""What is said of a transaction, and what becomes of one that has arrived."""

from dataclasses import dataclass
from typing import Literal

IngestStatus = Literal["accepted", "duplicate", "label_updated", "too_late"]


@dataclass(frozen=True, kw_only=True)
class ExpectedTransaction:
    """One of the likeliest next transactions of a user."""

    token: str  # readable
    prob: float


@dataclass(frozen=True, kw_only=True)
class Reason:
    """A group of inputs, and how far it moves the decision."""

    what: str
    effect: float  # log-odds of fraud with these inputs, less that with their average over the fitted transactions


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The score of one transaction and what it rests on. The features behind it are not shown."""

    event_id: str
    probability: float  # calibrated, of fraud
    surprise: float  # nats: -log p of the token under what was expected of the user
    surprise_z: float  # in the user's own standard deviations
    cosine: float  # of what was expected and what came; 0 without history
    history_length: int  # events behind the embedding
    is_new_user: bool  # nothing is known of the user: scored by the prior and the transaction alone
    token: str  # readable
    expected: tuple[ExpectedTransaction, ...] = ()  # instead, likeliest first; if an explanation was asked for
    reasons: tuple[Reason, ...] = ()  # largest effect first; likewise


@dataclass(frozen=True, kw_only=True)
class Ingested:
    """What became of a transaction that arrived."""

    event_id: str
    status: IngestStatus


@dataclass(frozen=True, kw_only=True)
class NextTransactions:
    """What is expected of a user next, likeliest first."""

    history_length: int  # events it is expected from
    expected: tuple[ExpectedTransaction, ...]


@dataclass(frozen=True, kw_only=True)
class PastTransaction:
    """A transaction of the past as the model read it."""

    time_us: int  # int64 microseconds UTC
    token: str  # readable
    surprise: float  # nats, when it happened


@dataclass(frozen=True, kw_only=True)
class UserTimeline:
    """The newest transactions of a user, oldest first, and what is expected next."""

    history_length: int
    events: tuple[PastTransaction, ...]
    expected: tuple[ExpectedTransaction, ...]
