"""Logs as one JSON object per line, which say what the service did and nothing of whom it did it for.

Of an exception only its class and the lines of code are written: its message may hold what a caller sent.
"""

import json
import logging
import math
import sys
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

REQUEST_LOGGER = logging.getLogger("panther_pipeline.serving.request")
SERVICE_LOGGER = logging.getLogger("panther_pipeline.serving")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})
_MOST_FRAMES = 12
_TURNED_AWAY_EVERY_S = 1.0


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON; `fields` of the record are keys of it."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage().partition("\n")[0],  # asyncio writes an exception's message below the first
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[0]:
            line |= describe_exception(record.exc_info[1], record.exc_info[2])
        return json.dumps(line)


def describe_exception(error: BaseException | None, trace: TracebackType | None) -> dict[str, Any]:
    """Class and place of an exception, without its message."""
    frames = traceback.extract_tb(trace)[-_MOST_FRAMES:]
    places = [f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} {frame.name}" for frame in frames]
    return {"exception": type(error).__name__, "at": places}


def log_request(*, method: str, route: str, status: int, duration_ms: float, num_events: int | None) -> None:
    """One line per request. `route` is the template of a path, never the path."""
    fields = {
        "method": known_method(method),
        "route": route,
        "status": status,
        "duration_ms": round(duration_ms, 2),
        "num_events": num_events,
    }
    REQUEST_LOGGER.info("request", extra={"fields": fields})


class TurnedAwayLog:
    """At most one line a second for requests that found no room.

    A line for each would take from those inside the time that turning others away has saved: a sixth of all time at
    four times the capacity. The counters have each of them.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._num, self._written_s = clock, 0, -math.inf

    def add(self) -> None:
        """One more."""
        self._num += 1
        self.write_if_due()

    def write_if_due(self) -> None:
        """Write how many there were since the last line."""
        if self._num and self._clock() - self._written_s >= _TURNED_AWAY_EVERY_S:
            REQUEST_LOGGER.warning("turned away", extra={"fields": {"num_requests": self._num}})
            self._num, self._written_s = 0, self._clock()


def known_method(method: str) -> str:
    """The method of a request, or 'other': a caller can invent one."""
    return method if method in _METHODS else "other"


def configure_logging(level: int = logging.INFO) -> None:
    """Everything to stderr as JSON; the access log of uvicorn, which holds paths and queries, stays off."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
    access = logging.getLogger("uvicorn.access")
    access.handlers, access.propagate, access.disabled = [], False, True
