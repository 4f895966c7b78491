"""What a request may hold, for one ledger: closed, strict, and without a float between an amount and its cents.

The models are built from the schema of the served ledger, so the documentation of the interface names its attributes
and an unknown one is refused. Errors carry a place in our schema and a reason code; what was sent is never repeated.
"""

import re
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, ValidationError, WithJsonSchema
from pydantic import create_model as create
from pydantic_core import PydanticCustomError

from panther_pipeline.cards.keys import CardKey
from panther_pipeline.cards.numbers import holds_card_number, mask_card_numbers
from panther_pipeline.features.event import OnlineEvent as Event
from panther_pipeline.ledger.texts import MISSING_CATEGORY, SCIENTIFIC_ID
from panther_pipeline.online.schema import AttributeSchema, EventSchema
from panther_pipeline.serving.config import ServingConfig

MAX_ID_CHARS = 128
MAX_CATEGORY_CHARS = 256
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_ROUNDED = re.compile(SCIENTIFIC_ID)
_AMOUNT = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,2})?")
_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LARGEST_NUMBER = 10**18

# What a schema can say of a text that is no id: no control character, no white space around it.
_ID_PATTERN = r"^[^\s\u0000-\u001F\u007F-\u009F]([^\u0000-\u001F\u007F-\u009F]*[^\s\u0000-\u001F\u007F-\u009F])?$"
_TEXT_PATTERN = r"^[^\u0000-\u001F\u007F-\u009F]+$"
_AMOUNT_PATTERN = r"^-?[0-9]{1,15}(\.[0-9]{1,2})?$"


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
        self._card_key = card_key if card_key is not None and card_key.id == schema.card_key_id else None
        fields = self._event_fields()
        self.scored_model = create("EventToScore", __base__=_Closed, **fields)
        self.ingested_model = create("EventToIngest", __base__=_Closed, **fields, **self._label_fields())
        self.user_model = create("UserToShow", __base__=_Closed, user_id=(self._identifier(), ...))
        self.next_model = create(
            "UserToForesee", __base__=_Closed, user_id=(self._identifier(), ...), k=self._k_field()
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
        latest_us = min(schema.latest_us, self._now_us())
        instant = (_EPOCH + timedelta(microseconds=max(schema.earliest_us, latest_us))).replace(microsecond=0)
        event: dict[str, Any] = {"user_id": "user-1", "event_id": "event-1", "event_time": instant.isoformat()}
        if schema.amount_range_cents is not None:
            lowest, highest = schema.amount_range_cents
            event["amount"] = _in_units(min(max(1250, lowest), highest))
        if schema.has_counterparty:
            event["counterparty"] = "shop-1"
        if schema.attributes:
            event["attributes"] = {attribute.name: attribute.example for attribute in schema.attributes}
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
        schema = self._schema
        identifier = self._identifier()
        fields: dict[str, Any] = {
            "user_id": (identifier, Field(description="As in the ledger.")),
            "event_id": (identifier, Field(description="As in the ledger; the same id twice is the same event.")),
            "event_time": (self._instant(is_event=True), Field(description="ISO 8601 with seconds and an offset.")),
        }
        if schema.amount_range_cents is not None:
            amount = _optional(self._amount(*schema.amount_range_cents), required=schema.amount_required)
            fields["amount"] = amount
        if schema.has_counterparty:
            fields["counterparty"] = _optional(identifier, required=schema.counterparty_required)
        if schema.attributes:
            fields["attributes"] = self._attributes_field()
        return fields

    def _attributes_field(self) -> Any:
        """A model of its own; its fields have neutral names, since an attribute may be called 'copy' or 'class'."""
        inner: dict[str, Any] = {}
        for i, attribute in enumerate(self._schema.attributes):
            kind, default = _optional(self._value(attribute), required=attribute.required)
            inner[f"value_{i}"] = (kind, Field(default, alias=attribute.name))
        model = create("Attributes", __base__=_Closed, **inner)
        required = any(attribute.required for attribute in self._schema.attributes)
        return (model, ...) if required else (model, Field(default_factory=model))

    def _label_fields(self) -> dict[str, Any]:
        if not self._schema.has_labels:
            return {}
        label = Annotated[Literal[0, 1], BeforeValidator(_whole)]
        return {"label": (label, None), "label_time": (self._instant(is_event=False), None)}

    def _k_field(self) -> Any:
        most = self._config.max_next
        return (Annotated[int, BeforeValidator(_whole)], Field(min(10, most), ge=1, le=most, description="How many."))

    def _identifier(self) -> Any:
        return self._text(_ID_PATTERN, MAX_ID_CHARS, is_id=True)

    def _value(self, attribute: AttributeSchema) -> Any:
        if attribute.kind == "category":
            return self._text(_TEXT_PATTERN, MAX_CATEGORY_CHARS, is_id=False, examples=attribute.known)
        bounds = {"type": "number", "minimum": -_LARGEST_NUMBER, "maximum": _LARGEST_NUMBER}
        return Annotated[float, PlainValidator(self._read_number), WithJsonSchema(bounds)]

    def _text(self, pattern: str, max_chars: int, *, is_id: bool, examples: Sequence[str] = ()) -> Any:
        def read(value: Any) -> str:
            if not isinstance(value, str):
                raise _problem("not_text")
            if not 1 <= len(value) <= max_chars:
                raise _problem("wrong_length")
            if _CONTROL.search(value):
                raise _problem("control_character")
            if is_id and (value != value.strip() or _ROUNDED.fullmatch(value)):
                raise _problem("malformed_id")
            return self._without_card_numbers(value, is_id=is_id)

        text: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": max_chars, "pattern": pattern}
        text |= {"examples": list(examples)} if examples else {}
        return Annotated[str, PlainValidator(read), WithJsonSchema(text)]

    def _without_card_numbers(self, text: str, *, is_id: bool) -> str:
        if self._config.allow_card_numbers or not holds_card_number(text):
            return text
        if not is_id and self._schema.masks_card_numbers:
            return mask_card_numbers(text)
        if not is_id or self._card_key is None:
            raise _problem("card_number")
        return self._card_key.tokenize(text)

    def _is_card_number(self, value: int | Decimal) -> bool:
        return not self._config.allow_card_numbers and holds_card_number(str(abs(int(value))))

    def _read_number(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            raise _problem("not_a_number")
        if abs(value) > _LARGEST_NUMBER:
            raise _problem("out_of_range")
        if self._is_card_number(value):
            raise _problem("card_number")
        return float(value)

    def _amount(self, lowest: int, highest: int) -> Any:
        def read(value: Any) -> int:
            cents = _read_cents(value)
            if not lowest <= cents <= highest:
                raise _problem("out_of_range")
            if self._is_card_number(abs(cents) // 100):
                raise _problem("card_number")
            return cents

        number = {"type": "number", "minimum": lowest / 100, "maximum": highest / 100, "multipleOf": 0.01}
        text = {"type": "string", "pattern": _AMOUNT_PATTERN}
        note = {
            "description": f"Decimal text or number, at most 2 decimals, {_in_units(lowest)} to {_in_units(highest)}."
        }
        return Annotated[int, PlainValidator(read), WithJsonSchema({"anyOf": [text, number], **note})]

    def _instant(self, *, is_event: bool) -> Any:
        def read(value: Any) -> int:
            time_us = _read_instant(value)
            if is_event and not self._schema.earliest_us <= time_us <= self._schema.latest_us:
                raise _problem("out_of_range")
            ahead_s = self._config.max_future_s
            if ahead_s is not None and time_us > self._now_us() + ahead_s * 1_000_000:
                raise _problem("in_the_future")
            return time_us

        return Annotated[int, PlainValidator(read), WithJsonSchema({"type": "string", "format": "date-time"})]


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


def _problem(reason: str) -> PydanticCustomError:
    return PydanticCustomError(reason, reason)  # type: ignore[arg-type]


def _optional(kind: Any, *, required: bool) -> Any:
    return (kind, ...) if required else (kind | None, None)


def _whole(value: Any) -> int:
    """A JSON integer; 1.0 is one as well, true is not, although Python says True == 1."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or value != int(value):
        raise _problem("not_a_whole_number")
    return int(value)


def _read_cents(value: Any) -> int:
    """Cents of a decimal text or a JSON number, exactly."""
    if isinstance(value, str):
        if not _AMOUNT.fullmatch(value):
            raise _problem("not_an_amount")
        value = Decimal(value)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise _problem("not_an_amount")
    if isinstance(value, Decimal) and int(value.as_tuple().exponent) < -2:
        raise _problem("more_than_2_decimals")
    return int(value * 100)


def _read_instant(value: Any) -> int:
    """Microseconds UTC of an instant with an offset."""
    if not isinstance(value, str) or not _INSTANT.fullmatch(value):
        raise _problem("not_an_instant_with_offset")
    try:
        instant = datetime.fromisoformat(value.upper())
    except ValueError:
        raise _problem("no_such_instant") from None
    return (instant - _EPOCH) // timedelta(microseconds=1)


def _in_units(cents: int) -> str:
    sign = "-" if cents < 0 else ""
    return f"{sign}{abs(cents) // 100}.{abs(cents) % 100:02d}"
