"""What stands before the application: who may ask, how many at a time, how large, how slow.

Plain ASGI, since each of these must act before anything is parsed. From the outside in: `Watch` (log and counters),
`KeyGuard`, `Gate` (admission, then body).
"""

import asyncio
import hmac
import re
import sys
import time
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from panther_pipeline.serving.admission import Admission
from panther_pipeline.serving.answers import busy, refusal, send_answer
from panther_pipeline.serving.config import ServingConfig
from panther_pipeline.serving.logs import SERVICE_LOGGER, TurnedAwayLog, describe_exception, log_request
from panther_pipeline.serving.metrics import Metrics
from panther_pipeline.serving.page_files import PAGE_PATHS

_OPEN_TO_ALL = frozenset({"/healthz", "/readyz", *PAGE_PATHS})  # a probe has no key, the page asks for it
_CLOSE = {"Connection": "close"}
_JSON = re.compile(rb'application/json[ \t]*(;[ \t]*charset="?utf-8"?[ \t]*)?', re.IGNORECASE)
_LENGTH = re.compile(rb"[0-9]{1,18}")
_LIST_OF_EVENTS = re.compile(rb'[ \t\r\n]*\{[ \t\r\n]*"events"[ \t\r\n]*:')


class Watch:
    """One count per request, and one log line unless it found no room.

    An exception ends here, and only its class and place are written.

    Args:
        app: what is watched.
        metrics: where requests are counted.
        turned_away: where those that found no room are written.
        is_stopping: whether clients should take their next request elsewhere.
    """

    def __init__(
        self, app: ASGIApp, metrics: Metrics, turned_away: TurnedAwayLog, is_stopping: Callable[[], bool]
    ) -> None:
        self._app, self._metrics, self._turned_away, self._is_stopping = app, metrics, turned_away, is_stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 0
        scope.setdefault("state", {})

        async def send_watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if self._is_stopping():
                    message["headers"] = [*message.get("headers", []), (b"connection", b"close")]
            await send(message)

        try:
            await self._app(scope, receive, send_watched)
        except Exception as error:
            fields = describe_exception(error, sys.exc_info()[2])
            SERVICE_LOGGER.error("a request failed", extra={"fields": fields})
            if not status:
                await send_answer(refusal(500, "internal"), send_watched)
        finally:
            self._note(scope, status, time.perf_counter() - start)

    def _note(self, scope: Scope, status: int, duration_s: float) -> None:
        route = getattr(scope.get("route"), "path", None) or scope["state"].get("route", "unmatched")
        num_events = scope["state"].get("num_events")
        status = status or 499  # the client left before it was answered
        self._metrics.count_request(method=scope["method"], route=route, status=status, duration_s=duration_s)
        if scope["state"].get("is_turned_away"):
            self._turned_away.add()
            return
        self._turned_away.write_if_due()
        log_request(
            method=scope["method"], route=route, status=status, duration_ms=1000 * duration_s, num_events=num_events
        )


class KeyGuard:
    """Asks for the API key, if there is one."""

    def __init__(self, app: ASGIApp, key: str | None) -> None:
        self._app, self._key = app, key.encode() if key else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 401."""
        needs_key = self._key is not None and scope["type"] == "http" and scope["path"] not in _OPEN_TO_ALL
        if needs_key and not self._is_right(scope):
            headers = {"WWW-Authenticate": 'ApiKey header="X-API-Key"', **_CLOSE}
            await send_answer(refusal(401, "api_key", headers=headers), send)
            return
        await self._app(scope, receive, send)

    def _is_right(self, scope: Scope) -> bool:
        shown = [value for name, value in scope["headers"] if name == b"x-api-key"]
        # One header exactly: of two, some proxies forward the first and some the last.
        return len(shown) == 1 and hmac.compare_digest(shown[0], self._key or b"")


class Gate:
    """Lets work in while there is room, with its body complete and small enough.

    A request is refused before its body is read when the house is full. A place is taken only once the body is there:
    a client that sends slowly holds none. It is given back when the answer begins: nor does one that reads slowly.
    """

    def __init__(self, app: ASGIApp, admission: Admission, config: ServingConfig, work: frozenset[tuple[str, str]]):
        self._app, self._admission, self._config, self._work = app, admission, config, work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 400, 408, 413, 415, 503."""
        if scope["type"] != "http" or (scope["method"], scope["path"]) not in self._work:
            await self._app(scope, receive, send)
            return
        scope["state"]["route"] = scope["path"]  # one of a fixed set
        if self._admission.is_full:
            await self._turn_away(scope, send)
            return
        if scope["method"] == "POST":
            body = await self._read(scope, receive, send)
            if body is None:
                return
            receive = _replay(body, receive)
        if not self._admission.enter():
            await self._turn_away(scope, send)
            return
        await self._pass(scope, receive, send)

    async def _turn_away(self, scope: Scope, send: Send) -> None:
        scope["state"]["is_turned_away"] = True
        await send_answer(busy("overloaded", self._config.retry_after_s), send)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_inside = True

        def leave() -> None:
            nonlocal is_inside
            if is_inside:
                is_inside = False
                self._admission.leave()

        async def send_and_leave(message: Message) -> None:
            leave()
            await send(message)

        try:
            await self._app(scope, receive, send_and_leave)
        finally:
            leave()

    async def _read(self, scope: Scope, receive: Receive, send: Send) -> bytes | None:
        """The whole body; None if it was refused or the client left."""
        headers = dict(scope["headers"])
        if not _JSON.fullmatch(headers.get(b"content-type", b"")):
            return await _refuse(send, 415, "content_type_must_be_json")
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            return await _refuse(send, 415, "content_encoding")
        declared = headers.get(b"content-length", b"0")
        if not _LENGTH.fullmatch(declared):
            return await _refuse(send, 400, "content_length")
        if int(declared) > self._config.max_body_bytes_many:
            return await _refuse(send, 413, "body_too_large")
        try:
            async with asyncio.timeout(self._config.body_timeout_s):
                body = await self._collect(receive)
        except TimeoutError:
            return await _refuse(send, 408, "body_too_slow")
        except _TooLarge:
            return await _refuse(send, 413, "body_too_large")
        return body

    async def _collect(self, receive: Receive) -> bytes | None:
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return None
            body += message.get("body", b"")
            self._check_size(body)
            if not message.get("more_body"):
                return bytes(body)

    def _check_size(self, body: bytearray) -> None:
        limit = self._config.max_body_bytes
        if len(body) > limit and _LIST_OF_EVENTS.match(body):
            limit = self._config.max_body_bytes_many
        if len(body) > limit:
            raise _TooLarge


class _TooLarge(Exception):
    pass


async def _refuse(send: Send, status: int, reason: str) -> None:
    # What is left of the body is not read, so the connection cannot be used again.
    await send_answer(refusal(status, reason, headers=_CLOSE), send)


def _replay(body: bytes, receive: Receive) -> Receive:
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return waiting.pop() if waiting else await receive()

    return receive_again
