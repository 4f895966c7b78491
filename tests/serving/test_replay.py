"""The whole way over HTTP: events of a finished run are scored as the batch run scored them, then taken in."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from panther_pipeline.features.event import OnlineEvent
from panther_pipeline.online.load import load_scorer

from .conftest import running

AS_OF = "2024-11-25"
TOLERANCE = 1e-5


def as_json(event: OnlineEvent, with_label: bool = False) -> dict:
    """The event as a client would send it."""
    sent = {
        "user_id": event.user_id,
        "event_id": event.event_id,
        "event_time": as_instant(event.time_us),
        "amount": f"{'-' if event.cents < 0 else ''}{abs(event.cents) // 100}.{abs(event.cents) % 100:02d}",
        "counterparty": event.counterparty,
        "attributes": dict(event.attributes),
    }
    if with_label and event.label is not None:
        sent |= {"label": event.label, "label_time": as_instant(event.label_time_us)}
    return {name: value for name, value in sent.items() if value is not None}


def as_instant(time_us: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_us)).isoformat()


async def replay(artifacts, events) -> dict[str, dict]:
    """Score of each event by its id; each is taken in after it was scored."""
    scores = {}
    async with running(lambda: load_scorer(artifacts), max_future_s=None) as client:
        for event in events:
            scored = await client.post("/score", json=as_json(event))
            assert scored.status_code == 200, scored.text
            scores[event.event_id] = scored.json()["scores"][0]
            taken = await client.post("/events", json=as_json(event, with_label=True))
            assert taken.json()["events"] == [{"event_id": event.event_id, "status": "accepted"}]
    return scores


@pytest.fixture
def artifacts(finished_run, tmp_path):
    finished_run.online_store(AS_OF).save(tmp_path / "store")
    return replace(finished_run.artifacts, store=tmp_path / "store")


def test_events_over_http_are_scored_as_in_bulk(finished_run, artifacts):
    table = finished_run.table("07_model_output", "fraud_scores").filter(model="panther_head")
    expected = dict(table.filter(seed=table["seed"].min()).select("event_id", "score").iter_rows())
    _, events = finished_run.events_from(AS_OF, 300)
    scores = asyncio.run(replay(artifacts, events))
    largest = max(abs(scores[event.event_id]["probability"] - expected[event.event_id]) for event in events)
    assert largest <= TOLERANCE


def test_event_before_all_that_is_known_is_refused_in_words(finished_run, artifacts):
    _, events = finished_run.events_from(AS_OF, 1)
    old = replace(events[0], event_id="old", time_us=events[0].time_us - 200 * 86_400_000_000)

    async def ask():
        async with running(lambda: load_scorer(artifacts), max_future_s=None) as client:
            return await client.post("/score", json=as_json(old)), await client.post("/events", json=as_json(old))

    scored, taken = asyncio.run(ask())
    assert (scored.status_code, scored.json()) == (422, {"error": "too_late"})
    assert taken.json()["events"] == [{"event_id": "old", "status": "too_late"}]
