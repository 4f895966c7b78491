"""The whole way over HTTP: events of a finished run are scored as the batch run scored them, then taken in."""

import asyncio
from dataclasses import replace

import pytest

from panther_pipeline.online.as_sent import as_sent
from panther_pipeline.online.load import load_scorer

from ..batch_run import check_scores, read_batch
from .conftest import running
from .replay import replay

AS_OF = "2024-11-25"


@pytest.fixture
def artifacts(finished_run, tmp_path):
    finished_run.online_store(AS_OF).save(tmp_path / "store")
    return replace(finished_run.artifacts, store=tmp_path / "store")


def test_events_over_http_are_scored_as_in_bulk(finished_run, artifacts):
    rows, events = finished_run.events_from(AS_OF, 300)

    async def ask():
        async with running(lambda: load_scorer(artifacts), max_future_s=None) as client:
            return await replay(client, ([event] for event in events))

    batch = read_batch(finished_run)
    assert all(batch[row]["score"] is not None for row in rows)
    check_scores(asyncio.run(ask()), rows, batch)


def test_event_before_all_that_is_known_is_refused_in_words(finished_run, artifacts):
    _, events = finished_run.events_from(AS_OF, 1)
    old = replace(events[0], event_id="old", time_us=events[0].time_us - 200 * 86_400_000_000)

    async def ask():
        async with running(lambda: load_scorer(artifacts), max_future_s=None) as client:
            return [await client.post(path, json=as_sent(old)) for path in ("/score", "/events")]

    scored, taken = asyncio.run(ask())
    assert (scored.status_code, scored.json()) == (422, {"error": "too_late"})
    assert taken.json()["events"] == [{"event_id": "old", "status": "too_late"}]
