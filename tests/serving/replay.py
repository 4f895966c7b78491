"""Events of a finished run sent to a service: scored, then taken in."""

from collections.abc import Iterable, Iterator
from typing import Any

import httpx

from panther_pipeline.features.event import OnlineEvent
from panther_pipeline.online.as_sent import as_sent

MOST_TOGETHER = 256  # events of one request


def strangers(events: Iterable[OnlineEvent]) -> Iterator[list[OnlineEvent]]:
    """Runs of events of which none is in the past of another: scored together they are as they are one by one."""
    together: list[OnlineEvent] = []
    seen: set[tuple[str, str | None]] = set()
    for event in events:
        parties = {("user", event.user_id), ("counterparty", event.counterparty)} - {("counterparty", None)}
        if parties & seen or len(together) == MOST_TOGETHER:
            yield together
            together, seen = [], set()
        together.append(event)
        seen |= parties
    if together:
        yield together


async def replay(client: httpx.AsyncClient, requests: Iterable[list[OnlineEvent]]) -> list[dict[str, Any]]:
    """Score of each event; those of a request are taken in after they were scored."""
    scores = []
    for events in requests:
        scored = await client.post("/score", json=body_of(events))
        assert scored.status_code == 200, scored.text
        scores += scored.json()["scores"]
        taken = await client.post("/events", json=body_of(events, with_label=True))
        accepted = [{"event_id": event.event_id, "status": "accepted"} for event in events]
        assert taken.json().get("events") == accepted, taken.text
    return scores


def body_of(events: list[OnlineEvent], *, with_label: bool = False) -> dict[str, Any]:
    sent = [as_sent(event, with_label=with_label) for event in events]
    return sent[0] if len(sent) == 1 else {"events": sent}
