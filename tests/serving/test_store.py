"""Several services on one Redis answer as one; a Redis that is away is said, not guessed around."""

import asyncio
import functools
import json
import subprocess
import sys
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
import redis
from click.testing import CliRunner

from panther_pipeline.cache.stores.config import PASSWORD_VARIABLE, LmdbConfig, RedisConfig
from panther_pipeline.cache.stores.lmdb_store import LmdbSource
from panther_pipeline.errors import ArtifactError, ConfigurationError
from panther_pipeline.online.as_sent import as_sent
from panther_pipeline.online.load import load_scorer
from panther_pipeline.serving.__main__ import main
from panther_pipeline.serving.store import find_source, publish_store

from ..redis_server import running_redis
from .conftest import running

AS_OF = "2024-11-25"
PASSWORD = "canary-4711"
SOON = {"reload_interval_s": 0.05, "refresh_interval_s": 0.05, "max_future_s": None}


@pytest.fixture
def server(tmp_path):
    with running_redis(tmp_path, "--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


@pytest.fixture
def fleet(server):
    return RedisConfig(kind="redis", name="test", url=server.url, timeout_s=0.5)


@pytest.fixture
def artifacts(finished_run, tmp_path):
    finished_run.online_store(AS_OF).save(tmp_path / "store")
    return replace(finished_run.artifacts, store=tmp_path / "store")


@pytest.fixture
def events(finished_run):
    return [as_sent(event) for event in finished_run.events_from(AS_OF, 20)[1]]


@pytest.fixture
def talk_to(fleet, artifacts):
    """Runs a coroutine function with a client of each of `num` services on the published store."""

    def talk_to(conversation, num: int):
        async def main():
            load = functools.partial(load_scorer, artifacts, find_source(fleet, artifacts))
            async with AsyncExitStack() as stack:
                clients = [await stack.enter_async_context(running(load, **SOON)) for _ in range(num)]
                return await asyncio.wait_for(conversation(*clients), 60)

        return asyncio.run(main())

    publish_store(fleet, artifacts)
    return talk_to


async def score(client, event):
    answer = await client.post("/score", json=event)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def until(condition) -> None:
    while not await condition():
        await asyncio.sleep(0.02)


def test_scores_are_those_of_the_store_that_was_copied(talk_to, artifacts, events):
    async def conversation(*clients):
        return [[(await score(client, event))["scores"] for event in events] for client in clients]

    async def alone():
        async with running(lambda: load_scorer(artifacts), **SOON) as client:
            return await conversation(client)

    (expected,) = asyncio.run(alone())
    assert talk_to(conversation, 2) == [expected, expected]


def test_event_that_one_service_takes_in_is_seen_by_the_others(talk_to, events):
    event = events[0]

    async def conversation(one, other):
        before = await other.post("/user", json={"user_id": event["user_id"]})
        taken = await one.post("/events", json=event)
        after = await other.post("/user", json={"user_id": event["user_id"]})
        again = await other.post("/events", json=event)
        return taken, again, [answer.json()["user"]["history_length"] for answer in (before, after)]

    taken, again, (before, after) = talk_to(conversation, 2)
    assert taken.json()["events"][0]["status"] == "accepted"
    assert again.json()["events"][0]["status"] == "duplicate"
    assert after == before + 1


def test_new_generation_is_followed_by_all_with_what_arrived(talk_to, finished_run, fleet, artifacts, events):
    async def conversation(*clients):
        stores = [(await client.get("/readyz")).json()["identity"]["store"] for client in clients]
        for client, event in zip(clients, events, strict=False):
            assert (await client.post("/events", json=event)).json()["events"][0]["status"] == "accepted"
        await asyncio.to_thread(finished_run.online_store(AS_OF, lateness_days=10).save, artifacts.store)
        told = await asyncio.to_thread(publish_store, fleet, artifacts)

        async def have_moved():
            found = [(await client.get("/readyz")).json()["identity"]["store"] for client in clients]
            return len(set(found)) == 1 and found[0] not in stores

        await until(have_moved)
        again = [await client.post("/events", json=events[0]) for client in clients]
        more = await clients[1].post("/events", json=events[len(clients)])
        return told, stores, [answer.json()["events"][0]["status"] for answer in (*again, more)]

    told, stores, statuses = talk_to(conversation, 3)
    assert told.startswith("Published")
    assert len(set(stores)) == 1
    assert statuses == ["duplicate"] * 3 + ["accepted"]


def test_service_whose_redis_is_away_refuses_and_recovers(talk_to, server, events):
    async def conversation(client):
        before = await score(client, events[0])
        server.stop()
        user = {"user_id": events[0]["user_id"]}
        asked = [("/score", events[0]), ("/events", events[1]), ("/next", user), ("/user", user)]
        refused = [await client.post(path, json=body) for path, body in asked]
        server.start()
        taken = await client.post("/events", json=events[1])
        return before, refused, await score(client, events[0]), taken

    before, refused, after, taken = talk_to(conversation, 1)
    for answer in refused:
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json() == {"error": "store_away"}
    assert after["scores"] == before["scores"]
    assert after["identity"] == before["identity"]
    assert taken.json()["events"][0]["status"] == "accepted"


def test_redis_that_lost_all_is_no_reason_to_take_users_for_new(talk_to, server, fleet, artifacts, events):
    async def conversation(client):
        before = await score(client, events[0])
        redis.Redis(port=server.port).flushall()
        refused = [await client.post(path, json=events[0]) for path in ("/score", "/events")]
        await asyncio.to_thread(publish_store, fleet, artifacts)

        async def answers():
            return (await client.post("/score", json=events[0])).status_code == 200

        await until(answers)
        return before, refused, await score(client, events[0])

    before, refused, after = talk_to(conversation, 1)
    assert [answer.status_code for answer in refused] == [503, 503]
    assert after["scores"] == before["scores"]
    assert after["identity"]["store"] != before["identity"]["store"]


def test_service_whose_redis_hangs_refuses_and_recovers(talk_to, server, events):
    async def conversation(client):
        server.hang()
        refused = await client.post("/score", json=events[0])
        server.go_on()
        return refused, await score(client, events[0])

    refused, after = talk_to(conversation, 1)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert after["scores"]


def test_users_wait_on_where_redis_is_away_when_they_are_embedded(talk_to, server, events):
    async def conversation(client):
        scorer = client.service.loaded.scorer
        await client.post("/events", json=events[0])
        server.stop()

        async def has_failed():
            return "panther_refresh_failures_total 0.0" not in (await client.get("/metrics")).text

        await until(has_failed)
        waiting = scorer.num_touched
        server.start()

        async def nobody_waits():
            return scorer.num_touched == 0

        await until(nobody_waits)
        return waiting

    assert talk_to(conversation, 1) == 1


def test_generation_that_is_current_is_not_published_again(fleet, artifacts):
    assert publish_store(fleet, artifacts).startswith("Published in the store 'test' of redis://127.0.0.1")
    assert publish_store(fleet, artifacts).startswith("Nothing to do")


def test_events_of_this_machine_alone_are_counted_when_published(fleet, artifacts, finished_run):
    scorer = load_scorer(artifacts)
    scorer.ingest(finished_run.events_from(AS_OF, 3)[1])
    scorer.close()
    assert "3 events that arrived on this machine" in publish_store(fleet, artifacts)


def test_store_of_another_run_is_not_published(fleet, finished_run, artifacts):
    store = finished_run.online_store(AS_OF)
    replace(store, facts=store.facts.model_copy(update={"backbone_digest": "0" * 64})).save(artifacts.store)
    with pytest.raises(ArtifactError, match="different runs"):
        publish_store(fleet, artifacts)
    with pytest.raises(ArtifactError, match="Nothing is published"):
        find_source(fleet, artifacts).facts()


def test_store_of_one_machine_has_nothing_to_publish(artifacts):
    assert find_source(LmdbConfig(), artifacts) == LmdbSource(artifacts.store)
    with pytest.raises(ConfigurationError, match="To publish it to a fleet, set"):
        publish_store(LmdbConfig(), artifacts)


def test_client_that_is_not_installed_is_named(fleet, artifacts, monkeypatch):
    monkeypatch.delitem(sys.modules, "panther_pipeline.cache.stores.redis_connection", raising=False)
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigurationError, match=r"panther_pipeline\[fleet\]"):
        find_source(fleet, artifacts)


def options_of(artifacts, store: dict) -> list[str]:
    parts = [f"--{name}={path}" for name, path in vars(artifacts).items()]
    return [*parts, "--port=0", f"--settings={json.dumps({'store': store})}"]


def test_command_publishes_and_ends(fleet, artifacts):
    result = CliRunner().invoke(main, [*options_of(artifacts, fleet.model_dump()), "--publish"])
    assert (result.exit_code, "Published in the store 'test'" in result.output) == (0, True), result.output
    assert find_source(fleet, artifacts).facts() == LmdbSource(artifacts.store).facts()


@pytest.mark.parametrize("publish", [[], ["--publish"]])
def test_redis_that_is_away_at_the_start_is_named_without_its_password(fleet, server, artifacts, publish, monkeypatch):
    server.stop()
    monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)
    command = [sys.executable, "-m", "panther_pipeline.serving", *options_of(artifacts, fleet.model_dump()), *publish]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    said = result.stdout + result.stderr
    assert result.returncode == 1, said
    assert f"Error: Redis at {server.url} cannot be used now" in said
    assert "serving.store.url" in said
    assert PASSWORD not in said
    assert "Traceback" not in said
