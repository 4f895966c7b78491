"""P33: 200 clients that are silent or send a byte at a time keep nobody waiting, and are closed after 5 s."""

import itertools
import select
import socket
import threading
import time

import pytest

NUM_CLIENTS = 200
CLOSED_AFTER_S = 5.0  # ServingConfig.idle_timeout_s and body_timeout_s
GRACE_S = 3.0  # for a machine that does something else as well
EVENT = {"user_id": "user-1", "event_id": "event-1", "event_time": "2023-11-14T22:13:19Z", "amount": "12.50"}
HEAD = b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
# What is sent at once, and what follows a byte at a time.
KINDS = [
    (b"", b""),
    (HEAD, b"X-Slow: "),
    (HEAD + b"Content-Length: 60000\r\n\r\n", b"{"),
    (HEAD + b"Transfer-Encoding: chunked\r\n\r\nffff\r\n", b"{"),
    (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b""),
]


class SlowClients(threading.Thread):
    """Opens all connections, drips, and notes when each was closed."""

    def __init__(self, port: int, until_s: float) -> None:
        super().__init__()
        self._port, self._until_s = port, until_s
        self.closed_after_s: list[float] = []

    def run(self) -> None:
        start = time.monotonic()
        waiting = {}
        for first, drip in itertools.islice(itertools.cycle(KINDS), NUM_CLIENTS):
            client = socket.create_connection(("127.0.0.1", self._port), timeout=10)
            client.sendall(first)
            client.setblocking(False)
            waiting[client] = itertools.chain(drip, itertools.repeat(ord("a"))) if drip else iter(())
        opened = time.monotonic()
        while waiting and time.monotonic() - start < self._until_s:
            for client in select.select(list(waiting), [], [], 0.25)[0]:
                if self._is_closed(client):
                    self.closed_after_s.append(time.monotonic() - opened)
                    del waiting[client]
                    client.close()
            for client, drip in waiting.items():
                self._send(client, drip)
        for client in waiting:
            client.close()

    @staticmethod
    def _is_closed(client: socket.socket) -> bool:
        try:
            return client.recv(65_536) == b""
        except OSError:
            return True

    @staticmethod
    def _send(client: socket.socket, drip) -> None:
        byte = next(drip, None)
        if byte is not None:
            try:
                client.send(bytes([byte]))
            except OSError:
                return  # closed: seen at the next look


def load_beside_slow_clients(service, open_loop):
    slow = SlowClients(service.port, CLOSED_AFTER_S + GRACE_S)
    request = open_loop.post("/score", EVENT)
    before = open_loop.offer(service.port, request, rate_per_s=50, seconds=3)
    slow.start()
    during = open_loop.offer(service.port, request, rate_per_s=50, seconds=4)
    slow.join()
    return before, during, slow.closed_after_s


@pytest.mark.slow
def test_slow_clients_are_closed_and_keep_nobody_waiting(start_service, open_loop):
    service = start_service("--delay-s", "0.002")
    before, during, closed_after_s = load_beside_slow_clients(service, open_loop)
    assert {outcome.status for outcome in [*before, *during]} == {200}
    assert len(closed_after_s) == NUM_CLIENTS
    print(
        f"\nP33 {len(closed_after_s)} of {NUM_CLIENTS} slow clients closed, last after {max(closed_after_s):.1f} s; "
        f"p99 {open_loop.percentile(before, 0.99):.1f} ms without, {open_loop.percentile(during, 0.99):.1f} ms beside "
        "them / all, 5 s, ± 20 %"
    )


@pytest.mark.slow
def test_stock_protocol_breaks_the_promise(start_service, open_loop):
    service = start_service("--delay-s", "0.002", "--sabotage", "stock protocol")
    *_, closed_after_s = load_beside_slow_clients(service, open_loop)
    assert len(closed_after_s) < NUM_CLIENTS
