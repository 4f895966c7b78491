"""Work is turned away at the door when the house is full: in its place in the order of answers, and counted."""

import json
import socket
import time

import pytest

from panther_pipeline.serving.answers import busy
from panther_pipeline.serving.app import WORK
from panther_pipeline.serving.config import ServingConfig
from panther_pipeline.serving.doorkeeper import Doorkeeper
from panther_pipeline.serving.service import Service

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def service(scorer):
    return Service(lambda: scorer, ServingConfig(max_in_house=1, retry_after_s=7))


@pytest.fixture
def doorkeeper(service):
    return Doorkeeper(service, WORK)


def test_answer_is_that_of_the_application(doorkeeper):
    head, _, body = doorkeeper.answer.partition(b"\r\n\r\n")
    same = busy("overloaded", 7)
    assert head.split(b"\r\n")[0] == b"HTTP/1.1 503 Service Unavailable"
    assert sorted(head.split(b"\r\n")[1:]) == sorted(b": ".join(header) for header in same.raw_headers)
    assert body == same.body


def test_work_is_let_in_while_there_is_room(doorkeeper):
    assert not doorkeeper.turns_away(b"POST", b"/score")


@pytest.mark.parametrize(
    ("method", "url", "is_turned_away"),
    [
        (b"POST", b"/score", True),
        (b"POST", b"/score?explain=true", True),
        (b"GET", b"/next?user_id=u", True),
        (b"GET", b"/healthz", False),
        (b"GET", b"/metrics", False),
        (b"GET", b"/score", False),  # no such thing: the application says so
        (b"POST", b"/%73core", False),  # the application knows it
    ],
)
def test_only_work_is_turned_away(service, doorkeeper, method, url, is_turned_away):
    service.admission.enter()
    assert doorkeeper.turns_away(method, url) is is_turned_away


def test_those_turned_away_are_counted(service, doorkeeper):
    service.admission.enter()
    for _ in range(3):
        doorkeeper.turns_away(b"POST", b"/score")
    assert (
        'panther_requests_total{method="POST",route="/score",status="503"} 3.0' in service.metrics.exposition().decode()
    )


def test_service_that_stops_answers_from_within(service, doorkeeper):
    """There every answer says that the connection closes."""
    service.admission.enter()
    service.stop_soon()
    assert not doorkeeper.turns_away(b"POST", b"/score")


@pytest.fixture
def full_house(start_service, contract):
    """A service whose one place is taken for half a second; the request that takes it, and a connection."""
    service = start_service("--delay-s", "0.5", max_in_house=1)
    inside, client = (socket.create_connection(("127.0.0.1", service.port), timeout=20) for _ in range(2))
    request = post(json.dumps(contract.example()).encode())
    inside.sendall(request)
    time.sleep(0.1)
    yield service, request, client, inside
    client.close()
    inside.close()


def post(body, version=b"1.1", headers=b""):
    head = b"POST /score HTTP/%b\r\nHost: x\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n"
    return head % (version, headers, len(body)) + body


def receive(client, num):
    """So many answers as (status, body)."""
    file, answers = client.makefile("rb"), []
    for _ in range(num):
        status, length = int(file.readline().split()[1]), 0
        while (line := file.readline().lower()) != b"\r\n":
            length = int(line.split(b":")[1]) if line.startswith(b"content-length") else length
        answers.append((status, file.read(length)))
    return answers


def test_connection_goes_on_after_it_was_turned_away(full_house):
    _, request, client, inside = full_house
    client.sendall(request + HEALTH + request[:50])  # the last one comes in two parts
    assert [status for status, _ in receive(client, 2)] == [503, 200]
    assert [status for status, _ in receive(inside, 1)] == [200]
    client.sendall(request[50:])
    assert [status for status, _ in receive(client, 1)] == [200]


def test_answers_come_in_the_order_of_their_requests(full_house):
    """The second finds the house full, but the first is not answered yet."""
    _, request, _, inside = full_house
    inside.sendall(request)
    assert receive(inside, 2)[0][0] == 200


def test_large_body_of_one_turned_away_is_dropped(full_house):
    _, _, client, _ = full_house
    client.sendall(post(b" " * 60_000))
    assert [status for status, _ in receive(client, 1)] == [503]
    time.sleep(0.05)
    client.sendall(HEALTH)
    assert [status for status, _ in receive(client, 1)] == [200]


def test_next_request_has_its_own_time_for_headers(start_service, contract):
    service = start_service("--delay-s", "4", max_in_house=1, idle_timeout_s=2.0)
    request = post(json.dumps(contract.example()).encode())
    inside, client = (socket.create_connection(("127.0.0.1", service.port), timeout=20) for _ in range(2))
    with inside, client:
        inside.sendall(request)
        time.sleep(0.1)
        client.sendall(request)
        assert [status for status, _ in receive(client, 1)] == [503]
        time.sleep(1.2)
        client.sendall(HEALTH[:10])
        time.sleep(1.2)
        client.sendall(HEALTH[10:])
        assert [status for status, _ in receive(client, 1)] == [200]


def test_full_house_asks_for_no_key(start_service, contract):
    """Nobody is let in without one: not then, and not before."""
    service = start_service("--delay-s", "0.5", max_in_house=1, key="q7Zk2mVx9LwT4bRn8cYd")
    body = json.dumps(contract.example()).encode()
    inside, client = (socket.create_connection(("127.0.0.1", service.port), timeout=20) for _ in range(2))
    with inside, client:
        client.sendall(post(body))
        assert [status for status, _ in receive(client, 1)] == [401]
        client = socket.create_connection(("127.0.0.1", service.port), timeout=20)
        inside.sendall(post(body, headers=b"X-API-Key: q7Zk2mVx9LwT4bRn8cYd\r\n"))
        time.sleep(0.1)
        client.sendall(post(body))
        assert [status for status, _ in receive(client, 1)] == [503]
        client.close()


@pytest.mark.parametrize(("version", "headers"), [(b"1.0", b""), (b"1.1", b"Connection: close\r\n")])
def test_connection_that_wants_to_end_ends(full_house, version, headers):
    _, request, client, _ = full_house
    client.sendall(post(request.partition(b"\r\n\r\n")[2], version, headers))
    assert [status for status, _ in receive(client, 1)] == [503]
    client.settimeout(2)  # before an idle connection is closed
    assert client.recv(1) == b""
