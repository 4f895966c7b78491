"""A client that sends at a constant rate, whatever comes back.

A client that waits for each answer before it asks again hides a service that stalls: it offers less. Here a request is
due at its instant, and its latency counts from there.
"""

import asyncio
import json
import time
from dataclasses import dataclass

import uvloop


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one request."""

    due_s: float  # instants of time.monotonic()
    done_s: float
    status: int | None  # None: no answer came, or half of one
    has_retry_after: bool
    failure: str | None  # why no answer came
    body: bytes = b""  # of the answer

    @property
    def latency_ms(self) -> float:
        """From when it was due."""
        return 1000 * (self.done_s - self.due_s)


def post(path: str, body: dict) -> bytes:
    """A request as it is sent."""
    content = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


def offer(port: int, request: bytes, *, rate_per_s: float, seconds: float, interrupt=None, until=None) -> list[Outcome]:
    """Send at a constant rate and wait for all answers.

    Args:
        port: on this machine.
        request: sent again and again.
        rate_per_s: requests due per second.
        seconds: for which requests are sent.
        interrupt: called once, half way; nothing is sent after it, what is in flight is waited for.
        until: asked before each request; nothing is sent once it says yes.
    """
    return uvloop.run(_offer(port, request, rate_per_s, seconds, interrupt, until))


async def _offer(port, request, rate_per_s, seconds, interrupt, until):
    idle, tasks, start = [], [], time.monotonic()
    for i in range(int(rate_per_s * seconds)):
        due_s = start + i / rate_per_s
        if interrupt and due_s - start > seconds / 2:
            await asyncio.sleep(0.005)  # what was just asked for is on its way
            interrupt()
            break
        if until and until():
            break
        if (wait_s := due_s - time.monotonic()) > 0:
            await asyncio.sleep(wait_s)
        tasks.append(asyncio.create_task(_ask(port, request, due_s, idle)))
    outcomes = await asyncio.gather(*tasks)
    for _, writer in idle:
        writer.close()
    return outcomes


async def _ask(port, request, due_s, idle):
    status, has_retry_after, failure, body = None, False, None, b""
    try:
        reader, writer = await _connect(port, idle)
        writer.write(request)
        async with asyncio.timeout(60):
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
            body = await reader.readexactly(length)
        status, has_retry_after = int(head.split(b" ", 2)[1]), b"\r\nretry-after:" in head
        if b"connection: close" in head:
            writer.close()
        else:
            idle.append((reader, writer))
    except (OSError, EOFError, TimeoutError) as error:
        failure = repr(error)
    return Outcome(
        due_s=due_s,
        done_s=time.monotonic(),
        status=status,
        has_retry_after=has_retry_after,
        failure=failure,
        body=body if status is not None else b"",
    )


async def _connect(port, idle):
    """A connection that is free and that the service has not closed meanwhile, or a new one."""
    while idle:
        reader, writer = idle.pop()
        if not reader.at_eof() and not writer.is_closing():
            return reader, writer
        writer.close()
    return await asyncio.open_connection("127.0.0.1", port)


def percentile(outcomes: list[Outcome], share: float) -> float:
    """Latency in ms that a share of the outcomes does not exceed; 0 of none."""
    ordered = sorted(outcome.latency_ms for outcome in outcomes)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
