"""A new store takes over between two requests; one that cannot be loaded does not."""

import asyncio
import logging
import threading
import time

import pytest

from panther_pipeline.errors import StoreMovedError

from .waiting import until

SOON = {"reload_interval_s": 0.01}


class Shelf:
    """What is published: scorers of generations g1, g2, ..."""

    def __init__(self, fake_serving):
        self._make = fake_serving.FakeScorer
        self.scorers, self.fails_with, self.loading_s, self.threads = [], None, 0.0, []

    def publish(self) -> None:
        self.scorers[-1].outdated = True

    def load(self):
        self.threads.append(threading.get_ident())
        time.sleep(self.loading_s)
        if self.fails_with:
            raise self.fails_with
        scorer = self._make()
        scorer.identity = {"store": f"g{len(self.scorers) + 1}"}
        self.scorers.append(scorer)
        return scorer


@pytest.fixture
def shelf(fake_serving):
    return Shelf(fake_serving)


async def store_of(client, path="/score", **request):
    return (await client.post(path, **request)).json()["identity"]["store"]


def test_new_store_takes_over_and_the_old_one_is_closed(talk, shelf, event):
    async def conversation(client):
        before = await store_of(client, json=event)
        shelf.publish()
        await until(lambda: shelf.scorers[0].closed)
        return before, await store_of(client, json=event), (await client.get("/readyz")).json()["identity"]

    assert talk(conversation, shelf.load, **SOON) == ("g1", "g2", {"store": "g2"})
    assert len(shelf.scorers[0].scored) == len(shelf.scorers[1].scored) == 1
    assert shelf.scorers[1].closed  # at the end of the service


def test_nothing_is_loaded_while_nothing_is_published(talk, shelf):
    async def conversation(client):
        await asyncio.sleep(0.2)

    talk(conversation, shelf.load, **SOON)
    assert len(shelf.threads) == 1


def test_requests_are_answered_while_the_new_store_is_loaded(talk, shelf, event):
    async def conversation(client):
        shelf.loading_s = 0.5
        shelf.publish()
        await until(lambda: len(shelf.threads) == 2)
        stores = [await store_of(client, json=event) for _ in range(5)]
        return stores, len(shelf.scorers), (await client.get("/readyz")).status_code

    assert talk(conversation, shelf.load, **SOON) == (["g1"] * 5, 1, 200)
    assert shelf.scorers[0].threads.isdisjoint(shelf.threads[1:])


def test_request_that_began_with_the_old_store_ends_with_it(talk, shelf, event):
    async def conversation(client):
        old = shelf.scorers[0]
        old.delay_s = 0.3
        asked = asyncio.create_task(client.post("/score", json=event))
        await until(lambda: "score" in old.calls)
        shelf.publish()
        await until(lambda: client.service.loaded.scorer is not old)
        was_closed = old.closed
        answer = (await asked).json()
        await until(lambda: old.closed)
        return was_closed, answer["identity"]["store"]

    assert talk(conversation, shelf.load, **SOON) == (False, "g1")


def test_store_that_cannot_be_loaded_leaves_the_old_one(talk, shelf, event, caplog):
    async def conversation(client):
        shelf.fails_with = ValueError("canary-user-4711")
        shelf.publish()
        await until(lambda: len(shelf.threads) >= 3)  # tried again
        during = await store_of(client, json=event), (await client.get("/readyz")).status_code
        metrics = (await client.get("/metrics")).text
        shelf.fails_with = None
        await until(lambda: shelf.scorers[0].closed)
        return during, metrics, await store_of(client, json=event)

    with caplog.at_level(logging.ERROR):
        during, metrics, after = talk(conversation, shelf.load, **SOON)
    assert (during, after) == (("g1", 200), "g2")
    assert "panther_reload_failures_total 0.0" not in metrics
    assert "panther_reloads_total 0.0" in metrics
    assert any("the old one stays" in record.message for record in caplog.records)


def test_failures_make_the_pause_longer_but_not_endless(talk, shelf):
    async def conversation(client):
        renewal = client.service._renewal
        pauses = []
        for renewal._num_failures in (0, 1, 2, 1_000):
            pauses.append(renewal.pause_s)
        return pauses

    assert talk(conversation, shelf.load, reload_interval_s=5.0) == [5.0, 10.0, 20.0, 60.0]
    assert talk(conversation, shelf.load, reload_interval_s=300.0) == [300.0] * 4


def test_events_that_the_old_store_no_longer_takes_go_to_the_new_one(talk, shelf, event):
    async def conversation(client):
        shelf.scorers[0].takes_in = 2
        shelf.publish()
        return await client.post("/events", json={"events": [{**event, "event_id": str(i)} for i in range(5)]})

    answer = talk(conversation, shelf.load, reload_interval_s=600.0)  # nobody waits for the next look
    assert [done["event_id"] for done in answer.json()["events"]] == list("01234")
    assert answer.json()["identity"] == {"store": "g2"}
    assert [[event.event_id for event in scorer.ingested] for scorer in shelf.scorers] == [["0", "1"], ["2", "3", "4"]]


def test_events_are_refused_where_the_new_store_is_long_in_coming(talk, shelf, event):
    async def conversation(client):
        shelf.scorers[0].takes_in = 0
        shelf.publish()
        shelf.fails_with = ValueError()
        return await client.post("/events", json=event), await client.post("/score", json=event)

    taken, scored = talk(conversation, shelf.load, retry_after_s=1)
    assert (taken.status_code, taken.headers["retry-after"], scored.status_code) == (503, "1", 200)


def test_score_of_a_store_that_is_gone_is_asked_for_again(talk, shelf, event):
    async def conversation(client):
        shelf.scorers[0].fails_with = StoreMovedError("gone")
        shelf.publish()
        refused = await client.post("/score", json=event)
        await until(lambda: shelf.scorers[0].closed)
        return refused, await store_of(client, json=event)

    refused, store = talk(conversation, shelf.load, reload_interval_s=600.0)  # nobody waits for the next look
    assert (refused.status_code, refused.headers["retry-after"], store) == (503, "1", "g2")
