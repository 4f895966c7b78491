"""What a request may hold, for one ledger: closed, strict, and without a float between an amount and its cents.

The models are built from the schema of the served ledger, so the documentation of the interface names its attributes
and an unknown one is refused. Errors carry a place in our schema and a reason code; what was sent is never repeated.
"""

import time
from collections.abc import Callable
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic import create_model as create

from panther_pipeline.cards.keys import CardKey
from panther_pipeline.features.event import OnlineEvent as Event
from panther_pipeline.ledger.texts import MISSING_CATEGORY
from panther_pipeline.online.as_sent import example_event
from panther_pipeline.online.schema import AttributeSchema, EventSchema
from panther_pipeline.serving.config import ServingConfig
from panther_pipeline.serving.fields import RequestFields


class _Closed(BaseModel):
    """Strict types, no unknown keys."""

    model_config = ConfigDict(strict=True, extra="forbid")


class _Labelled(_Closed):
    """A label counts from the instant at which it became known, so both are present or neither."""

    model_config = ConfigDict(
        json_schema_extra={"dependentRequired": {"label": ["label_time"], "label_time": ["label"]}}
    )


class EventContract:
    """Reads requests for one ledger and one configuration.

    Args:
        schema: of the served ledger.
        config: limits of the service.
        now_us: the clock, microseconds UTC; events far ahead of it are refused.
        card_key: with the key that the ledger's ids were made with, card numbers in ids become tokens, as in ingestion.
            Without a key, or with another, they are refused. In categories they are masked where ingestion masks them.
    """

    def __init__(
        self,
        schema: EventSchema,
        config: ServingConfig,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
        card_key: CardKey | None = None,
    ) -> None:
        self._schema, self._config, self._now_us = schema, config, now_us
        self._fields = RequestFields(schema, config, now_us, card_key)
        fields, identifier = self._event_fields(), self._fields.identifier()
        self.scored_model = create("EventToScore", __base__=_Closed, **fields)
        labelled = _Labelled if schema.has_labels else _Closed
        self.ingested_model = create("EventToIngest", __base__=labelled, **fields, **self._label_fields())
        self.user_model = create("UserToShow", __base__=_Closed, user_id=(identifier, ...))
        self.next_model = create(
            "UserToForesee", __base__=_Closed, user_id=(identifier, ...), k=self._fields.num_next()
        )

    @property
    def max_events(self) -> int:
        """Most events of one request."""
        return self._config.max_events

    def read_scored(self, body: Any) -> list[Event]:
        """Events of a request for scores: the body is one event, or {"events": [...]}.

        Raises:
            RequestValidationError: with the place and the reason of each problem.
        """
        return self._read_events(body, self.scored_model)

    def read_ingested(self, body: Any) -> list[Event]:
        """Events that happened, with labels where they are known.

        Raises:
            RequestValidationError: as `read_scored`.
        """
        return self._read_events(body, self.ingested_model)

    def read_next(self, body: Any) -> tuple[str, int]:
        """User and number of transactions asked for.

        Raises:
            RequestValidationError: as `read_scored`.
        """
        asked = _validate(self.next_model, body, ())
        return asked.user_id, asked.k

    def read_user(self, body: Any) -> str:
        """User asked for.

        Raises:
            RequestValidationError: as `read_scored`.
        """
        return _validate(self.user_model, body, ()).user_id

    def example(self, *, with_label: bool = False) -> dict[str, Any]:
        """An event that this contract accepts."""
        schema = self._schema
        event = example_event(schema, max(schema.earliest_us, min(schema.latest_us, self._now_us())))
        return event | ({"label": 0, "label_time": event["event_time"]} if with_label and schema.has_labels else {})

    def _read_events(self, body: Any, model: type[BaseModel]) -> list[Event]:
        is_many = isinstance(body, dict) and "events" in body
        if not is_many:
            return [self._to_event(_validate(model, body, ()))]
        if len(body) > 1:
            raise _refusal((), "extra_forbidden")
        events = body["events"]
        if not isinstance(events, list):
            raise _refusal(("events",), "list_type")
        if not events:
            raise _refusal(("events",), "too_short")
        if len(events) > self._config.max_events:
            raise _refusal(("events",), "too_long")
        return [self._to_event(_validate(model, event, ("events", i))) for i, event in enumerate(events)]

    def _to_event(self, sent: BaseModel) -> Event:
        attributes = getattr(sent, "attributes", None)
        return Event(
            user_id=sent.user_id,
            event_id=sent.event_id,
            time_us=sent.event_time,
            amount_cents=getattr(sent, "amount", None),
            counterparty=getattr(sent, "counterparty", None),
            attributes={a.name: _value_of(attributes, i, a) for i, a in enumerate(self._schema.attributes)},
            label=getattr(sent, "label", None),
            label_time_us=getattr(sent, "label_time", None),
        )

    def _event_fields(self) -> dict[str, Any]:
        schema, identifier = self._schema, self._fields.identifier()
        instant = self._fields.instant(is_event=True)
        fields: dict[str, Any] = {
            "user_id": (identifier, Field(description="As in the ledger.")),
            "event_id": (identifier, Field(description="As in the ledger; the same id twice is the same event.")),
            "event_time": (instant, Field(description="ISO 8601 with seconds and an offset.")),
        }
        if schema.amount_range_cents is not None:
            amount = self._fields.amount(*schema.amount_range_cents)
            fields["amount"] = _optional(amount, required=schema.amount_required)
        if schema.has_counterparty:
            fields["counterparty"] = _optional(identifier, required=schema.counterparty_required)
        if schema.attributes:
            fields["attributes"] = self._attributes_field()
        return fields

    def _attributes_field(self) -> Any:
        """A model of its own; its fields have neutral names, since an attribute may be called 'copy' or 'class'."""
        inner: dict[str, Any] = {}
        for i, attribute in enumerate(self._schema.attributes):
            kind, default = _optional(self._fields.attribute(attribute), required=attribute.required)
            inner[f"value_{i}"] = (kind, Field(default, alias=attribute.name))
        model = create("Attributes", __base__=_Closed, **inner)
        required = any(attribute.required for attribute in self._schema.attributes)
        return (model, ...) if required else (model, Field(default_factory=model))

    def _label_fields(self) -> dict[str, Any]:
        if not self._schema.has_labels:
            return {}
        return {"label": (self._fields.label(), None), "label_time": (self._fields.instant(is_event=False), None)}


def _value_of(attributes: BaseModel | None, position: int, attribute: AttributeSchema) -> str | float | None:
    """A value as the ledger has it: an empty category is a category of its own, an empty number is none."""
    value = getattr(attributes, f"value_{position}", None)
    return MISSING_CATEGORY if value is None and attribute.kind == "category" else value


def to_refusal(problems: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Place and reason of problems as pydantic reports them; of what was sent, nothing.

    An unknown key is named by where it stands, since the key itself is what was sent.
    """
    return [
        {"where": ".".join(map(str, _place(problem))) or "body", "reason": str(problem["type"])} for problem in problems
    ]


def _place(problem: dict[str, Any]) -> tuple[Any, ...]:
    place = tuple(problem["loc"])
    return place[:-1] if problem["type"] == "extra_forbidden" else place


def _validate(model: type[BaseModel], body: Any, where: tuple[Any, ...]) -> Any:
    if not isinstance(body, dict):
        raise _refusal(where, "not_an_object")
    try:
        sent = model.model_validate(body)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        raise RequestValidationError([{**problem, "loc": where + problem["loc"]} for problem in problems]) from None
    if ("label" in body) != ("label_time" in body):
        raise _refusal((*where, "label_time" if "label" in body else "label"), "only_with_the_other")
    return sent


def _refusal(where: tuple[Any, ...], reason: str) -> RequestValidationError:
    return RequestValidationError([{"loc": where, "type": reason, "msg": ""}])


def _optional(kind: Any, *, required: bool) -> Any:
    return (kind, ...) if required else (kind | None, None)
