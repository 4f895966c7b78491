"""P28, the whole way over HTTP: events of a finished run are scored as the batch run scored them, then taken in."""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from panther_pipeline.features.event import OnlineEvent
from panther_pipeline.online.load import load_scorer

from ..as_sent import as_sent
from ..batch_run import TOLERANCE, differences, inversions, read_batch
from .conftest import running

AS_OF = "2024-11-25"
MANY_AS_OF, NUM_MANY, NUM_SINGLY = "2024-05-20", 10_000, 1_000
MOST_TOGETHER = 256  # of one request


@pytest.fixture(scope="module")
def batch(finished_run):
    return read_batch(finished_run)


@pytest.fixture
def artifacts_as_of(finished_run, tmp_path):
    """The run with a store as of an instant."""

    def artifacts_as_of(as_of: str):
        finished_run.online_store(as_of).save(tmp_path / "store")
        return replace(finished_run.artifacts, store=tmp_path / "store")

    return artifacts_as_of


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
        assert taken.json()["events"] == [{"event_id": event.event_id, "status": "accepted"} for event in events]
    return scores


def body_of(events: list[OnlineEvent], *, with_label: bool = False) -> dict[str, Any]:
    sent = [as_sent(event, with_label=with_label) for event in events]
    return sent[0] if len(sent) == 1 else {"events": sent}


def compare(rows, events, scores, batch) -> float:
    """Largest difference to the batch run, of which no score may be missing; the ranking is the same."""
    assert [score["event_id"] for score in scores] == [event.event_id for event in events]
    asked = [batch[row] for row in rows]
    pairs = [(result["score"], score["probability"]) for result, score in zip(asked, scores, strict=True)]
    assert inversions([pair for pair in pairs if pair[0] is not None]) == 0
    return max(max(differences(score, result)) for score, result in zip(scores, asked, strict=True))


def test_events_over_http_are_scored_as_in_bulk(finished_run, artifacts_as_of, batch):
    artifacts = artifacts_as_of(AS_OF)
    rows, events = finished_run.events_from(AS_OF, 300)

    async def ask():
        async with running(lambda: load_scorer(artifacts), max_future_s=None) as client:
            return await replay(client, ([event] for event in events))

    assert all(batch[row]["score"] is not None for row in rows)
    assert compare(rows, events, asyncio.run(ask()), batch) <= TOLERANCE


@pytest.mark.slow
def test_ten_thousand_events_sent_to_the_service_are_scored_as_in_bulk(
    finished_run, artifacts_as_of, batch, benchmarks, tmp_path
):
    from serving_process import serve

    rows, events = finished_run.events_from(MANY_AS_OF, NUM_MANY)
    requests = [[event] for event in events[:NUM_SINGLY]] + list(strangers(events[NUM_SINGLY:]))

    async def ask(port: int):
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            return await replay(client, requests)

    with serve(artifacts_as_of(MANY_AS_OF), {"max_events": MOST_TOGETHER}, tmp_path / "service.log") as service:
        scores = asyncio.run(ask(service.port))
    largest = compare(rows, events, scores, batch)
    print(
        f"\nP28 {largest:.1e} largest difference of {len(scores)} events over HTTP ({NUM_SINGLY} singly) and in bulk"
        f" / {TOLERANCE:.0e}"
    )
    assert len(scores) == NUM_MANY
    assert len(requests) < NUM_SINGLY + (NUM_MANY - NUM_SINGLY) / 2, "most are sent together"
    assert largest <= TOLERANCE


def test_event_before_all_that_is_known_is_refused_in_words(finished_run, artifacts_as_of):
    artifacts = artifacts_as_of(AS_OF)
    _, events = finished_run.events_from(AS_OF, 1)
    old = replace(events[0], event_id="old", time_us=events[0].time_us - 200 * 86_400_000_000)

    async def ask():
        async with running(lambda: load_scorer(artifacts), max_future_s=None) as client:
            return [await client.post(path, json=as_sent(old)) for path in ("/score", "/events")]

    scored, taken = asyncio.run(ask())
    assert (scored.status_code, scored.json()) == (422, {"error": "too_late"})
    assert taken.json()["events"] == [{"event_id": "old", "status": "too_late"}]
