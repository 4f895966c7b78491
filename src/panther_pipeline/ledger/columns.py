"""Which source column is what, one class per role: the vocabulary of the `ledger.schema` block.

A plain name is enough where a column needs no more said: `user_id: CUSTOMER_ID`. Where it does, the same key takes a
block, and a list of columns stands for their texts joined.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import polars as pl
from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from panther_pipeline.config import Config

ID_SEPARATOR = "-"  # between the parts of an id that is several columns
TIME_SEPARATOR = " "  # between the parts of a time that is several columns
ROW_COLUMN = "(row)"  # stands for the number of a row in its table, from 0, where that is the key
_ORDER_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class IdColumn(Config):
    """An identifier: exact text, or the texts of several columns joined by '-', a '-' of their own written '\\-'."""

    columns: list[str] = Field(min_length=1)
    written_as: Literal["text", "float"] = "text"  # float: 17850.0 is read as 17850, up to 15 digits
    missing: list[str] = Field(default_factory=list)  # texts that mean no id here, such as 0; beside the schema's own


class TimeColumn(Config):
    """Where an event's instant stands and how to read it."""

    columns: list[str] = Field(min_length=1)  # several: joined by a blank, as in [Year, Month, Day, Time]
    # chrono format such as "%Y-%m-%d %H:%M:%S"; null = ISO 8601 or a datetime column. For whole numbers counted from
    # 1970-01-01 UTC: epoch_s, epoch_ms, epoch_us (seconds, milli-, microseconds), epoch_h, epoch_d (hours, days)
    format: str | None = None
    zone: str  # IANA zone of naive times; stored times are UTC
    earliest: str  # ISO date or date-time in `zone`; an earlier event is quarantined as time travel
    latest: str  # the same; a later event is quarantined. A date means the whole of that day

    @model_validator(mode="before")
    @classmethod
    def _take_column(cls, values: Any) -> Any:
        return _column_as_list(values)

    @model_validator(mode="after")
    def _check(self) -> "TimeColumn":
        problems = []
        try:
            ZoneInfo(self.zone)
        except (KeyError, ValueError, OSError):  # unknown; a path; a folder of the zone database
            problems.append(f"zone '{self.zone}' is not an IANA time zone such as UTC or Europe/Berlin")
        try:
            if self.format:
                pl.Series([""]).str.to_datetime(self.format, strict=False)
        except pl.exceptions.PolarsError as error:
            problems.append(f"format '{self.format}' cannot be read: {_first_of(error)}")
        for key in ("earliest", "latest"):
            try:
                datetime.fromisoformat(getattr(self, key))
            except ValueError:
                problems.append(f"{key} '{getattr(self, key)}' is not an ISO date such as 2024-01-31")
        if not problems and self.earliest_instant >= self.end_instant:
            problems.append(f"earliest '{self.earliest}' must lie before latest '{self.latest}'")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def earliest_instant(self) -> datetime:
        """The first instant allowed, UTC."""
        return self._to_utc(datetime.fromisoformat(self.earliest))

    @property
    def end_instant(self) -> datetime:
        """The first instant after `latest`, UTC: exclusive."""
        latest = datetime.fromisoformat(self.latest)
        is_date = len(self.latest) <= len("2024-01-31")
        return self._to_utc(latest + (timedelta(days=1) if is_date else timedelta(microseconds=1)))

    def _to_utc(self, instant: datetime) -> datetime:
        local = instant if instant.tzinfo else instant.replace(tzinfo=ZoneInfo(self.zone))
        return local.astimezone(UTC)


class OrderColumn(Config):
    """A ledger that knows the order of a user's events but not their times.

    The event numbered n gets the instant 1970-01-01 + n seconds: a clock for sorting, without meaning beyond.
    """

    order: str  # column of whole numbers, 0 or more, that orders the events of a user

    @property
    def columns(self) -> list[str]:
        return [self.order]

    @property
    def earliest_instant(self) -> datetime:
        return _ORDER_EPOCH

    @property
    def end_instant(self) -> datetime:
        return _ORDER_EPOCH + timedelta(days=36500)


class SignColumn(Config):
    """A column that says whether money came or went, where the amount itself does not."""

    column: str
    negative: list[str] = Field(min_length=1)  # values of money that leaves the account
    positive: list[str] = Field(min_length=1)  # values of money that comes in; any other value is quarantined

    @model_validator(mode="after")
    def _check(self) -> "SignColumn":
        return _check_values(self)


class CurrencyColumn(Config):
    """A column that names the currency of the amount; sums over several currencies would mean nothing."""

    column: str
    only: str  # the currency of this ledger; a row in another one is quarantined


class AmountColumn(Config):
    """A decimal number, kept as integer cents."""

    column: str
    prefix: str = ""  # taken off the text, also behind a minus sign: '$' reads $-99.00 and -$99.00
    decimal: Literal[".", ","] = "."
    thousands: Literal["", ",", ".", " ", "'"] = ""  # taken out only where it groups three digits
    times: str | None = None  # column of whole numbers the amount is multiplied with: price times quantity
    sign: SignColumn | None = None
    currency: CurrencyColumn | None = None

    @model_validator(mode="after")
    def _check(self) -> "AmountColumn":
        if self.decimal == self.thousands:
            raise ValueError(f"decimal and thousands are both '{self.decimal}'")
        return self

    @property
    def columns(self) -> list[str]:
        """Every source column that is read, the amount's own first."""
        more = [self.times, self.sign and self.sign.column, self.currency and self.currency.column]
        return [self.column, *filter(None, more)]


class Attribute(Config):
    """A declared property of an event or a user."""

    name: str  # what the column is called from ingestion on
    column: str  # what it is called in the source
    kind: Literal["category", "number"]
    extract: str | None = None  # regular expression with one group: the part of the text that counts; else missing
    map: dict[str, str] | None = None  # category: source value → what it is called; any other value stays as it is
    prefix: str = ""  # number: taken off the text, as in $59696

    @model_validator(mode="after")
    def _check(self) -> "Attribute":
        problems = []
        if self.extract is not None:
            try:
                groups = re.compile(self.extract).groups
                pl.Series([""]).str.extract(self.extract)  # knows no look-around
            except (re.error, pl.exceptions.ComputeError) as error:
                problems.append(f"extract '{self.extract}' is no regular expression: {_first_of(error)}")
            else:
                if groups != 1:
                    problems.append(f"extract '{self.extract}' has {groups} groups; one is needed")
        if self.map is not None and self.kind != "category":
            problems.append("map is only for kind: category")
        if self.prefix and self.kind != "number":
            problems.append("prefix is only for kind: number")
        if problems:
            raise ValueError(f"attribute '{self.name}': " + "; ".join(problems))
        return self


class LabelColumn(Config):
    """The event label and when it becomes known (design rule: nothing from the future)."""

    column: str
    positive: list[str]  # source values, as text, that mean 1
    negative: list[str]  # source values, as text, that mean 0; anything else is quarantined
    known_after_days: float = Field(ge=0, le=36500)  # the label of an event is known this long after it

    @model_validator(mode="after")
    def _check(self) -> "LabelColumn":
        return _check_values(self)


class UserLabelColumns(Config):
    """A label of a user as of a date, such as a loan that was not paid back."""

    user_id: Annotated["IdColumn", BeforeValidator(lambda value: as_id(value))]
    as_of: TimeColumn  # nothing at or after this instant may be used to predict the label
    column: str
    positive: list[str]  # source values, as text, that mean 1
    negative: list[str]  # source values, as text, that mean 0

    @model_validator(mode="after")
    def _check(self) -> "UserLabelColumns":
        return _check_values(self)


class Join(Config):
    """A further table, looked up by a key; its columns are called `<table>.<column>` from here on."""

    table: str  # as the catalog entry calls it
    # Column of what is there so far → the column of `table` that must equal it; (row) = its row number from 0.
    match: dict[str, str] = Field(min_length=1)
    where: dict[str, list[str]] = Field(default_factory=dict)  # column of `table` → values; other rows are left out

    @property
    def columns(self) -> list[str]:
        """The columns of what is there so far."""
        return list(self.match)

    @property
    def keys(self) -> list[str]:
        """The columns of `table` they must equal, in the same order."""
        return list(self.match.values())


def column_keys(key: str, columns: list[str]) -> dict[str, str]:
    """Configuration key → column, of a role that is one column or several."""
    return {key if len(columns) == 1 else f"{key}[{i}]": column for i, column in enumerate(columns)}


def as_id(value: Any) -> Any:
    """`user_id: A` and `user_id: [A, B]` for `user_id: {columns: [...]}`."""
    if isinstance(value, str):
        return {"columns": [value]}
    if isinstance(value, list):
        return {"columns": value}
    return value


def as_amount(value: Any) -> Any:
    """`amount: A` for `amount: {column: A}`."""
    return {"column": value} if isinstance(value, str) else value


Id = Annotated[IdColumn, BeforeValidator(as_id)]
Amount = Annotated[AmountColumn, BeforeValidator(as_amount)]
EventTime = Annotated[
    Annotated[TimeColumn, Tag("time")] | Annotated[OrderColumn, Tag("order")],
    Discriminator(lambda value: "order" if "order" in _keys(value) else "time"),
]


def _keys(value: Any) -> Any:
    return value if isinstance(value, dict) else type(value).model_fields


def _column_as_list(values: Any) -> Any:
    if isinstance(values, dict) and "column" in values and "columns" not in values:
        column = values["column"]
        rest = {key: value for key, value in values.items() if key != "column"}
        return {**rest, "columns": column if isinstance(column, list) else [column]}
    return values


def _first_of(error: Exception) -> str:
    """What an error says, without the drawings before and the advice after."""
    return str(error).split("\n\n")[0].splitlines()[-1]


def _check_values(config: Any) -> Any:
    both = sorted(set(config.positive) & set(config.negative))
    if both or not config.positive or not config.negative:
        raise ValueError(f"positive and negative must each name a value, and none twice; in both: {both}")
    return config
