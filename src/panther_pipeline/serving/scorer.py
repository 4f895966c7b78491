"""What the HTTP service needs of whatever scores.

Nothing here knows HTTP, and the service knows nothing of models: it holds a `Scorer` and calls it.
"""

from collections.abc import Sequence
from typing import Protocol

from panther_pipeline.features.event import OnlineEvent as Event
from panther_pipeline.online.decision import Decision, Ingested, NextTransactions, UserTimeline
from panther_pipeline.online.schema import EventSchema


class Scorer(Protocol):
    """Scores events and takes them in. All calls come one after the other, from any thread, but those that say so."""

    @property
    def identity(self) -> dict[str, str]:
        """Digests and versions of model, tokenizer, store: shown in answers and by /readyz."""
        ...

    @property
    def schema(self) -> EventSchema:
        """Of the events of the served ledger."""
        ...

    def score(self, events: Sequence[Event], explain: bool = False) -> list[Decision]:
        """One decision per event, in order; changes nothing."""
        ...

    def ingest(self, events: Sequence[Event]) -> list[Ingested]:
        """Take events into the state; one status per event, in order.

        Fewer, if the state has moved to where another scorer, loaded anew, is to take in the rest.
        """
        ...

    def next_transactions(self, user_id: str, num: int) -> NextTransactions | None:
        """At most `num` expected tokens; None for a user without history."""
        ...

    def user(self, user_id: str) -> UserTimeline | None:
        """What is known of a user; None for a user without history."""
        ...

    def sample_users(self, num: int) -> list[str]:
        """At most `num` users of whom something is known: those that events came from last, then others."""
        ...

    def warm_up(self) -> None:
        """Make ready what scoring does not need at once, so that no later call has to; from any thread."""
        ...

    def refresh(self) -> int:
        """Embed some users that events touched and return how many; 0 when none is left.

        Scoring waits while this runs, so a call takes on a small batch of users only.
        """
        ...

    def is_outdated(self) -> bool:
        """Whether there is something newer to load. A cheap look, from any thread."""
        ...

    def close(self) -> None:
        """Let go of everything, from any thread; no other call is running, none comes after."""
        ...
