"""Which column of a source is what: the `ledger.schema` block of an environment."""

from typing import Literal

from pydantic import Field, model_validator

from panther_pipeline.config import Config
from panther_pipeline.ledger.columns import (
    Amount,
    Attribute,
    EventTime,
    Id,
    Join,
    LabelColumn,
    OrderColumn,
    UserLabelColumns,
    column_keys,
)

# Columns every event table has, whatever the source (docs/data_contract.md).
ROLE_COLUMNS = (
    "user_id", "event_id", "event_time", "event_seq", "amount_cents", "counterparty", "label", "label_time",
    "source_row",
)  # fmt: skip
RESERVED_COLUMNS = (*ROLE_COLUMNS, "problem", "problem_column", "problem_value", "reason", "original_line")
_MOST_UNITS = 1e15  # what int64 cents hold with room for sums


class ProfileColumns(Config):
    """The profile table: one row per user."""

    user_id: Id
    attributes: list[Attribute]
    table: str | None = None  # which table of raw_profiles comes first, where there are several
    joins: list[Join] = Field(default_factory=list)  # the others


class LedgerSchema(Config):
    """How source tables become the event log. Every key must be stated: a ledger inherits nothing."""

    user_id: Id
    event_id: Id | None  # null = the source has none: a row is known by its number
    event_time: EventTime
    tie_break: list[str]  # source columns that order events of a user at the same instant; numbers sort as numbers
    amount: Amount | None  # kept as int64 minor units (cents)
    amount_range: list[float] | None  # [lowest, highest] allowed, in major units; null without an amount
    counterparty: Id | None
    attributes: list[Attribute]
    label: LabelColumn | None
    forbidden: dict[str, str]  # source column → why it must never be used (for example: it leaks the label)
    # tokenize: a card number in an id becomes a keyed token, one in other text a mask; allow: ids only look like them
    card_numbers: Literal["tokenize", "allow"] = "tokenize"
    missing: list[str] = Field(default_factory=list)  # texts that mean an empty cell, beside "" and blanks
    header: list[str] | None = None  # all columns the source must have, in any order; null = those named here
    table: str | None = None  # which table of raw_transactions comes first, where there are several
    joins: list[Join] = Field(default_factory=list)  # tables looked up for every event
    profiles: ProfileColumns | None
    user_labels: UserLabelColumns | None

    @model_validator(mode="after")
    def _check(self) -> "LedgerSchema":
        problems = [
            *self._leaks(),
            *self._uses_of_forbidden(),
            *_name_problems("attributes", self.attributes, RESERVED_COLUMNS),
        ]
        if self.profiles:
            problems += _name_problems("profiles.attributes", self.profiles.attributes, ("user_id",))
        of_profiles = self.profiles.joins if self.profiles else []
        for where, joins in {"joins": self.joins, "profiles.joins": of_profiles}.items():
            tables = [join.table for join in joins]
            problems += [f"{where}: table '{t}' is joined twice" for t in sorted(set(tables)) if tables.count(t) > 1]
        if len(set(self.tie_break)) < len(self.tie_break):
            problems.append(f"tie_break {self.tie_break} names a column twice")
        if self.user_labels and not self.is_timed:
            problems.append("user_labels are as of a date, but event_time is an order: nothing says what came before")
        problems += self._range_problems()
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def is_timed(self) -> bool:
        """Whether events have instants; else only their order is known."""
        return not isinstance(self.event_time, OrderColumn)

    def event_keys(self) -> dict[str, str]:
        """Configuration key below ledger.schema → source column, of everything read of an event but its label."""
        ids = {"user_id": self.user_id, "event_id": self.event_id, "counterparty": self.counterparty}
        keys: dict[str, str] = {}
        for name, id_ in ids.items():
            keys |= column_keys(name, id_.columns) if id_ else {}
        time = "event_time.order" if isinstance(self.event_time, OrderColumn) else "event_time.column"
        keys |= column_keys(time, self.event_time.columns)
        if self.amount:
            sign, currency = self.amount.sign, self.amount.currency
            keys["amount"] = self.amount.column
            keys |= {"amount.times": self.amount.times} if self.amount.times else {}
            keys |= {"amount.sign.column": sign.column} if sign else {}
            keys |= {"amount.currency.column": currency.column} if currency else {}
        keys |= {f"tie_break[{i}]": column for i, column in enumerate(self.tie_break)}
        for join in self.joins:
            keys |= column_keys(f"joins[{join.table}].match", join.columns)
        return keys | {f"attributes.{a.name}": a.column for a in self.attributes}

    @property
    def range_cents(self) -> tuple[int, int]:
        """Lowest and highest amount allowed; only where the ledger has amounts."""
        lowest, highest = (round(bound * 100) for bound in self.amount_range or ())
        return lowest, highest

    def _range_problems(self) -> list[str]:
        bounds = self.amount_range
        if (bounds is None) != (self.amount is None):
            return ["amount and amount_range must both be stated, or both be null"]
        if bounds is not None and (len(bounds) != 2 or not -_MOST_UNITS <= bounds[0] < bounds[1] <= _MOST_UNITS):
            return [f"amount_range must be [lowest, highest] with lowest < highest, both within ±{_MOST_UNITS:.0e}"]
        return []

    def _leaks(self) -> list[str]:
        label = self.label.column if self.label else None
        keys = [key for key, column in self.event_keys().items() if column == label]
        return [f"{key} uses source column '{label}', which is the label" for key in keys]

    def _uses_of_forbidden(self) -> list[str]:
        named = self.event_keys() | ({"label.column": self.label.column} if self.label else {})
        if self.profiles:
            named |= column_keys("profiles.user_id", self.profiles.user_id.columns)
            named |= {f"profiles.attributes.{a.name}": a.column for a in self.profiles.attributes}
        return [
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
