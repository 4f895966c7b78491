"""The client counts what became of every request, and latency from when it was due."""

import json
import socketserver
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest

EVENT = {"user_id": "user-1", "event_id": "event-1", "event_time": "2023-11-14T22:13:19Z", "amount": "12.50"}
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture
def offer(benchmarks, tmp_path):
    def offer(port, *options):
        requests = tmp_path / "requests"
        requests.write_text(json.dumps(EVENT) + "\n")
        command = [sys.executable, str(benchmarks / "serving_load.py"), str(port), str(requests), *options]
        return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)

    return offer


@contextmanager
def answering(answer):
    """A server that answers each request with what `answer` returns; None closes the connection."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            while self.request.recv(65_536):
                if (raw := answer()) is None:
                    return
                for part in (raw[:20], raw[20:-1], raw[-1:]):  # an answer need not come in one piece
                    self.request.sendall(part)
                    time.sleep(0.002)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = allow_reuse_address = True

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def test_answers_and_refusals_of_an_overload_are_counted(start_service, offer):
    service = start_service("--delay-s", "0.02", max_in_house=2)
    found = offer(service.port, "--rate=200", "--seconds=1")
    assert found["offered"] == found["answered"] + found["refused"] == 200
    assert found["answered"] > 0
    assert found["refused"] > 0
    assert (found["other"], found["failed"], found["without_retry_after"]) == (0, 0, 0)
    assert 0 < found["last_refused_s"] <= 1
    assert found["p50_ms"] <= found["p99_ms"] <= found["p999_ms"]


def test_closed_loop_has_as_many_in_flight_as_it_has_connections(offer):
    inside, most, lock = [0], [0], threading.Lock()

    def answer():
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        time.sleep(0.01)
        with lock:
            inside[0] -= 1
        return ANSWER

    with answering(answer) as port:
        found = offer(port, "--closed=3", "--seconds=1")
    assert most[0] == 3
    assert found["answered"] == found["offered"] > 20


def test_latency_counts_from_when_a_request_was_due(offer):
    """A service that stalls for 0.6 s: all that were due meanwhile waited, whether they could be sent or not."""
    opens = []

    def answer():
        if not opens:
            opens.append(time.monotonic() + 0.6)
        time.sleep(max(0.0, opens[0] - time.monotonic()))
        return ANSWER

    with answering(answer) as port:
        found = offer(port, "--rate=100", "--seconds=0.8", "--connections=2")
    assert found["answered"] == found["offered"] == 80
    assert found["p50_ms"] > 100
    assert found["p99_ms"] > 400
    assert found["send_lag_p99_ms"] > 100  # two connections: the others could not be sent


def test_requests_without_an_answer_are_failed(offer):
    answers = iter([ANSWER, None] * 100)
    with answering(lambda: next(answers)) as port:
        found = offer(port, "--rate=20", "--seconds=1")
    assert found["failed"] == found["answered"] == 10


def test_answers_are_kept_with_the_number_of_what_was_sent(benchmarks):
    from serving_load import Client

    answers = iter(range(100))
    with answering(lambda: b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n%02d" % next(answers)) as port:
        client = Client(port, [b"a", b"b", b"c"], max_connections=1)
        client.offer(rate_per_s=50, seconds=0.2)
    assert [request.number for request in client.sent] == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
    assert [request.answer for request in client.sent] == [b"%02d" % i for i in range(10)]


def test_answer_ends_with_the_last_byte_of_its_body(offer):
    with answering(lambda: ANSWER) as port:
        found = offer(port, "--closed=1", "--seconds=0.5")
    assert found["p50_ms"] > 4  # the pauses between its parts


def test_refusal_without_retry_after_is_counted(offer):
    refusal = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
    with answering(lambda: refusal) as port:
        found = offer(port, "--rate=20", "--seconds=1")
    assert found["refused"] == found["without_retry_after"] == 20
    assert found["p50_ms"] is None
