"""The application: seven questions that one may ask, and one form of refusal for whatever is asked wrongly."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import unquote_to_bytes

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from panther_pipeline import __version__
from panther_pipeline.errors import StoreAwayError, StoreMovedError, TooLateError
from panther_pipeline.serving.answers import JsonAnswer, busy, next_content, refusal, score_content, timeline_content
from panther_pipeline.serving.contracts import to_refusal
from panther_pipeline.serving.limits import Gate, KeyGuard, Watch
from panther_pipeline.serving.loaded import Loaded, NotReadyError
from panther_pipeline.serving.openapi import (
    EventsAnswer,
    HealthAnswer,
    NextAnswer,
    ReadyAnswer,
    ScoreAnswer,
    UserAnswer,
    UsersAnswer,
    describe,
    refusals,
)
from panther_pipeline.serving.page_files import add_page
from panther_pipeline.serving.service import Service
from panther_pipeline.serving.strict_json import MalformedJson, parse_json

T = TypeVar("T")
_BODY = refusals(400, 401, 408, 413, 415, 422, 500, 503)
_LONG_BYTES = 8_192  # some 40 events, which take a few ms to check
WORK = frozenset(
    {
        ("POST", "/score"),
        ("POST", "/events"),
        ("POST", "/next"),
        ("GET", "/next"),
        ("POST", "/user"),
        ("GET", "/users"),
    }
)
_MOST_USERS = 100  # of one list
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z.-]+)(:[0-9]*)?")


def guard(service: Service, key: str | None) -> ASGIApp:
    """The service as an ASGI application, with all that stands before it: admission, key and log.

    Args:
        service: starts when the application does.
        key: that callers must show; None = they need none.
    """
    app = build_routes(service, with_key=key is not None)
    gate = Gate(app, service.admission, service.config, WORK)
    return Watch(KeyGuard(gate, key), service.metrics, service.turned_away, lambda: service.is_stopping)


def build_routes(service: Service, *, with_key: bool) -> FastAPI:
    """The routes alone. `app.state.service` is the service."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        yield
        await service.stop()

    app = FastAPI(
        title="panther_pipeline",
        version=__version__,
        description="Scores of payments, and what comes next.",
        lifespan=lifespan,
        openapi_url=None,  # ours needs the schema of the ledger
        docs_url=None,  # both pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,  # a redirect repeats the path that was sent
    )
    app.state.service = service
    _add_refusals(app)
    _add_probes(app, service)
    _add_description(app, service, with_key=with_key)
    _add_events(app, service)
    _add_next(app, service)
    _add_users(app, service)
    add_page(app)
    return app


async def _body(service: Service, request: Request) -> bytes:
    """The body of a request, once there is somebody to answer it.

    It is waited for before a scorer is taken: a slow client must not keep an old one.
    """
    service.require_ready()
    return await request.body()


async def _read(service: Service, body: bytes, read: Callable[[Any], T]) -> T:
    """A body, checked; a long one in the other thread, so that the loop stays free."""

    def parse() -> T:
        return read(parse_json(body))

    return await service.call(parse) if len(body) > _LONG_BYTES else parse()


def _add_events(app: FastAPI, service: Service) -> None:
    @app.post("/score", responses={200: {"model": ScoreAnswer}, **_BODY}, summary="Score one event or several")
    async def score(request: Request, explain: Annotated[Literal["true", "false"], Query()] = "false") -> Response:
        body = await _body(service, request)
        with service.using() as loaded:
            events = await _read(service, body, loaded.contract.read_scored)
            request.state.num_events = len(events)
            scores = await service.score(loaded.scorer, events, explain == "true")
            service.metrics.count_scored(len(scores))
            content = {"scores": [score_content(score) for score in scores], "identity": loaded.scorer.identity}
        return JsonAnswer(content)

    @app.post("/events", responses={200: {"model": EventsAnswer}, **_BODY}, summary="Take in what happened")
    async def events(request: Request) -> Response:
        body, ingested = await _body(service, request), []
        try:
            while True:
                with service.using() as loaded:
                    events = await _read(service, body, loaded.contract.read_ingested)
                    request.state.num_events = len(events)
                    ingested += await service.call(loaded.scorer.ingest, events[len(ingested) :])
                    identity = loaded.scorer.identity
                if len(ingested) == len(events):
                    break
                await service.wait_for_successor(loaded)
        finally:  # also after some of them: whoever sends them again finds them taken in
            service.metrics.count_ingested(ingested)
            service.note_events()
        return JsonAnswer({"events": [vars(event) for event in ingested], "identity": identity})


def _add_next(app: FastAPI, service: Service) -> None:
    async def foresee(loaded: Loaded, user_id: str, num: int) -> Response:
        found = await service.call(loaded.scorer.next_transactions, user_id, num)
        if found is None:
            return refusal(404, "unknown_user")
        return JsonAnswer({"next": next_content(found), "identity": loaded.scorer.identity})

    answers: dict[int | str, dict[str, Any]] = {200: {"model": NextAnswer}, **refusals(400, 404)}
    default_num = min(10, service.config.max_next)

    @app.get("/next", responses=answers | refusals(401, 422, 500, 503), summary="What a user does next")
    async def get_next(
        request: Request, user_id: Annotated[str, Query()], k: Annotated[int, Query()] = default_num
    ) -> Response:
        service.require_ready()
        if not _is_utf8(request.scope["query_string"]):
            return refusal(400, "not_utf8")
        with service.using() as loaded:
            return await foresee(loaded, *loaded.contract.read_next({"user_id": user_id, "k": k}))

    @app.post("/next", responses=answers | _BODY, summary="The same, with the id in no address")
    async def post_next(request: Request) -> Response:
        body = await _body(service, request)
        with service.using() as loaded:
            return await foresee(loaded, *await _read(service, body, loaded.contract.read_next))


def _add_users(app: FastAPI, service: Service) -> None:
    config = service.config
    shown: dict[int | str, dict[str, Any]] = {200: {"model": UserAnswer}, **refusals(404)}

    @app.post("/user", responses=shown | _BODY, summary="What is known of a user, event by event")
    async def user(request: Request) -> Response:
        body = await _body(service, request)
        with service.using() as loaded:
            user_id = await _read(service, body, loaded.contract.read_user)
            found = await service.call(loaded.scorer.user, user_id)
            identity = loaded.scorer.identity
        if found is None:
            return refusal(404, "unknown_user")
        return JsonAnswer({"user": timeline_content(found, config.max_timeline), "identity": identity})

    listed: dict[int | str, dict[str, Any]] = {200: {"model": UsersAnswer}, **refusals(401, 403, 422, 500, 503)}

    @app.get("/users", responses=listed, summary="Some users, to look at")
    async def users(request: Request, k: Annotated[int, Query(ge=1, le=_MOST_USERS)] = 20) -> Response:
        service.require_ready()
        if not config.lists_users(_named_host(request)):
            return refusal(403, "users_are_not_shown")
        with service.using() as loaded:
            found = await service.call(loaded.scorer.sample_users, k)
        return JsonAnswer({"users": found}, headers={"Cache-Control": "no-store"})


def _named_host(request: Request) -> str | None:
    """The host that a request names, without its port; None where it names none that can be read."""
    named = _HOST.fullmatch(request.headers.get("host", ""))
    return named[1] if named else None


def _is_utf8(query: bytes) -> bool:
    """Whether a query names what it says: other bytes would become the same replacement character."""
    try:
        unquote_to_bytes(query).decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _add_probes(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", responses={200: {"model": HealthAnswer}}, summary="Whether the process answers")
    async def healthz() -> Response:
        return JsonAnswer({"status": "ok"})

    ready = {200: {"model": ReadyAnswer}, 503: {"model": ReadyAnswer}}

    @app.get("/readyz", responses=ready, summary="Whether requests for scores are answered")
    async def readyz() -> Response:
        if service.state != "ready":
            headers = {"Retry-After": str(service.config.retry_after_s)}
            return JsonAnswer({"status": service.state, "identity": {}}, 503, headers)
        with service.using() as loaded:
            return JsonAnswer({"status": "ready", "identity": loaded.scorer.identity})

    @app.get("/metrics", summary="Counters, for Prometheus", include_in_schema=False)
    async def metrics() -> Response:
        return Response(service.metrics.exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _add_description(app: FastAPI, service: Service, *, with_key: bool) -> None:
    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> Response:
        with service.using() as loaded:
            if loaded.description is None:
                loaded.description = describe(app, loaded.contract, with_key=with_key)
            return JsonAnswer(loaded.description)


def _add_refusals(app: FastAPI) -> None:
    """One form for all. The stock handlers repeat what was sent, and fail on what cannot be written as JSON."""

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        return refusal(422, "invalid", problems=to_refusal(list(error.errors())))

    @app.exception_handler(MalformedJson)
    async def malformed(_: Request, error: MalformedJson) -> Response:
        return refusal(400, error.reason)

    @app.exception_handler(NotReadyError)
    async def not_ready(_: Request, __: NotReadyError) -> Response:
        return busy("not_ready", app.state.service.config.retry_after_s)

    @app.exception_handler(StoreMovedError)
    async def moved(_: Request, __: StoreMovedError) -> Response:
        app.state.service.note_move()
        return busy("not_ready", app.state.service.config.retry_after_s)

    @app.exception_handler(StoreAwayError)
    async def away(_: Request, __: StoreAwayError) -> Response:
        return busy("store_away", app.state.service.config.retry_after_s)

    @app.exception_handler(TooLateError)
    async def too_late(_: Request, __: TooLateError) -> Response:
        return refusal(422, "too_late")

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        if error.status_code == 405:  # stock: the methods of the first route of that path alone
            headers["Allow"] = ", ".join(_methods(app, request.url.path))
        return refusal(error.status_code, _REASONS.get(error.status_code, "refused"), headers=headers)

    @app.exception_handler(Exception)
    async def internal(_: Request, __: Exception) -> Response:
        return refusal(500, "internal")


_REASONS = {404: "no_such_route", 405: "method_not_allowed"}


def _methods(app: FastAPI, path: str) -> list[str]:
    routes = [route for route in app.routes if getattr(route, "path", None) == path]
    return sorted({method for route in routes for method in getattr(route, "methods", ())})
