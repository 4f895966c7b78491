"""The fields of a request: what pydantic calls to read each, and what the description of the interface says of it.

A value is refused with a reason code alone.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from panther_pipeline.cards.keys import CardKey
from panther_pipeline.cards.numbers import holds_card_number
from panther_pipeline.online.card_numbers import CardNumbers
from panther_pipeline.online.event_values import (
    AMOUNT,
    LARGEST_NUMBER,
    MAX_CATEGORY_CHARS,
    MAX_ID_CHARS,
    RefusedValueError,
    check_cents,
    check_instant,
    check_number,
    in_units,
    read_amount,
    read_category,
    read_id,
    read_instant,
)
from panther_pipeline.online.schema import AttributeSchema, EventSchema
from panther_pipeline.serving.config import ServingConfig
from panther_pipeline.units import SECOND_US

# What a schema can say of a text that is no id: no control character, no white space around it.
_ID_PATTERN = r"^[^\s\u0000-\u001F\u007F-\u009F]([^\u0000-\u001F\u007F-\u009F]*[^\s\u0000-\u001F\u007F-\u009F])?$"
_TEXT_PATTERN = r"^[^\u0000-\u001F\u007F-\u009F]+$"


class RequestFields:
    """Types for the models of requests, of one ledger and one configuration.

    Args: see `EventContract`.
    """

    def __init__(
        self,
        schema: EventSchema,
        config: ServingConfig,
        now_us: Callable[[], int],
        card_key: CardKey | None,
    ) -> None:
        self._schema, self._config, self._now_us = schema, config, now_us
        self._cards = None if config.allow_card_numbers else CardNumbers(schema, card_key)

    def identifier(self) -> Any:
        """The id of a user, an event or a counterparty."""

        def read(value: Any) -> str:
            text = read_id(value)
            return text if self._cards is None else self._cards.replace_in_id(text)

        return _field(str, read, _describe_text(_ID_PATTERN, MAX_ID_CHARS))

    def attribute(self, attribute: AttributeSchema) -> Any:
        """The value of a declared attribute."""
        if attribute.kind == "category":
            return self._category(attribute.known)
        bounds = {"type": "number", "minimum": -LARGEST_NUMBER, "maximum": LARGEST_NUMBER}
        return _field(float, self._read_number, bounds)

    def amount(self, lowest: int, highest: int) -> Any:
        """Cents from decimal text or a JSON number, exactly.

        Args:
            lowest: cents, inclusive.
            highest: likewise.
        """

        def read(value: Any) -> int:
            cents = read_amount(value, lowest, highest) if isinstance(value, str) else _cents_of(value)
            check_cents(cents, lowest, highest)
            self._refuse_card_number(abs(cents) // 100)
            return cents

        number = {"type": "number", "minimum": lowest / 100, "maximum": highest / 100, "multipleOf": 0.01}
        text = {"type": "string", "pattern": f"^{AMOUNT}$"}
        allowed = f"Decimal text or number, at most 2 decimals, {in_units(lowest)} to {in_units(highest)}."
        return _field(int, read, {"anyOf": [text, number], "description": allowed})

    def instant(self, *, is_event: bool) -> Any:
        """Microseconds UTC of an event, or of when its label became known."""

        def read(value: Any) -> int:
            time_us = read_instant(value)
            if is_event:
                check_instant(time_us, self._schema.earliest_us, self._schema.latest_us)
            ahead_s = self._config.max_future_s
            if ahead_s is not None and time_us > self._now_us() + ahead_s * SECOND_US:
                raise _problem("in_the_future")
            return time_us

        return _field(int, read, {"type": "string", "format": "date-time"})

    def label(self) -> Any:
        """Whether an event was fraud."""
        return Annotated[Literal[0, 1], BeforeValidator(_whole)]

    def num_next(self) -> tuple[Any, Any]:
        """How many transactions are asked for, with the default."""
        most = self._config.max_next
        return Annotated[int, BeforeValidator(_whole)], Field(min(10, most), ge=1, le=most, description="How many.")

    def _category(self, known: Sequence[str]) -> Any:
        def read(value: Any) -> str:
            text = read_category(value)
            return text if self._cards is None else self._cards.replace_in_category(text)

        examples = {"examples": list(known)} if known else {}
        return _field(str, read, _describe_text(_TEXT_PATTERN, MAX_CATEGORY_CHARS) | examples)

    def _read_number(self, value: Any) -> float:
        check_number(value)
        self._refuse_card_number(abs(int(value)))
        return float(value)

    def _refuse_card_number(self, value: int) -> None:
        """No token can stand in place of a number."""
        if self._cards is not None and holds_card_number(str(value)):
            raise _problem("card_number")


def _field(kind: type, read: Callable[[Any], Any], description: dict[str, Any]) -> Any:
    def read_or_refuse(value: Any) -> Any:
        try:
            return read(value)
        except RefusedValueError as refused:
            raise _problem(refused.reason) from None

    return Annotated[kind, PlainValidator(read_or_refuse), WithJsonSchema(description)]


def _describe_text(pattern: str, max_chars: int) -> dict[str, Any]:
    return {"type": "string", "minLength": 1, "maxLength": max_chars, "pattern": pattern}


def _cents_of(value: Any) -> int:
    """Of a JSON number."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise _problem("not_an_amount")
    if isinstance(value, Decimal) and int(value.as_tuple().exponent) < -2:
        raise _problem("more_than_2_decimals")
    return int(value * 100)


def _whole(value: Any) -> int:
    """A JSON integer; 1.0 is one as well, true is not, although Python says True == 1."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or value != int(value):
        raise _problem("not_a_whole_number")
    return int(value)


def _problem(reason: str) -> PydanticCustomError:
    return PydanticCustomError(reason, reason)  # type: ignore[arg-type]
