"""The description of the interface, for the ledger that is served: its attributes, its bounds, valid examples."""

from datetime import datetime
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, Field

from panther_pipeline.online.decision import Decision, ExpectedTransaction, Ingested, NextTransactions
from panther_pipeline.serving.contracts import EventContract

_DEFINITIONS = "#/components/schemas/{model}"


class ScoreAnswer(BaseModel):
    """One score per event, in the order of the request."""

    scores: list[Decision]
    identity: dict[str, str] = Field(description="Digests and versions of what scored.")


class EventsAnswer(BaseModel):
    """What became of each event, in the order of the request."""

    events: list[Ingested]
    identity: dict[str, str]


class NextAnswer(BaseModel):
    """The most probable next transactions of a user."""

    next: NextTransactions
    identity: dict[str, str]


class ShownEvent(BaseModel):
    """An event of the past as the model read it."""

    event_time: datetime
    token: str
    surprise: float = Field(description="Nats, when it happened.")


class Timeline(BaseModel):
    """The newest events of a user, oldest first, and what is expected next."""

    history_length: int
    events: list[ShownEvent]
    expected: list[ExpectedTransaction]


class UserAnswer(BaseModel):
    """What is known of a user."""

    user: Timeline
    identity: dict[str, str]


class UsersAnswer(BaseModel):
    """Some users of whom something is known: those that events came from last, then others."""

    users: list[str]


class HealthAnswer(BaseModel):
    """The process answers."""

    status: str


class ReadyAnswer(BaseModel):
    """loading, ready, stopping or failed; and, when ready, what is served."""

    status: str
    identity: dict[str, str] = Field(default_factory=dict)


class Problem(BaseModel):
    """A place in the schema of a request, and a reason code."""

    where: str
    reason: str


class Refusal(BaseModel):
    """Why a request was not answered. Nothing of the request is repeated."""

    error: str
    problems: list[Problem] = Field(default_factory=list)


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: refusals of these kinds."""
    retry = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}
    return {
        status: {"model": Refusal, "description": _MEANING[status], **({"headers": retry} if status == 503 else {})}
        for status in statuses
    }


_MEANING = {
    400: "The body is not JSON that is accepted.",
    401: "X-API-Key is missing or wrong.",
    403: "Users are listed where serving.show_users says so.",
    404: "Nothing is known of the user.",
    408: "The body came too slowly.",
    413: "The body is too large.",
    415: "The body is not declared as JSON in UTF-8.",
    422: "The body or query does not follow the schema.",
    500: "The service failed.",
    503: "No room, not ready, or the records cannot be reached: try again after Retry-After.",
}


def describe(app: FastAPI, contract: EventContract, *, with_key: bool) -> dict[str, Any]:
    """The OpenAPI document.

    Args:
        app: with its routes.
        contract: of the served ledger.
        with_key: whether callers must show an API key.
    """
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    models = {
        "/score": contract.scored_model,
        "/events": contract.ingested_model,
        "/next": contract.next_model,
        "/user": contract.user_model,
    }
    for path, model in models.items():
        _add_definitions(document, model)
        is_event = path in ("/score", "/events")
        example = contract.example(with_label=path == "/events") if is_event else {"user_id": "user-1"}
        schema: dict[str, Any] = {"$ref": _DEFINITIONS.format(model=model.__name__)}
        examples = {"one": {"value": example}}
        if is_event:
            schema = {"anyOf": [schema, _list_of(schema, contract.max_events)]}
            examples["many"] = {"value": {"events": [example]}}
        document["paths"][path]["post"]["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema, "examples": examples}},
        }
    _describe_query(document, contract)
    if with_key:
        _require_key(document)
    return document


def _add_definitions(document: dict[str, Any], model: type[BaseModel]) -> None:
    schema = model.model_json_schema(ref_template=_DEFINITIONS)
    definitions = document["components"]["schemas"]
    definitions |= schema.pop("$defs", {})
    definitions[model.__name__] = schema


def _list_of(schema: dict[str, Any], max_events: int) -> dict[str, Any]:
    events = {"type": "array", "items": schema, "minItems": 1, "maxItems": max_events}
    return {"type": "object", "properties": {"events": events}, "required": ["events"], "additionalProperties": False}


def _describe_query(document: dict[str, Any], contract: EventContract) -> None:
    fields = contract.next_model.model_json_schema()["properties"]
    for parameter in document["paths"]["/next"]["get"]["parameters"]:
        parameter["schema"] = fields[parameter["name"]]


def _require_key(document: dict[str, Any]) -> None:
    scheme = {"type": "apiKey", "in": "header", "name": "X-API-Key"}
    document["components"]["securitySchemes"] = {"ApiKey": scheme}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if path not in ("/healthz", "/readyz"):
                operation["security"] = [{"ApiKey": []}]
