"""The layers in front, fed message by message."""

import asyncio
import json
import logging

import pytest

from panther_pipeline.serving.app import guard
from panther_pipeline.serving.config import ServingConfig
from panther_pipeline.serving.service import Service


@pytest.fixture
def deliver(scorer):
    """Sends the parts of a body to POST /score and returns status, headers, body; `None` for a part waits for ever."""

    def deliver(parts, headers=(("content-type", "application/json"),), path="/score", crowd=0, **config):
        async def main():
            service = Service(lambda: scorer, ServingConfig(**config))
            await service.start()
            while service.state == "loading":
                await asyncio.sleep(0.005)
            for _ in range(crowd):
                service.admission.enter()
            answer = await _deliver(guard(service, None), parts, headers, path)
            left = service.admission.inside - crowd
            await service.stop()
            return *answer, left

        return asyncio.run(asyncio.wait_for(main(), 30))

    return deliver


async def _deliver(app, parts, headers, path):
    waiting, sent = list(parts), []

    async def receive():
        if not waiting or waiting[0] is None:
            await asyncio.sleep(60)
        await asyncio.sleep(0)  # as on a socket, others come in between
        part = waiting.pop(0)
        if part == "left":
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": part, "more_body": bool(waiting)}

    async def send(message):
        sent.append(message)

    raw = [(name.encode(), value.encode()) for name, value in headers]
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": raw}
    await app(scope, receive, send)
    if not sent:
        return None, {}, b"", len(waiting)
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(m.get("body", b"") for m in sent[1:]), len(waiting)


def padded(event, num_bytes):
    return json.dumps(event).encode() + b" " * (num_bytes - len(json.dumps(event)))


def test_body_in_parts_is_read_whole(deliver, event):
    body = json.dumps(event).encode()
    status, _, answer, _, inside = deliver([body[:5], b"", body[5:40], body[40:]])
    assert (status, inside) == (200, 0)
    assert json.loads(answer)["scores"]


def test_body_of_one_event_has_its_limit(deliver, event):
    assert deliver([padded(event, 65_536)])[0] == 200
    assert deliver([padded(event, 65_537)])[0] == 413


def test_body_of_many_events_has_its_own_limit(deliver, event):
    many = {"events": [event]}
    assert deliver([padded(many, 65_537)])[0] == 200
    assert deliver([padded(many, 1_048_576)])[0] == 200
    assert deliver([padded(many, 1_048_577)])[0] == 413
    assert deliver([padded(many, 65_537)], path="/next")[0] == 422  # large enough to be a list, yet none


def test_large_body_without_length_is_refused_before_it_is_complete(deliver):
    status, headers, _, num_waiting, inside = deliver([b"x" * 10_000] * 200)
    assert (status, headers[b"connection"], inside) == (413, b"close", 0)
    assert num_waiting > 150


def test_declared_length_is_refused_before_any_part_is_read(deliver):
    headers = [("content-type", "application/json"), ("content-length", "1048577")]
    assert deliver([b"{}"], headers)[:4] == (413, *deliver([b"{}"], headers)[1:3], 1)
    assert deliver([b"{}"], [("content-type", "application/json"), ("content-length", "9" * 5000)])[0] == 400
    assert deliver([b"{}"], [("content-type", "application/json"), ("content-length", "-1")])[0] == 400


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("Application/JSON; charset=UTF-8", 200),
        ('application/json;charset="utf-8"', 200),
        ("application/json; charset=latin-1", 415),
        ("application/jsonp", 415),
        ("text/plain", 415),
        ("", 415),
        ("application/json, text/plain", 415),
    ],
)
def test_content_type_is_json_in_utf8(deliver, event, content_type, status):
    assert deliver([json.dumps(event).encode()], [("content-type", content_type)])[0] == status


def test_body_without_type_or_packed_is_refused(deliver, event):
    body = json.dumps(event).encode()
    assert deliver([body], [])[0] == 415
    assert deliver([body], [("content-type", "application/json"), ("content-encoding", "gzip")])[0] == 415


def test_body_that_drips_is_given_up(deliver):
    status, headers, _, _, inside = deliver([b"{", b" ", None], body_timeout_s=0.1)
    assert (status, headers[b"connection"], inside) == (408, b"close", 0)


def test_client_that_leaves_is_not_answered(deliver):
    assert deliver([b"{", "left"])[0] is None


def test_full_house_answers_before_the_body_is_read(deliver):
    status, headers, answer, num_waiting, _ = deliver([b"{", None], crowd=8, retry_after_s=3)
    assert (status, headers[b"retry-after"], json.loads(answer)) == (503, b"3", {"error": "overloaded"})
    assert num_waiting == 2


def test_full_house_is_logged_as_a_number(deliver, caplog):
    caplog.set_level(logging.INFO)
    deliver([b"{", None], crowd=8)
    lines = [r.fields for r in caplog.records if r.name == "panther_pipeline.serving.request"]
    assert lines == [{"num_requests": 1}]


def test_last_place_is_given(deliver, event):
    assert deliver([json.dumps(event).encode()], crowd=7)[0] == 200


def test_slow_body_takes_no_place(scorer):
    async def main():
        service = Service(lambda: scorer, ServingConfig())
        await service.start()
        while service.state == "loading":
            await asyncio.sleep(0.005)
        headers = [("content-type", "application/json")]
        slow = [asyncio.create_task(_deliver(guard(service, None), [b"{", None], headers, "/score")) for _ in range(20)]
        await asyncio.sleep(0.05)
        inside = service.admission.inside
        for task in slow:
            task.cancel()
        await service.stop()
        return inside

    assert asyncio.run(main()) == 0


def test_house_that_filled_meanwhile_is_full(scorer, event):
    """Bodies that all end at the same instant find 8 places, however many were let through before."""

    async def main():
        service = Service(lambda: scorer, ServingConfig())
        await service.start()
        while service.state == "loading":
            await asyncio.sleep(0.005)
        scorer.delay_s = 0.02
        headers = [("content-type", "application/json")]
        bodies = [[b" ", json.dumps(event).encode()] for _ in range(20)]
        answers = await asyncio.gather(*[_deliver(guard(service, None), body, headers, "/score") for body in bodies])
        await service.stop()
        return sorted(status for status, *_ in answers)

    assert asyncio.run(main()) == [200] * 8 + [503] * 12


def test_place_is_free_before_the_answer_is_read(scorer, event):
    async def main():
        service = Service(lambda: scorer, ServingConfig())
        await service.start()
        while service.state == "loading":
            await asyncio.sleep(0.005)
        inside = []

        async def receive():
            return {"type": "http.request", "body": json.dumps(event).encode(), "more_body": False}

        async def send(message):
            inside.append(service.admission.inside)

        headers = [(b"content-type", b"application/json")]
        scope = {"type": "http", "method": "POST", "path": "/score", "query_string": b"", "headers": headers}
        await guard(service, None)(scope, receive, send)
        await service.stop()
        return inside

    assert asyncio.run(main()) == [0, 0]
