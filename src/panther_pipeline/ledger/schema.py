"""Which column of a source is what: the `ledger.schema` block of an environment."""

from typing import Literal

from pydantic import Field, model_validator

from panther_pipeline.config import Config

# Columns every event table has, whatever the source (docs/data_contract.md).
ROLE_COLUMNS = (
    "user_id", "event_id", "event_time", "event_seq", "amount_cents", "counterparty", "label", "label_time",
    "source_row",
)  # fmt: skip


class TimeColumn(Config):
    """Where an event's instant stands and how to read it."""

    column: str
    format: str | None = None  # chrono format such as "%Y-%m-%d %H:%M:%S"; null = ISO 8601 or a datetime column
    zone: str  # IANA zone of naive times; stored times are UTC
    earliest: str  # ISO date; an earlier event is quarantined as time travel
    latest: str  # ISO date; a later event is quarantined as time travel


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
    known_after_days: float = Field(ge=0)  # the label of an event is known this long after it


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
        problems = []
        used = {
            "user_id": self.user_id, "event_id": self.event_id, "event_time.column": self.event_time.column,
            "amount": self.amount, "counterparty": self.counterparty,
            **{f"tie_break[{i}]": column for i, column in enumerate(self.tie_break)},
            **{f"attributes.{a.name}": a.column for a in self.attributes},
        }  # fmt: skip
        for key, column in used.items():
            if column in self.forbidden:
                problems.append(f"{key} uses source column '{column}', which is forbidden: {self.forbidden[column]}")
            if self.label and column == self.label.column:
                problems.append(f"{key} uses source column '{column}', which is the label")
        names = [a.name for a in self.attributes]
        problems += [f"attribute name '{name}' is declared twice" for name in sorted({n for n in names if names.count(n) > 1})]
        problems += [f"attribute name '{name}' is reserved" for name in names if name in ROLE_COLUMNS]
        if len(self.amount_range) != 2 or self.amount_range[0] >= self.amount_range[1]:
            problems.append("amount_range must be [lowest, highest] with lowest < highest")
        if problems:
            raise ValueError("; ".join(problems))
        return self
