"""The application: five questions that one may ask, and one form of refusal for whatever is asked wrongly."""

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
from panther_pipeline.errors import TooLateError
from panther_pipeline.serving.answers import JsonAnswer, busy, next_content, refusal, score_content
from panther_pipeline.serving.config import ServingConfig, read_api_key
from panther_pipeline.serving.contracts import EventContract, to_refusal
from panther_pipeline.serving.limits import Gate, KeyGuard, Watch
from panther_pipeline.serving.openapi import (
    EventsAnswer,
    HealthAnswer,
    NextAnswer,
    ReadyAnswer,
    ScoreAnswer,
    describe,
    refusals,
)
from panther_pipeline.serving.scorer import Scorer
from panther_pipeline.serving.service import Service
from panther_pipeline.serving.strict_json import MalformedJson, parse_json

T = TypeVar("T")
_BODY = refusals(400, 401, 408, 413, 415, 422, 500, 503)
_LONG_BYTES = 8_192  # some 40 events, which take a few ms to check
WORK = frozenset({("POST", "/score"), ("POST", "/events"), ("POST", "/next"), ("GET", "/next")})


def create_app(load_scorer: Callable[[], Scorer], config: ServingConfig) -> ASGIApp:
    """The service as an ASGI application, with all that stands before it.

    Args:
        load_scorer: loads and verifies; called in a thread once the application starts.
        config: limits and intervals.

    Raises:
        ConfigurationError: the API key of the environment is too weak, or missing where others can reach the address.
    """
    return guard(Service(load_scorer, config), read_api_key(config))


def guard(service: Service, key: str | None) -> ASGIApp:
    """The application of a service behind admission, key and log."""
    app = build_routes(service, with_key=key is not None)
    gate = Gate(app, service.admission, service.config, WORK)
    return Watch(KeyGuard(gate, key), service.metrics, lambda: service.is_stopping)


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
    return app


class _NotReady(Exception):
    pass


def _loaded(service: Service) -> tuple[Scorer, EventContract]:
    if service.scorer is None or service.contract is None:
        raise _NotReady
    return service.scorer, service.contract


async def _read(service: Service, request: Request, read: Callable[[Any], T]) -> T:
    """The body of a request, checked; a long one in the other thread, so that the loop stays free."""
    body = await request.body()

    def parse() -> T:
        return read(parse_json(body))

    return await service.call(parse) if len(body) > _LONG_BYTES else parse()


def _add_events(app: FastAPI, service: Service) -> None:
    @app.post("/score", responses={200: {"model": ScoreAnswer}, **_BODY}, summary="Score one event or several")
    async def score(request: Request, explain: Annotated[Literal["true", "false"], Query()] = "false") -> Response:
        scorer, contract = _loaded(service)
        events = await _read(service, request, contract.read_scored)
        request.state.num_events = len(events)
        scores = await service.call(scorer.score, events, explain == "true")
        service.metrics.count_scored(len(scores))
        return JsonAnswer({"scores": [score_content(score) for score in scores], "identity": scorer.identity})

    @app.post("/events", responses={200: {"model": EventsAnswer}, **_BODY}, summary="Take in what happened")
    async def events(request: Request) -> Response:
        scorer, contract = _loaded(service)
        events = await _read(service, request, contract.read_ingested)
        request.state.num_events = len(events)
        ingested = await service.call(scorer.ingest, events)
        service.metrics.count_ingested(ingested)
        service.note_events()
        return JsonAnswer({"events": [vars(event) for event in ingested], "identity": scorer.identity})


def _add_next(app: FastAPI, service: Service) -> None:
    async def foresee(scorer: Scorer, user_id: str, num: int) -> Response:
        found = await service.call(scorer.next_transactions, user_id, num)
        if found is None:
            return refusal(404, "unknown_user")
        return JsonAnswer({"next": next_content(found), "identity": scorer.identity})

    answers: dict[int | str, dict[str, Any]] = {200: {"model": NextAnswer}, **refusals(400, 404)}
    default_num = min(10, service.config.max_next)

    @app.get("/next", responses=answers | refusals(401, 422, 500, 503), summary="What a user does next")
    async def get_next(
        request: Request, user_id: Annotated[str, Query()], k: Annotated[int, Query()] = default_num
    ) -> Response:
        scorer, contract = _loaded(service)
        if not _is_utf8(request.scope["query_string"]):
            return refusal(400, "not_utf8")
        return await foresee(scorer, *contract.read_next({"user_id": user_id, "k": k}))

    @app.post("/next", responses=answers | _BODY, summary="The same, with the id in no address")
    async def post_next(request: Request) -> Response:
        scorer, contract = _loaded(service)
        return await foresee(scorer, *await _read(service, request, contract.read_next))


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
        return JsonAnswer({"status": "ready", "identity": _loaded(service)[0].identity})

    @app.get("/metrics", summary="Counters, for Prometheus", include_in_schema=False)
    async def metrics() -> Response:
        return Response(service.metrics.exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _add_description(app: FastAPI, service: Service, *, with_key: bool) -> None:
    document: dict[str, Any] = {}

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> Response:
        _, contract = _loaded(service)
        if not document:
            document.update(describe(app, contract, with_key=with_key))
        return JsonAnswer(document)


def _add_refusals(app: FastAPI) -> None:
    """One form for all. The stock handlers repeat what was sent, and fail on what cannot be written as JSON."""

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        return refusal(422, "invalid", problems=to_refusal(list(error.errors())))

    @app.exception_handler(MalformedJson)
    async def malformed(_: Request, error: MalformedJson) -> Response:
        return refusal(400, error.reason)

    @app.exception_handler(_NotReady)
    async def not_ready(_: Request, __: _NotReady) -> Response:
        return busy("not_ready", app.state.service.config.retry_after_s)

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
