"""The service as a process: sockets, signals, exit status."""

import gc
import json
import signal
import socket
import subprocess
import sys
import time

import pytest

from panther_pipeline.serving import server


def connect(service):
    client = socket.create_connection(("127.0.0.1", service.port), timeout=20)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def seconds_until_closed(client, drip=None):
    """Time until the server closes; meanwhile a byte of `drip` every 50 ms."""
    start = time.monotonic()
    client.settimeout(0.05)
    while time.monotonic() - start < 15:
        try:
            if not client.recv(65_536):
                return time.monotonic() - start
        except TimeoutError:
            if drip:
                try:
                    client.send(next(drip))
                except OSError:
                    return time.monotonic() - start
        except OSError:
            return time.monotonic() - start
    return None


def bytes_of(text):
    yield from (bytes([b]) for b in text)
    while True:
        yield b"x"


HEAD = b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("first", "drip"),
    [
        (b"", None),  # connects and is silent
        (b"", b"POST /score HTTP/1.1\r\nX-Slow: "),  # one byte of the headers at a time
        (b"", b"\r\n" * 500),  # empty lines before a request
        (HEAD + b"Content-Length: 1000\r\n\r\n", b"{"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nfff\r\n", b"{"),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", None),  # idle after an answer
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /healthz HTTP/1.1\r\nX-Slow: "),
    ],
    ids=["silent", "slow headers", "empty lines", "slow body", "slow chunks", "idle", "slow second headers"],
)
def test_slow_client_is_closed(start_service, first, drip):
    service = start_service(idle_timeout_s=0.6, body_timeout_s=0.6)
    with connect(service) as client:
        client.sendall(first)
        seconds = seconds_until_closed(client, bytes_of(drip) if drip else None)
    assert seconds is not None
    assert 0.4 < seconds < 5


def test_connection_in_use_stays_open(start_service):
    service = start_service(idle_timeout_s=0.5)
    with connect(service) as client:
        for _ in range(6):
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            time.sleep(0.25)
            assert client.recv(65_536).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "head",
    [
        b"GET /healthz HTTP/1.1\r\nX-Long: " + b"a" * 40_000,
        b"GET /healthz HTTP/1.1\r\nX-Long: " + b"a" * 40_000 + b"\r\n\r\n",
        b"GET /healthz?" + b"a" * 40_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n" + b"X-Many: a\r\n" * 4_000 + b"\r\n",
        b"nonsense\r\n\r\n",
    ],
)
def test_oversized_or_broken_headers_are_refused(start_service, head):
    service = start_service()
    with connect(service) as client:
        client.sendall(head)
        answer = client.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"aaa" not in answer
    assert service.status("/healthz") == 200


def test_connections_have_a_limit(start_service):
    service = start_service(max_connections=5)
    clients = [connect(service) for _ in range(12)]
    answers = [ask(client) for client in clients]
    for client in clients:
        client.close()
    assert [answer[:12] for answer in answers[:10]] == [b"HTTP/1.1 200"] * 5 + [b"HTTP/1.1 503"] * 5
    # Beyond twice as many they are reset, unless one that was turned away has left before the last was accepted.
    assert {answer[:12] for answer in answers[10:]} <= {b"", b"HTTP/1.1 503"}
    assert all(b"Retry-After: 1\r\n" in answer for answer in answers[5:10])
    time.sleep(0.2)
    assert service.status() == 200


def ask(client):
    try:
        client.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
        return client.recv(65_536)
    except OSError:
        return b""


def test_client_that_does_not_read_is_closed(start_service, contract):
    service = start_service(write_timeout_s=0.5)
    body = json.dumps({"events": [contract.example()] * 256}).encode()
    request = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with connect(service) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(1)
        is_closed, until = False, time.monotonic() + 20
        while not is_closed and time.monotonic() < until:
            try:
                client.send(request)
            except TimeoutError:
                continue
            except OSError:
                is_closed = True
    assert is_closed
    assert service.status() == 200


def test_stop_finishes_what_is_in_flight(start_service, contract):
    service = start_service("--delay-s", "0.4", drain_s=0.3)
    body = json.dumps(contract.example()).encode()
    with connect(service) as first, connect(service) as second:
        for client in (first, second):
            client.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        time.sleep(0.1)
        service.process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        assert service.status() == 503  # not ready, and it says so
        for client in (first, second):
            assert client.recv(65_536).startswith(b"HTTP/1.1 200")
    assert service.process.wait(20) == 0
    assert service.status() is None


def test_log_of_a_process_is_json(start_service, contract):
    service = start_service()
    service.ask("POST", "/score", contract.example() | {"user_id": "canary-4711"})
    service.ask("GET", "/next?user_id=canary-4711")
    service.process.send_signal(signal.SIGTERM)
    service.process.wait(20)
    lines = [json.loads(line) for line in service.log.read_text().splitlines()]
    assert [line["route"] for line in lines if line.get("num_events") == 1] == ["/score"]
    assert "canary" not in service.log.read_text()


def test_scorer_that_cannot_load_ends_the_process(start_service):
    service = start_service("--fail", ready=False)
    assert service.process.wait(20) == 1
    assert "digest abc of the model is not digest def of the store" in service.log.read_text()


def test_socket_is_open_while_the_scorer_loads(start_service, tmp_path):
    service = start_service("--wait-for", str(tmp_path / "go"), ready=False)
    service.wait_until(200, "/healthz")
    assert service.status() == 503
    (tmp_path / "go").touch()
    service.wait_until(200)


def test_public_address_without_a_key_is_refused(start_service):
    service = start_service(ready=False, host="0.0.0.0")
    assert service.process.wait(20) == 1
    assert "PANTHER_API_KEY is not set" in service.log.read_text()


def test_process_asks_for_its_key(start_service, contract):
    key = "q7Zk2mVx9LwT4bRn8cYd"
    service = start_service(key=key)
    assert service.ask("POST", "/score", contract.example())[0] == 401
    assert service.ask("POST", "/score", contract.example(), **{"X-API-Key": key})[0] == 200


def test_serving_loads_nothing_that_batches_need():
    script = "import sys, panther_pipeline.serving.server; print({n.partition('.')[0] for n in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    for name in ("kedro", "mlflow", "joblib", "sklearn", "cloudpickle", "torch", "polars", "pyarrow", "pandas"):
        assert f"'{name}'" not in loaded


def test_garbage_is_looked_for_again_once_all_is_loaded(monkeypatch):
    monkeypatch.setattr(gc, "freeze", lambda: None)  # of the whole test run
    gc.disable()
    server._pass_over_loaded()
    assert gc.isenabled()


def test_log_says_where_the_page_is(start_service):
    service = start_service()
    lines = [json.loads(line) for line in service.log.read_text().splitlines()]
    (address,) = [line["page"] for line in lines if "page" in line]
    assert address == f"http://127.0.0.1:{service.port}/"
