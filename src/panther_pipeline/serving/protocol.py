"""The HTTP protocol of uvicorn with what it lacks: deadlines for headers and for a reader that does not read, a door.

Stock uvicorn closes a connection that is idle between two requests, but waits for ever for the first byte of the
first one, for headers that come byte by byte, and for room to write an answer; and its httptools parser takes headers
of any length. Each of these lets a client hold a connection, and memory, for nothing.
"""

import asyncio
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from panther_pipeline.serving.answers import raw_answer
from panther_pipeline.serving.config import ServingConfig
from panther_pipeline.serving.doorkeeper import Doorkeeper


class GuardedProtocol(HttpToolsProtocol):
    """One connection. `serving` and `doorkeeper` are set by a subclass of `guard_connections`."""

    serving: ServingConfig
    doorkeeper: Doorkeeper

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_deadline: asyncio.TimerHandle | None = None
        self._write_deadline: asyncio.TimerHandle | None = None
        self._head_bytes = 0  # received since headers are awaited
        self._complete_bytes = 0  # of the headers that were parsed
        self._is_in_body = False
        self._has_ended = False  # a request, with what was received last
        self._is_too_many = False
        self._is_turned_away = False  # the request whose body comes now

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request, not for long. One too many is told so, unless there are twice as many."""
        super().connection_made(transport)
        self._is_too_many = len(self.connections) > self.serving.max_connections
        if len(self.connections) > 2 * self.serving.max_connections:
            transport.abort()
            return
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Parse; if that leaves us within the headers of a request, they have a deadline and a limit."""
        if self._is_too_many:
            self._turn_away()
            return
        self._has_ended = False
        super().data_received(data)
        if not self._is_between_requests or self.transport.is_closing():
            return
        if self._head_deadline is None:
            self._await_head()
        # The rest of a request that was answered before it was read is dropped, within the deadline.
        if self._is_in_body or self._has_ended:
            return
        self._head_bytes += len(data)
        if self._head_bytes > self.serving.max_header_bytes:
            self.send_400_response("Headers too large.")

    def on_url(self, url: bytes) -> None:
        """Count what a request line takes."""
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count what headers take."""
        super().on_header(name, value)
        self._count(len(name) + len(value))

    def on_message_begin(self) -> None:
        """Count from zero. Behind one that was turned away the deadline was that of an idle connection until now."""
        super().on_message_begin()
        self._complete_bytes = 0
        if self._is_turned_away:
            self._cancel_head()

    def on_headers_complete(self) -> None:
        """The headers are there: from here on the body has its own deadline, unless there is no room."""
        self._cancel_head()
        self._is_in_body = True
        self._is_turned_away = self._is_simple and self.doorkeeper.turns_away(self.parser.get_method(), self.url)
        if self._is_turned_away:
            self.transport.write(self.doorkeeper.answer)
            return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """What belongs to a request that was turned away is dropped."""
        if not self._is_turned_away:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """What comes next is another request."""
        self._is_in_body, self._has_ended = False, True
        if not self._is_turned_away:
            super().on_message_complete()

    def pause_writing(self) -> None:
        """The client does not read: it has so long to go on."""
        super().pause_writing()
        if self._write_deadline is None:
            self._write_deadline = self.loop.call_later(self.serving.write_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        self._cancel_write()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadlines."""
        self._cancel_head()
        self._cancel_write()
        super().connection_lost(exc)

    @property
    def _is_between_requests(self) -> bool:
        return self.cycle is None or (self.cycle.response_complete and not self.pipeline)

    @property
    def _is_simple(self) -> bool:
        """Whether an answer may be written at once: none is under way, and the connection goes on after it."""
        return (
            self._is_between_requests
            and not self.flow.write_paused
            and not self.expect_100_continue
            and self.parser.get_http_version() == "1.1"
            and self.parser.should_keep_alive()
            and not self.parser.should_upgrade()
        )

    def _turn_away(self) -> None:
        # Only now: to close before the request is read would reset the connection, and the answer would be lost.
        body = b'{"error":"too_many_connections"}'
        headers = [
            (b"Content-Type", b"application/json"),
            (b"Retry-After", b"%d" % self.serving.retry_after_s),
            (b"Content-Length", b"%d" % len(body)),
            (b"Connection", b"close"),
        ]
        if not self.transport.is_closing():
            self.transport.write(raw_answer(HTTPStatus.SERVICE_UNAVAILABLE, headers, body))
            self.transport.close()

    def _count(self, num_bytes: int) -> None:
        self._complete_bytes += num_bytes
        if self._complete_bytes > self.serving.max_header_bytes:
            raise ValueError("headers too large")  # the parser turns it into its own error, which is answered 400

    def _await_head(self) -> None:
        self._head_bytes = 0
        self._head_deadline = self.loop.call_later(self.serving.idle_timeout_s, self._give_up)

    def _give_up(self) -> None:
        self._head_deadline = None
        if not self.transport.is_closing():
            self.transport.close()

    def _cancel_head(self) -> None:
        if self._head_deadline is not None:
            self._head_deadline.cancel()
            self._head_deadline = None

    def _cancel_write(self) -> None:
        if self._write_deadline is not None:
            self._write_deadline.cancel()
            self._write_deadline = None


def guard_connections(config: ServingConfig, doorkeeper: Doorkeeper) -> type[GuardedProtocol]:
    """The protocol with the limits of a configuration, and who stands at the door."""
    return type("GuardedProtocol", (GuardedProtocol,), {"serving": config, "doorkeeper": doorkeeper})
