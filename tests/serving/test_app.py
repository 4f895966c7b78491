import asyncio
import json
import logging
import math

import pytest

from panther_pipeline.errors import StoreAwayError
from panther_pipeline.serving.config import ServingConfig
from panther_pipeline.serving.page_files import PAGE_PATHS
from panther_pipeline.serving.service import Service

from .waiting import until

CANARY = "canary-user-4711"


def test_score_is_answered_with_identity(talk, scorer, event):
    async def conversation(client):
        return await client.post("/score", json=event)

    answer = talk(conversation)
    assert answer.status_code == 200
    assert answer.json()["identity"] == scorer.identity
    assert answer.json()["scores"][0] == {
        "event_id": "event-1", "probability": 0.25, "surprise": 1.5, "surprise_z": 0.1, "cosine": 0.9,
        "history_length": 3, "is_new_user": False, "token": "groceries 20-50", "expected": [], "reasons": [],
    }  # fmt: skip
    assert [e.user_id for e in scorer.scored] == ["user-1"]


def test_explanation_is_given_when_asked_for(talk, event):
    async def conversation(client):
        return (await client.post("/score?explain=true", json=event)).json()["scores"][0]

    score = talk(conversation)
    assert score["expected"] == [{"token": "groceries 10-20", "prob": 0.5}]
    assert score["reasons"] == [{"what": "amount", "effect": 0.7}]


def test_several_events_keep_their_order(talk, event):
    async def conversation(client):
        events = [{**event, "event_id": str(i)} for i in range(256)]
        return await client.post("/score", json={"events": events})

    assert [s["event_id"] for s in talk(conversation).json()["scores"]] == [str(i) for i in range(256)]


def test_events_are_taken_in_with_labels(talk, scorer, contract):
    async def conversation(client):
        return await client.post("/events", json=contract.example(with_label=True))

    assert talk(conversation).json()["events"] == [{"event_id": "event-1", "status": "accepted"}]
    assert scorer.ingested[0].label == 0


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_next_transactions_are_answered(talk, method):
    async def ask(client, **question):
        body = {"params": question} if method == "GET" else {"json": question}
        return await client.request(method, "/next", **body)

    async def conversation(client):
        known, unknown = await ask(client, user_id="a", k=2), await ask(client, user_id="nobody")
        return known, unknown, await ask(client, user_id="a", k=101)

    known, unknown, too_many = talk(conversation)
    assert len(known.json()["next"]["expected"]) == 2
    assert (unknown.status_code, unknown.json()) == (404, {"error": "unknown_user"})
    assert too_many.status_code == 422


def test_user_is_shown_event_by_event(talk):
    async def conversation(client):
        known = await client.post("/user", json={"user_id": "a"})
        return known, await client.post("/user", json={"user_id": "nobody"}), await client.post("/user", json={})

    known, unknown, wrong = talk(conversation, max_timeline=2)
    event = {"event_time": "1970-01-01T00:00:00.000299+00:00", "token": "groceries 10-20", "surprise": 1.5}
    shown = known.json()["user"]
    assert (shown["history_length"], len(shown["events"]), shown["events"][-1]) == (400, 2, event)
    assert shown["expected"] == [{"token": "groceries 10-20", "prob": 0.5}]
    assert (unknown.status_code, unknown.json()) == (404, {"error": "unknown_user"})
    assert wrong.status_code == 422


@pytest.mark.parametrize(
    ("config", "host", "status"),
    [
        ({}, "127.0.0.1:8080", 200),
        ({}, "localhost", 200),
        ({}, "[::1]:8080", 200),
        ({}, "scorer.example", 403),  # a proxy in front, or a foreign page whose name leads here
        ({}, "127.0.0.1.example", 403),
        ({}, "[", 403),
        ({"host": "0.0.0.0", "allow_public_without_key": True}, "127.0.0.1", 403),
        ({"host": "0.0.0.0", "allow_public_without_key": True, "show_users": True}, "scorer.example", 200),
        ({"show_users": False}, "127.0.0.1", 403),
    ],
)
def test_users_are_listed_where_this_machine_alone_asks(talk, scorer, config, host, status):
    async def conversation(client):
        return await client.get("/users?k=2", headers={"Host": host})

    answer = talk(conversation, **config)
    assert answer.status_code == status
    if status == 200:
        assert answer.json() == {"users": ["user-0", "user-1"]}
        assert answer.headers["cache-control"] == "no-store"
    else:
        assert answer.json() == {"error": "users_are_not_shown"}
        assert "users" not in scorer.calls


@pytest.mark.parametrize("k", ["0", "101", "x", "1.5"])
def test_number_of_users_has_bounds(talk, k):
    async def conversation(client):
        return await client.get("/users", params={"k": k}, headers={"Host": "localhost"})

    assert talk(conversation).status_code == 422


@pytest.mark.parametrize(("method", "path"), [("POST", "/user"), ("GET", "/users")])
def test_full_house_shows_no_users(talk, method, path):
    async def conversation(client):
        for _ in range(8):
            client.service.admission.enter()
        body = {"json": {"user_id": "a"}} if method == "POST" else {}
        return await client.request(method, path, headers={"Host": "localhost"}, **body)

    assert talk(conversation).json() == {"error": "overloaded"}


def test_page_is_open_and_what_it_shows_is_not(talk):
    async def conversation(client):
        page = [await client.get(path) for path in sorted(PAGE_PATHS)]
        return page, await client.get("/users"), await client.post("/user", json={"user_id": "a"})

    page, *rest = talk(conversation, key="right-key-of-16+", ready=False)
    assert [answer.status_code for answer in page] == [200] * len(PAGE_PATHS)
    assert [answer.status_code for answer in rest] == [401, 401]
    assert "default-src 'none'" in page[0].headers["content-security-policy"]
    assert "unsafe" not in page[0].headers["content-security-policy"]


def test_service_listens_before_it_is_ready(talk, scorer, event):
    async def conversation(client):
        loading = [await client.get("/readyz"), await client.get("/healthz"), await client.post("/score", json=event)]
        loading.append(await client.get("/openapi.json"))
        await asyncio.get_running_loop().run_in_executor(None, lambda: gate.append(True))
        await until(lambda: client.service.state != "loading")
        return loading, await client.get("/readyz")

    gate = []

    def load():
        while not gate:
            pass
        return scorer

    loading, ready = talk(conversation, load, ready=False)
    assert [answer.status_code for answer in loading] == [503, 200, 503, 503]
    assert loading[0].json() == {"status": "loading", "identity": {}}
    assert loading[2].headers["retry-after"] == "1"
    assert (ready.status_code, ready.json()["identity"]) == (200, scorer.identity)


def test_service_that_cannot_load_says_so(talk, event, caplog):
    def load():
        raise ValueError(CANARY)

    async def conversation(client):
        return await client.get("/readyz"), await client.post("/score", json=event), client.service.failure

    ready, score, failure = talk(conversation, load)
    assert (ready.status_code, ready.json()["status"]) == (503, "failed")
    assert score.status_code == 503
    assert str(failure) == CANARY


def test_key_is_asked_for(talk, event):
    async def conversation(client):
        ask = [{}, {"X-API-Key": "wrong"}, {"X-API-Key": "right-key-of-16+"}]
        statuses = [(await client.post("/score", json=event, headers=headers)).status_code for headers in ask]
        twice = await client.post("/score", json=event, headers=[("X-API-Key", "right-key-of-16+")] * 2)
        open_to_all = [(await client.get(path)).status_code for path in ("/healthz", "/readyz", "/metrics")]
        return statuses, twice.status_code, open_to_all

    assert talk(conversation, key="right-key-of-16+") == ([401, 401, 200], 401, [200, 200, 401])


def test_all_calls_come_from_one_thread(talk, scorer, event):
    async def conversation(client):
        bodies = [client.post(path, json=event) for path in ("/score", "/events") * 3]
        await asyncio.gather(*bodies, client.get("/next?user_id=a"))

    scorer.delay_s = 0.02  # so that a second thread would be begun
    talk(conversation)
    assert len(scorer.threads) == 1


def test_users_are_embedded_after_events(talk, scorer, event):
    async def conversation(client):
        await client.post("/events", json={"events": [event] * 5})
        await until(lambda: not scorer.to_refresh)

    talk(conversation, refresh_interval_s=0.01)
    assert scorer.calls.count("refresh") >= 3  # two users at a time


def test_users_are_embedded_after_a_request_that_failed_half_way(talk, scorer, event):
    async def conversation(client):
        await until(lambda: scorer.calls)
        await asyncio.sleep(0.1)
        scorer.fails_with = StoreAwayError("away")
        refused = await client.post("/events", json=event)
        scorer.fails_with, scorer.to_refresh = None, 1  # the first events of the request were taken in
        await until(lambda: not scorer.to_refresh)
        return refused.status_code

    assert talk(conversation, refresh_interval_s=0.01) == 503


def test_nobody_is_embedded_while_nothing_comes_in(talk, scorer):
    async def conversation(client):
        await asyncio.sleep(0.2)
        before = scorer.calls.count("refresh")
        await asyncio.sleep(0.2)
        return scorer.calls.count("refresh") - before

    assert talk(conversation, refresh_interval_s=0.01) == 0


def test_scores_are_answered_before_users_can_be_embedded(talk, scorer, event):
    scorer.may_warm_up.clear()

    async def conversation(client):
        scored = await client.post("/score", json=event)
        await client.post("/events", json=event)
        await asyncio.sleep(0.1)
        cold = scorer.calls.count("refresh")
        scorer.may_warm_up.set()
        await until(lambda: not scorer.to_refresh)
        return scored, cold

    scored, cold = talk(conversation, refresh_interval_s=0.01)
    assert scored.status_code == 200
    assert cold == 0  # else the one thread that scores would wait
    assert "refresh" in scorer.calls


def test_what_was_loaded_is_settled_twice(scorer):
    """Once the scorer is there, and once its model is."""

    async def main():
        settled = []
        service = Service(lambda: scorer, ServingConfig(), on_settled=lambda: settled.append(len(scorer.warmth)))
        scorer.may_warm_up.clear()
        await service.start()
        await until(lambda: scorer.warmth)
        before = list(settled)
        scorer.may_warm_up.set()
        await until(lambda: len(settled) >= 2)
        await service.stop()
        return before, settled

    assert asyncio.run(asyncio.wait_for(main(), 10)) == ([0], [0, 1])


def test_model_that_cannot_be_built_is_no_service(talk, scorer, caplog):
    scorer.cannot_warm_up = True

    async def conversation(client):
        await until(lambda: client.service.state != "ready")
        return await client.get("/readyz")

    assert talk(conversation).status_code == 503
    assert "could not be loaded" in caplog.text


def test_embedding_waits_for_requests_but_not_for_ever(talk, scorer):
    async def conversation(client):
        await until(lambda: scorer.calls)  # what may have waited since before the start
        await asyncio.sleep(0.1)
        client.service.admission.enter()  # from here on somebody is always in the house
        before = len(scorer.calls)
        scorer.to_refresh = 10
        client.service.note_events()
        await asyncio.sleep(0.1)
        waiting = len(scorer.calls) - before
        await asyncio.sleep(0.6)
        client.service.admission.leave()
        return waiting, len(scorer.calls) - before

    waiting, later = talk(conversation, refresh_interval_s=0.02, refresh_latest_s=0.3)
    assert waiting == 0
    assert 1 <= later <= 3  # one batch each time, not all five


def test_embedding_goes_on_in_every_moment_that_nobody_is_in_the_house(talk, scorer):
    async def conversation(client):
        await until(lambda: scorer.calls)  # what may have waited since before the start
        house, before = client.service.admission, len(scorer.calls)
        house.enter()
        scorer.to_refresh = 10
        client.service.note_events()
        counts = []
        for _ in range(4):
            await asyncio.sleep(0.1)  # the look at whether users wait, and longer
            house.leave()
            await asyncio.sleep(0)  # a moment is enough
            await asyncio.sleep(0)
            house.enter()
            await until(lambda: len(scorer.calls) > before + len(counts))
            await asyncio.sleep(0.05)  # for one too many
            counts.append(len(scorer.calls) - before)
        house.leave()
        return counts

    assert talk(conversation, refresh_interval_s=0.02, refresh_latest_s=60.0) == [1, 2, 3, 4]


def test_scoring_survives_a_failed_embedding(talk, scorer, event):
    async def conversation(client):
        scorer.fails_with = RuntimeError(CANARY)
        await client.post("/events", json=event)
        client.service.note_events()
        await asyncio.sleep(0.1)
        scorer.fails_with = None
        return await client.post("/score", json=event), (await client.get("/metrics")).text

    answer, metrics = talk(conversation, refresh_interval_s=0.01)
    assert answer.status_code == 200
    assert "panther_refresh_failures_total 0.0" not in metrics


@pytest.mark.parametrize("probability", [math.nan, math.inf])
def test_score_that_is_no_number_is_never_answered(talk, scorer, event, probability):
    async def conversation(client):
        scorer.probability = probability
        return await client.post("/score", json=event)

    answer = talk(conversation)
    assert (answer.status_code, answer.json()) == (500, {"error": "internal"})


def test_store_that_is_away_is_asked_for_again(talk, scorer, event):
    async def conversation(client):
        scorer.fails_with = StoreAwayError("redis://canary")
        refused = [await client.post(path, json=event) for path in ("/score", "/events")]
        scorer.fails_with = None
        return refused, await client.post("/score", json=event)

    refused, answered = talk(conversation, retry_after_s=3)
    for answer in refused:
        assert (answer.status_code, answer.headers["retry-after"], answer.json()) == (503, "3", {"error": "store_away"})
    assert answered.status_code == 200


def test_failure_is_logged_without_its_message(talk, scorer, event, caplog):
    async def conversation(client):
        scorer.fails_with = RuntimeError(CANARY)
        return await client.post("/score", json=event)

    with caplog.at_level(logging.INFO):
        answer = talk(conversation)
    assert (answer.status_code, answer.json()) == (500, {"error": "internal"})
    assert CANARY not in answer.text
    (record,) = [record for record in caplog.records if record.message == "a request failed"]
    assert record.fields["exception"] == "RuntimeError"
    assert any("fake_scorer.py" in place for place in record.fields["at"])
    assert CANARY not in str(vars(record))


def test_logs_and_metrics_hold_nothing_of_a_request(talk, event, caplog):
    async def conversation(client):
        bodies = {**event, "user_id": CANARY, "counterparty": CANARY, "amount": "4711.42"}
        for path in ("/score", "/events"):
            await client.post(path, json=bodies)
            await client.post(path, json={**bodies, CANARY: 1})
        await client.get(f"/next?user_id={CANARY}")
        await client.post("/user", json={"user_id": CANARY})
        await client.get("/users", headers={"Host": CANARY})
        await client.get(f"/{CANARY}?{CANARY}=1")
        await client.request(CANARY, "/score")
        return (await client.get("/metrics")).text

    with caplog.at_level(logging.INFO, logger="panther_pipeline.serving"):
        metrics = talk(conversation)
    ours = [record for record in caplog.records if record.name.startswith("panther_pipeline")]
    requests = [record.fields for record in ours if record.message == "request"]
    assert [fields["status"] for fields in requests] == [200, 422, 200, 422, 200, 200, 403, 404, 405, 200]
    assert requests[0].keys() == {"method", "route", "status", "duration_ms", "num_events"}
    routes = {"/score", "/events", "/next", "/user", "/users", "unmatched", "/metrics"}
    assert {fields["route"] for fields in requests} == routes
    for text in (metrics, json.dumps([str(vars(record)) for record in ours])):
        assert CANARY not in text
        assert "4711.42" not in text
    assert 'panther_events_ingested_total{status="accepted"} 1.0' in metrics
    assert "panther_events_scored_total 1.0" in metrics


def test_unknown_paths_and_methods_are_refused_plainly(talk):
    async def conversation(client):
        return [
            await client.get(f"/{CANARY}"),
            await client.get("/score/"),
            await client.delete("/next"),
            await client.put("/score"),
            await client.get("/docs"),
        ]

    answers = talk(conversation)
    assert [a.status_code for a in answers] == [404, 404, 405, 405, 404]
    assert (answers[2].headers["allow"], answers[3].headers["allow"]) == ("GET, POST", "POST")
    assert all(len(a.content) < 40 and "location" not in a.headers for a in answers)


def test_description_holds_the_ledger_and_valid_examples(talk, contract):
    async def conversation(client):
        return (await client.get("/openapi.json")).json()

    document = talk(conversation)
    attributes = document["components"]["schemas"]["Attributes"]
    assert list(attributes["properties"]) == ["channel", "distance", "class"]
    assert attributes["additionalProperties"] is False
    assert attributes["properties"]["channel"]["anyOf"][0]["examples"] == ["online", "chip"]

    async def try_examples(client):
        statuses = []
        for path in ("/score", "/events", "/next", "/user"):
            examples = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["examples"]
            statuses += [(await client.post(path, json=example["value"])).status_code for example in examples.values()]
        return statuses

    assert talk(try_examples) == [200] * 6


def test_description_asks_for_the_key(talk):
    async def conversation(client):
        return (await client.get("/openapi.json", headers={"X-API-Key": "right-key-of-16+"})).json()

    document = talk(conversation, key="right-key-of-16+")
    assert document["paths"]["/score"]["post"]["security"] == [{"ApiKey": []}]
    assert "security" not in document["paths"]["/readyz"]["get"]


def test_stopping_service_answers_and_sends_clients_elsewhere(talk, event):
    async def conversation(client):
        client.service.stop_soon()
        return await client.get("/readyz"), await client.post("/score", json=event)

    ready, score = talk(conversation)
    assert (ready.status_code, ready.json()["status"]) == (503, "stopping")
    assert (score.status_code, score.headers["connection"]) == (200, "close")
