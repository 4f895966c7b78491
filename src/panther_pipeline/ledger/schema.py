"""Which column of a source is what: the `ledger.schema` block of an environment."""

from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator

from panther_pipeline.config import Config

# Columns every event table has, whatever the source (docs/data_contract.md).
ROLE_COLUMNS = (
    "user_id", "event_id", "event_time", "event_seq", "amount_cents", "counterparty", "label", "label_time",
    "source_row",
)  # fmt: skip
RESERVED_COLUMNS = (*ROLE_COLUMNS, "problem", "problem_column", "problem_value", "reason")
_MOST_UNITS = 1e15  # what int64 cents hold with room for sums


class TimeColumn(Config):
    """Where an event's instant stands and how to read it."""

    column: str
    format: str | None = None  # chrono format such as "%Y-%m-%d %H:%M:%S"; null = ISO 8601 or a datetime column
    zone: str  # IANA zone of naive times; stored times are UTC
    earliest: str  # ISO date or date-time in `zone`; an earlier event is quarantined as time travel
    latest: str  # the same; a later event is quarantined. A date means the whole of that day

    @model_validator(mode="after")
    def _check(self) -> "TimeColumn":
        problems = []
        try:
            ZoneInfo(self.zone)
        except (KeyError, ValueError, OSError):  # unknown; a path; a folder of the zone database
            problems.append(f"zone '{self.zone}' is not an IANA time zone such as UTC or Europe/Berlin")
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


class Attribute(Config):
    """A declared property of an event or a user."""

    name: str  # what the column is called from ingestion on
    column: str  # what it is called in the source
    kind: Literal["category", "number"]


class LabelColumn(Config):
    """The event label and when it becomes known (design rule: nothing from the future)."""

    column: str
    positive: list[str]  # source values, as text, that mean 1
    negative: list[str]  # source values, as text, that mean 0; anything else is quarantined
    known_after_days: float = Field(ge=0, le=36500)  # the label of an event is known this long after it

    @model_validator(mode="after")
    def _check(self) -> "LabelColumn":
        both = sorted(set(self.positive) & set(self.negative))
        if both or not self.positive or not self.negative:
            raise ValueError(f"positive and negative must each name a value, and none twice; in both: {both}")
        return self


class LedgerSchema(Config):
    """How a source table becomes the event log. Every key must be stated: a ledger inherits nothing."""

    user_id: str
    event_id: str
    event_time: TimeColumn
    tie_break: list[str]  # source columns that order events of a user at the same instant; numbers sort as numbers
    amount: str | None  # source column, decimal number; kept as int64 minor units (cents)
    amount_range: list[float]  # [lowest, highest] allowed, in major units
    counterparty: str | None
    attributes: list[Attribute]
    label: LabelColumn | None
    forbidden: dict[str, str]  # source column → why it must never be used (for example: it leaks the label)
    profile_user_id: str | None  # user column of the profile table; null = this ledger has none
    profile_attributes: list[Attribute]

    @model_validator(mode="after")
    def _check(self) -> "LedgerSchema":
        problems = [
            *self._column_problems(),
            *_name_problems("attributes", self.attributes, RESERVED_COLUMNS),
        ]
        problems += _name_problems("profile_attributes", self.profile_attributes, ("user_id",))
        if len(set(self.tie_break)) < len(self.tie_break):
            problems.append(f"tie_break {self.tie_break} names a column twice")
        bounds = self.amount_range
        if len(bounds) != 2 or not -_MOST_UNITS <= bounds[0] < bounds[1] <= _MOST_UNITS:
            problems.append(
                f"amount_range must be [lowest, highest] with lowest < highest, both within ±{_MOST_UNITS:.0e}"
            )
        if self.profile_attributes and self.profile_user_id is None:
            problems.append("profile_attributes are declared, but profile_user_id is null")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _column_problems(self) -> list[str]:
        used = {
            "user_id": self.user_id, "event_id": self.event_id, "event_time.column": self.event_time.column,
            "amount": self.amount, "counterparty": self.counterparty,
            **{f"tie_break[{i}]": column for i, column in enumerate(self.tie_break)},
            **{f"attributes.{a.name}": a.column for a in self.attributes},
        }  # fmt: skip
        label = self.label.column if self.label else None
        leaks = [f"{key} uses source column '{c}', which is the label" for key, c in used.items() if c and c == label]
        profile = {f"profile_attributes.{a.name}": a.column for a in self.profile_attributes}
        named = {**used, **profile, "label.column": label, "profile_user_id": self.profile_user_id}
        return leaks + [
            f"{key} uses source column '{column}', which is forbidden: {self.forbidden[column]}"
            for key, column in named.items()
            if column in self.forbidden
        ]


def _name_problems(key: str, attributes: list[Attribute], reserved: tuple[str, ...]) -> list[str]:
    names = [attribute.name for attribute in attributes]
    twice = sorted({name for name in names if names.count(name) > 1})
    taken = sorted({name for name in names if name in reserved or name.startswith(("tie_break_", "_"))})
    return [f"{key}: name '{name}' is declared twice" for name in twice] + [
        f"{key}: name '{name}' is reserved" for name in taken
    ]
