"""A client in a process of its own: `python benchmarks/serving_load.py PORT REQUESTS --rate=R --seconds=S`.

REQUESTS is a file with the requests to send, JSON bodies of POST /score, one per line, sent in turn. Two kinds of load:

    --rate R     open: a request is due every 1/R s, whatever comes back; latency counts from when it was due, so that a
                 service that stalls, and a client that is late, are both seen (--connections at most)
    --closed K   closed: K connections, each asks again as soon as it is answered; finds what the service can

Prints one JSON object:

    offered, answered, refused (503), other (any other status), failed (no answer)
    answered_per_s            answers with status 200 over the whole time
    p50_ms, p99_ms, p999_ms   of the answered
    refused_p99_ms            of the refused
    without_retry_after       refused ones that do not say when to come again
    last_refused_s            when the last of them was due, from the start; null = none
    send_lag_p99_ms           how much later than due requests were sent: what the client itself adds
    client_cpu_share          processor seconds per second of the client
"""

import argparse
import itertools
import json
import select
import socket
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_PATIENCE_S = 30.0


@dataclass
class Request:
    """One that was sent."""

    due_s: float
    number: int = 0  # which of the bodies it sent
    sent_s: float = 0.0
    done_s: float = 0.0
    status: int = 0  # 0 = no answer
    has_retry_after: bool = False
    answer: bytes = b""  # its body


class Connection:
    """One request at a time."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.request: Request | None = None
        self._received = b""

    def send(self, raw: bytes, request: Request) -> None:
        """The request goes out whole: it is far shorter than the buffer of a socket."""
        self.request, self._received = request, b""
        request.sent_s = time.perf_counter()
        self.socket.sendall(raw)

    def receive(self) -> bool:
        """Take what has come; whether the connection goes on."""
        try:
            part = self.socket.recv(65_536)
        except OSError:
            part = b""
        self._received += part
        if self.request is not None and self._is_complete():
            head, _, self.request.answer = self._received.partition(b"\r\n\r\n")
            head = head.lower()
            self.request.done_s = time.perf_counter()
            self.request.status = int(head[9:12])
            self.request.has_retry_after = b"\r\nretry-after:" in head
            self.request = None
            return b"connection: close" not in head
        return bool(part)

    def _is_complete(self) -> bool:
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return False
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        return len(body) >= int(length)


class Client:
    """Connections to one service, and what became of all requests."""

    def __init__(self, port: int, bodies: list[bytes], max_connections: int) -> None:
        self._port, self._max = port, max_connections
        self._requests = itertools.cycle(enumerate([_as_request(body) for body in bodies]))
        self._open: dict[int, Connection] = {}  # by the number of its socket
        self._idle: list[Connection] = []
        self._waiting: deque[Request] = deque()
        self.sent: list[Request] = []

    def offer(self, rate_per_s: float, seconds: float) -> None:
        """Open loop."""
        start, num = time.perf_counter(), int(rate_per_s * seconds)
        for i in range(num):
            due_s = start + i / rate_per_s
            while (left_s := due_s - time.perf_counter()) > 0:
                self._poll(left_s)
            self._waiting.append(Request(due_s))
            self._send_waiting()
            self._poll(0)
        self._finish()

    def saturate(self, num_connections: int, seconds: float) -> None:
        """Closed loop."""
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            while self._num_busy + len(self._waiting) < num_connections:
                self._waiting.append(Request(time.perf_counter()))
            self._send_waiting()
            self._poll(0.1)
        self._finish()

    @property
    def _num_busy(self) -> int:
        return len(self._open) - len(self._idle)

    def _send_waiting(self) -> None:
        while self._waiting and (self._idle or len(self._open) < self._max):
            connection = self._idle.pop() if self._idle else self._connect()
            request = self._waiting.popleft()
            request.number, raw = next(self._requests)
            self.sent.append(request)
            try:
                connection.send(raw, request)
            except OSError:
                self._drop(connection)

    def _connect(self) -> Connection:
        connection = Connection(self._port)
        self._open[connection.socket.fileno()] = connection
        return connection

    def _poll(self, timeout_s: float) -> None:
        # Not epoll, which waits whole milliseconds.
        for number in select.select(list(self._open), [], [], timeout_s)[0]:
            connection = self._open[number]
            was_busy = connection.request is not None
            if not connection.receive():
                self._drop(connection)
            elif was_busy and connection.request is None:
                self._idle.append(connection)
        self._send_waiting()

    def _drop(self, connection: Connection) -> None:
        del self._open[connection.socket.fileno()]
        if connection in self._idle:
            self._idle.remove(connection)
        connection.socket.close()

    def _finish(self) -> None:
        until = time.perf_counter() + _PATIENCE_S
        while (self._num_busy or self._waiting) and time.perf_counter() < until:
            self._poll(0.05)
        for connection in list(self._open.values()):
            self._drop(connection)


def _as_request(body: bytes) -> bytes:
    head = f"POST /score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def summarise(sent: list[Request], start_s: float, took_s: float, cpu_s: float) -> dict[str, Any]:
    """What the head of this file lists."""
    answered = [r for r in sent if r.status == 200]
    refused = [r for r in sent if r.status == 503]
    failed = sum(r.status == 0 for r in sent)
    latency_ms = percentiles([1000 * (r.done_s - r.due_s) for r in answered])
    return {
        "offered": len(sent),
        "answered": len(answered),
        "refused": len(refused),
        "other": len(sent) - len(answered) - len(refused) - failed,
        "failed": failed,
        "answered_per_s": round(len(answered) / took_s, 1),
        **latency_ms,
        "refused_p99_ms": percentiles([1000 * (r.done_s - r.due_s) for r in refused])["p99_ms"],
        "without_retry_after": sum(not r.has_retry_after for r in refused),
        "last_refused_s": round(max(r.due_s for r in refused) - start_s, 2) if refused else None,
        "send_lag_p99_ms": percentiles([1000 * (r.sent_s - r.due_s) for r in sent])["p99_ms"],
        "client_cpu_share": round(cpu_s / took_s, 2),
    }


def percentiles(values_ms: list[float]) -> dict[str, float | None]:
    """p50, p99 and p99.9; None of none."""
    names = {"p50_ms": 50, "p99_ms": 99, "p999_ms": 99.9}
    if not values_ms:
        return dict.fromkeys(names)
    return {name: round(float(np.percentile(values_ms, share)), 3) for name, share in names.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int)
    parser.add_argument("requests", type=Path)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--closed", type=int)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--connections", type=int, default=128)
    args = parser.parse_args()
    client = Client(args.port, args.requests.read_bytes().splitlines(), args.connections)
    start_s, cpu_s = time.perf_counter(), time.process_time()
    if args.closed:
        client.saturate(args.closed, args.seconds)
    else:
        client.offer(args.rate, args.seconds)
    took_s = max([r.done_s for r in client.sent if r.status], default=time.perf_counter()) - start_s
    print(json.dumps(summarise(client.sent, start_s, took_s, time.process_time() - cpu_s)))


if __name__ == "__main__":
    main()
