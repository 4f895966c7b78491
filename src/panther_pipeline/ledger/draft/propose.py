"""A whole description of a ledger from a sample of it."""

from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl
from pydantic import ValidationError

from panther_pipeline.cards.columns import holds_card_numbers
from panther_pipeline.cards.keys import KEY_VARIABLE
from panther_pipeline.errors import SourceError
from panther_pipeline.ledger.cells import take_cells, text_of
from panther_pipeline.ledger.columns import ID_SEPARATOR, OrderColumn, TimeColumn
from panther_pipeline.ledger.draft.attributes import choose_attributes
from panther_pipeline.ledger.draft.choice import Choice, Profiles
from panther_pipeline.ledger.draft.money import choose_amount, choose_range
from panther_pipeline.ledger.draft.profile import profile_columns
from panther_pipeline.ledger.draft.roles import (
    choose_counterparty,
    choose_event_id,
    choose_label,
    choose_user,
    find_forbidden,
)
from panther_pipeline.ledger.draft.sample import Sample
from panther_pipeline.ledger.draft.times import parse
from panther_pipeline.ledger.draft.tokens import choose_fields
from panther_pipeline.ledger.draft.users import choose_profiles
from panther_pipeline.ledger.draft.when import choose_order, choose_splits, choose_time, has_clock, leave_last_out
from panther_pipeline.ledger.mapping import map_events
from panther_pipeline.ledger.schema import LedgerSchema
from panther_pipeline.ledger.values import read_order

_USUAL_GATE = 0.05  # validation.gate.max_quarantined_share of base
_ALMOST = 0.999


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A choice for each key of the schema, the splits, the token, and how much of the sample they can read."""

    schema: dict[str, Choice]
    splits: Choice
    fields: Choice
    is_order: bool
    share_readable: float | None = None  # of the sampled rows, tried; null = it could not be tried
    faults: dict[str, float] = field(default_factory=dict)  # reason → share of rows

    @property
    def gate(self) -> float | None:
        """The share of quarantined rows to allow, where the usual one would stop the run."""
        if self.share_readable is None or 1 - self.share_readable <= 0.8 * _USUAL_GATE:
            return None
        return round(min(1.0, (1 - self.share_readable) * 1.2 + 0.01), 2)

    def schema_values(self) -> dict[str, Any]:
        values = {key: choice.value for key, choice in self.schema.items()}
        values["attributes"] = [attribute for attribute, _ in values["attributes"]]
        if values["profiles"]:
            attributes = [attribute for attribute, _ in values["profiles"]["attributes"]]
            values["profiles"] = {**values["profiles"], "attributes": attributes}
        return values


def propose(events: Sample, users: Sample | None) -> Proposal:
    """Roles, splits and tokens for a ledger, tried on the sample."""
    rows, profiles = events.rows, profile_columns(events.rows)
    time = choose_time(rows, profiles, is_spread=events.is_spread)
    left = _without(profiles, _columns(time.value))
    user = choose_user(left)
    user_columns = _columns(user.value)
    if time.is_placeholder and not user.is_placeholder:
        ids = take_cells(rows, user_columns, separator=ID_SEPARATOR)
        time = choose_order(rows, profiles, ids) or time
        left = _without(left, _columns(time.value))
    left = _without(left, user_columns)
    label = choose_label(left)
    left = _without(left, _columns(label.value))
    forbidden = find_forbidden(rows, left, label)
    left = _without(left, list(forbidden.value))
    event_id = choose_event_id(left, user)
    left = _without(left, _columns(event_id.value))
    amount = choose_amount(left)
    left = _without(left, _columns(amount.value))
    counterparty = choose_counterparty(left)
    times = _times(rows, time)
    used = _roles(time=time, user_id=user, event_id=event_id, amount=amount, counterparty=counterparty, label=label)
    used |= dict.fromkeys(forbidden.value, "forbidden")
    used |= {name: "repeats the time" for name in left if _repeats(rows[name], times)}
    sign = amount.value.get("sign", {}).get("column") if isinstance(amount.value, dict) else None
    used.pop(sign, None)  # what a sign column says of the kind of payment is worth keeping
    attributes = choose_attributes(profiles, used)
    order = _tie_break(rows, user_columns, event_id, times, time)
    steady = _steady(rows, user_columns, [a for a, _ in attributes.value])
    if steady:
        note = f"the same in all events of a user, so not in the token: {', '.join(steady)}"
        attributes = replace(attributes, seen=[*attributes.seen, note])
    ids = {"user_id": user, "event_id": event_id, "counterparty": counterparty}
    schema = {
        "user_id": user, "event_id": event_id, "event_time": time, "tie_break": order, "amount": amount,
        "amount_range": choose_range(profiles, amount), "counterparty": counterparty, "attributes": attributes,
        "label": label, "forbidden": forbidden, "missing": _missing(profiles),
        "card_numbers": _card_numbers(rows, ids | {"tie_break": order}),
        "profiles": choose_profiles(rows, user_columns, users) if users and not user.is_placeholder else Choice(),
        "user_labels": Choice(),
    }  # fmt: skip
    is_order = isinstance(time.value, dict) and "order" in time.value
    fields = choose_fields(
        profiles, [a for a, _ in attributes.value if a["name"] not in steady], has_amount=amount.value is not None,
        has_clock=not is_order and has_clock(times), counterparty=counterparty.value,
    )  # fmt: skip
    splits = leave_last_out() if is_order else choose_splits(times, is_spread=events.is_spread)
    return _try_out(Proposal(schema=schema, splits=splits, fields=fields, is_order=is_order), events)


def _without(profiles: Profiles, columns: list[str]) -> Profiles:
    return {name: profile for name, profile in profiles.items() if name not in columns}


def _columns(value: Any) -> list[str]:
    """Every source column that a value of the schema names."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return value
    if not value:
        return []
    nested = [value.get("sign"), value.get("currency")]
    direct = [value.get(key) for key in ("column", "columns", "order", "times")]
    return [column for part in [*direct, *nested] if part for column in _columns(part)]


def _roles(**choices: Choice) -> dict[str, str]:
    return {column: role for role, choice in choices.items() for column in _columns(choice.value)}


def _times(rows: pl.DataFrame, time: Choice) -> pl.Series:
    if time.is_placeholder:
        return pl.Series("time", [], dtype=pl.Datetime("us", "UTC"))
    if "order" in time.value:
        return read_order(rows[time.value["order"]], OrderColumn(order=time.value["order"])).values.rename("time")
    config = TimeColumn(**time.value)
    return parse(take_cells(rows, config.columns, separator=" "), config.format).rename("time")


def _repeats(column: pl.Series, times: pl.Series) -> bool:
    """Whether a column of numbers only ever grows with time: a second clock, such as seconds since the start."""
    if times.is_empty() or not column.dtype.is_numeric():
        numbers = text_of(column).cast(pl.Float64, strict=False) if column.dtype == pl.String else None
        if times.is_empty() or numbers is None or numbers.null_count() > 0.01 * numbers.len():
            return False
        column = numbers
    both = pl.DataFrame({"time": times, "number": column.cast(pl.Float64)}).drop_nulls().sort("time", "number")
    if both["number"].n_unique() < 20:
        return False
    return (both["number"].diff().drop_nulls() >= 0).mean() >= _ALMOST


def _steady(rows: pl.DataFrame, user: list[str], attributes: list[dict[str, str]]) -> list[str]:
    """Attributes that tell the user and not the event: the same in (nearly) all events of each."""
    if not set(user) <= set(rows.columns):
        return []
    ids = take_cells(rows, user, separator=ID_SEPARATOR).rename("user")
    if ids.n_unique() < 2 or ids.n_unique() > 0.5 * ids.len():
        return []
    found = []
    for attribute in attributes:
        pairs = pl.DataFrame({"user": ids, "value": rows[attribute["column"]]}).drop_nulls()
        if pairs.height and pairs.n_unique() <= 1.02 * pairs["user"].n_unique() and pairs["value"].n_unique() > 1:
            found.append(attribute["name"])
    return found


def _tie_break(rows: pl.DataFrame, user: list[str], event_id: Choice, times: pl.Series, time: Choice) -> Choice:
    if times.is_empty() or not set(user) <= set(rows.columns):
        return Choice(value=[])
    ids = take_cells(rows, user, separator=ID_SEPARATOR)
    share = pl.DataFrame({"user": ids, "time": times}).drop_nulls().is_duplicated().mean() or 0
    seen = [f"{share:.1%} of the rows share user and instant with another"]
    if "order" in time.value:
        return Choice(value=[], seen=seen)
    value = [event_id.value] if isinstance(event_id.value, str) else []
    unsure = (
        []
        if share < 0.01 or value
        else ["their order is that of the file; name a column that tells it, if there is one"]
    )
    if value and share >= 0.01:
        unsure = [f"is {value[0]} given in order of time? If not, [] keeps the order of the file"]
    return Choice(value=value, seen=seen, unsure=unsure)


def _missing(profiles: Profiles) -> Choice:
    certain = sorted({s for p in profiles.values() for s in p.sentinels if p.number or p.time})
    other = {s: p.name for p in profiles.values() for s in p.sentinels if not (p.number or p.time) and s not in certain}
    unsure = [f"is '{text}' in {column} a missing value, or a value?" for text, column in other.items()]
    return Choice(value=[*certain, *sorted(other)], unsure=unsure)


def _card_numbers(rows: pl.DataFrame, ids: dict[str, Choice]) -> Choice:
    """Whether a key is needed, or ids only look like card numbers: one long number in ten does."""
    columns = [c for choice in ids.values() for c in _columns(choice.value) if c in rows.columns]
    shares = {c: holds_card_numbers(rows[c]).sum() / max(1, rows.height - rows[c].null_count()) for c in columns}
    unsure = [
        f"{share:.0%} of the values of {column} read as card numbers: set {KEY_VARIABLE} before a run; or, if they are "
        "other numbers (then about 10% do), state allow"
        for column, share in shares.items()
        if share
    ]
    return Choice(value="tokenize", unsure=unsure)


def _try_out(proposal: Proposal, events: Sample) -> Proposal:
    """Read the sample as proposed, and count what cannot be read."""
    if proposal.schema["user_id"].is_placeholder or proposal.schema["event_time"].is_placeholder:
        return proposal
    try:
        # Nothing of it is written, so no key is needed yet.
        schema = LedgerSchema(**{**proposal.schema_values(), "card_numbers": "allow"})
        table, _ = map_events(events.rows.drop("source_row"), schema)
        mapped = table.collect()
    except (SourceError, ValidationError) as error:
        user = proposal.schema["user_id"]
        note = f"the sample cannot be read as proposed: {error}"
        return replace(proposal, schema={**proposal.schema, "user_id": replace(user, unsure=[*user.unsure, note])})
    reasons = mapped.select(
        pl.when(pl.col("user_id").is_null()).then(pl.lit("no user"))
        .when(pl.col("event_time").is_null() & pl.col("problem").is_null()).then(pl.lit("no time"))
        .when(pl.col("problem").is_not_null()).then("problem")
        .when(pl.col("amount_cents").is_null() & (schema.amount is not None)).then(pl.lit("no amount"))
        .alias("reason")
    )["reason"].drop_nulls()  # fmt: skip
    total = mapped.height + events.num_rejects
    faults = {row["reason"]: row["count"] / total for row in reasons.value_counts(sort=True).iter_rows(named=True)}
    if events.num_rejects:
        faults["lines that are no rows"] = events.num_rejects / total
    return replace(proposal, share_readable=1 - sum(faults.values()), faults=faults)
