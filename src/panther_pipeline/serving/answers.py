"""Answers as bytes: scores, and refusals that are small and repeat nothing of the request."""

import json
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from fastapi.responses import Response
from starlette.types import Send

from panther_pipeline.online.decision import Decision, NextTransactions, PastTransaction, UserTimeline
from panther_pipeline.online.event_values import write_instant

MAX_REFUSAL_BYTES = 1_024
_MOST_PROBLEMS = 5


class JsonAnswer(Response):
    """A JSON answer. A number that is not finite is our fault and raises: no client is told null for a score."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The bytes of the body."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


def refusal(
    status: int, reason: str, *, problems: list[dict[str, str]] | None = None, headers: dict[str, str] | None = None
) -> JsonAnswer:
    """Why a request is not answered, in at most 1 KB.

    Args:
        status: of HTTP.
        reason: a code of ours.
        problems: place and reason of each; the first ones are shown.
        headers: of the answer.
    """
    content: dict[str, Any] = {"error": reason}
    shown = (problems or [])[:_MOST_PROBLEMS]
    answer = JsonAnswer(content | ({"problems": shown} if shown else {}), status, headers)
    if len(answer.body) > MAX_REFUSAL_BYTES:  # names of attributes may be long
        answer = JsonAnswer(content, status, headers)
    return answer


def busy(reason: str, retry_after_s: int) -> JsonAnswer:
    """503 with the time to wait."""
    return refusal(503, reason, headers={"Retry-After": str(retry_after_s)})


def raw_answer(status: HTTPStatus, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bytes:
    """An answer as it goes over the wire, where no application writes it."""
    head = [b": ".join(header) for header in headers]
    return b"\r\n".join([f"HTTP/1.1 {status} {status.phrase}".encode(), *head, b"", body])


async def send_answer(answer: Response, send: Send) -> None:
    """Send an answer from within a middleware."""
    await send({"type": "http.response.start", "status": answer.status_code, "headers": answer.raw_headers})
    await send({"type": "http.response.body", "body": answer.body})


def score_content(score: Decision) -> dict[str, Any]:
    """A score as it is written. `vars`, since `asdict` copies every part and takes ten times as long."""
    expected, reasons = map(vars, score.expected), map(vars, score.reasons)
    return {**vars(score), "expected": list(expected), "reasons": list(reasons)}


def next_content(found: NextTransactions) -> dict[str, Any]:
    """Next transactions as they are written."""
    return {**vars(found), "expected": list(map(vars, found.expected))}


def timeline_content(found: UserTimeline, num: int) -> dict[str, Any]:
    """The newest `num` events of a user as they are written, oldest first."""
    events = list(map(_event_content, found.events[-num:]))
    return {**vars(found), "events": events, "expected": list(map(vars, found.expected))}


def _event_content(event: PastTransaction) -> dict[str, Any]:
    return {"event_time": write_instant(event.time_us), "token": event.token, "surprise": event.surprise}
