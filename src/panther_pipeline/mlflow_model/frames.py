"""Rows of a pandas DataFrame → events, and decisions → rows. Amounts and instants never pass through a float.

What is accepted is what the HTTP service accepts, but for card numbers where the ledger had none: nothing of a row is
kept, or told in an error. Where ingestion replaced them, they are replaced here with the same key, or refused.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Any

import pandas as pd

from panther_pipeline.cards.keys import read_card_key
from panther_pipeline.errors import ConfigurationError, SourceError
from panther_pipeline.features.event import OnlineEvent
from panther_pipeline.online.as_sent import example_event
from panther_pipeline.online.card_numbers import CardNumbers
from panther_pipeline.online.decision import Decision
from panther_pipeline.online.event_values import (
    RefusedValueError,
    check_instant,
    check_number,
    describe_amount,
    read_amount,
    read_category,
    read_id,
    read_instant,
)
from panther_pipeline.online.schema import AttributeSchema, EventSchema

Read = Callable[[Any], Any]


def columns_of(schema: EventSchema) -> dict[str, Read]:
    """The columns of a frame for a ledger, in order, and what reads a cell of each.

    Raises:
        ConfigurationError: an attribute has the name of another column, or PANTHER_CARD_KEY cannot be used.
    """
    cards = CardNumbers(schema, None if schema.card_key_id is None else read_card_key())
    identifier = _id_reader(schema, cards)
    columns: dict[str, Read] = {"user_id": identifier, "event_id": identifier, "event_time": _instant_reader(schema)}
    if schema.amount_range_cents is not None:
        columns["amount"] = _optional(_amount_reader(*schema.amount_range_cents), schema.amount_required)
    if schema.has_counterparty:
        columns["counterparty"] = _optional(identifier, schema.counterparty_required)
    for attribute in schema.attributes:
        if attribute.name in columns:
            raise ConfigurationError(
                f"attribute '{attribute.name}' has the name of a column of the model's input. Rename it in "
                "ledger.schema.attributes."
            )
        columns[attribute.name] = _optional(_attribute_reader(attribute, schema, cards), attribute.required)
    return columns


def read_frame(frame: pd.DataFrame, schema: EventSchema) -> list[OnlineEvent]:
    """The events of a frame, one a row.

    Args:
        frame: the columns of `columns_of`; None, NaN and NA are missing. Other columns are not looked at.
        schema: of the ledger.

    Raises:
        SourceError: a column is missing, or a cell is not what is allowed; names row (the first is 0) and column.
    """
    columns = columns_of(schema)
    if missing := [name for name in columns if name not in frame.columns]:
        raise SourceError(f"the frame has no column {', '.join(missing)}; it needs {', '.join(columns)}.")
    cells = {name: frame[name].tolist() for name in columns}
    return [
        _to_event({name: _read_cell(read, cells[name][row], row, name) for name, read in columns.items()}, schema)
        for row in range(len(frame))
    ]


def write_frame(decisions: Sequence[Decision], explain: bool) -> pd.DataFrame:
    """One row per decision; with `explain` also `expected` and `reasons`, lists of objects."""
    numbers = {"probability": float, "surprise": float, "surprise_z": float, "cosine": float}
    types = {"event_id": object, **numbers, "history_length": "int64", "is_new_user": bool, "token": object}
    frame = pd.DataFrame({name: [getattr(d, name) for d in decisions] for name in types}).astype(types)
    if explain:
        frame["expected"] = [[asdict(e) for e in d.expected] for d in decisions]
        frame["reasons"] = [[asdict(r) for r in d.reasons] for d in decisions]
    return frame


def example_frame(schema: EventSchema, time_us: int) -> pd.DataFrame:
    """One row that `read_frame` accepts.

    Args:
        schema: of the ledger.
        time_us: of the event, microseconds UTC.
    """
    event = example_event(schema, time_us)
    attributes = event.pop("attributes", {})
    return pd.DataFrame([event | attributes])


def _read_cell(read: Read, cell: Any, row: int, column: str) -> Any:
    try:
        return read(None if _is_missing(cell) else cell)
    except RefusedValueError as refused:
        raise SourceError(f"row {row} (the first is 0), column {column}: {refused}. No row was scored.") from None


def _to_event(row: dict[str, Any], schema: EventSchema) -> OnlineEvent:
    return OnlineEvent(
        user_id=row["user_id"],
        event_id=row["event_id"],
        time_us=row["event_time"],
        amount_cents=row.get("amount"),
        counterparty=row.get("counterparty"),
        attributes={attribute.name: row[attribute.name] for attribute in schema.attributes},
    )


def _is_missing(cell: Any) -> bool:
    return cell is None or cell is pd.NA or cell is pd.NaT or (isinstance(cell, float) and math.isnan(cell))


def _optional(read: Read, required: bool) -> Read:
    return read if required else lambda cell: None if cell is None else read(cell)


def _id_reader(schema: EventSchema, cards: CardNumbers) -> Read:
    return read_id if schema.card_key_id is None else lambda cell: cards.replace_in_id(read_id(cell))


def _attribute_reader(attribute: AttributeSchema, schema: EventSchema, cards: CardNumbers) -> Read:
    if attribute.kind == "number":
        return _read_number
    if schema.masks_card_numbers:
        return lambda cell: cards.replace_in_category(read_category(cell))
    return read_category


def _read_number(cell: Any) -> float:
    check_number(cell)
    return float(cell)


def _amount_reader(lowest: int, highest: int) -> Read:
    def read(cell: Any) -> int:
        if isinstance(cell, float):
            allowed = describe_amount(lowest, highest)
            raise RefusedValueError("not_an_amount", f"{allowed}; a float has lost the exact amount")
        is_exact = isinstance(cell, int | Decimal) and not isinstance(cell, bool)
        return read_amount(str(cell) if is_exact else cell, lowest, highest)

    return read


def _instant_reader(schema: EventSchema) -> Read:
    def read(cell: Any) -> int:
        time_us = read_instant(cell)
        check_instant(time_us, schema.earliest_us, schema.latest_us)
        return time_us

    return read
