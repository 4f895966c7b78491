"""Rows of a pandas DataFrame → events, and decisions → rows. Amounts and instants never pass through a float.

What is accepted is what the HTTP service accepts, but for card numbers where the ledger had none: nothing of a row is
kept, or told in an error. Where ingestion replaced them, they are replaced here with the same key, or refused.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pandas as pd

from panther_pipeline.cards.keys import CardKey, read_card_key
from panther_pipeline.cards.numbers import holds_card_number, mask_card_numbers
from panther_pipeline.errors import ConfigurationError, SourceError
from panther_pipeline.features.event import OnlineEvent
from panther_pipeline.ledger.texts import SCIENTIFIC_ID
from panther_pipeline.online.decision import Decision
from panther_pipeline.online.schema import AttributeSchema, EventSchema

_ID_CHARS, _CATEGORY_CHARS, _LARGEST_NUMBER = 128, 256, 10**18
_UNUSABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # control characters, halves of surrogate pairs
_ROUNDED = re.compile(SCIENTIFIC_ID)
_AMOUNT = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,2})?")
_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Read = Callable[[Any], Any]


class _RefusedError(Exception):
    """Says what is allowed in a cell."""


def columns_of(schema: EventSchema) -> dict[str, Read]:
    """The columns of a frame for a ledger, in order, and what reads a cell of each.

    Raises:
        ConfigurationError: an attribute has the name of another column, or PANTHER_CARD_KEY cannot be used.
    """
    read_id = _id_reader(schema.card_key_id)
    columns: dict[str, Read] = {"user_id": read_id, "event_id": read_id, "event_time": _instant_reader(schema)}
    if schema.amount_range_cents is not None:
        columns["amount"] = _optional(_amount_reader(*schema.amount_range_cents), schema.amount_required)
    if schema.has_counterparty:
        columns["counterparty"] = _optional(read_id, schema.counterparty_required)
    for attribute in schema.attributes:
        if attribute.name in columns:
            raise ConfigurationError(
                f"attribute '{attribute.name}' has the name of a column of the model's input. Rename it in "
                "ledger.schema.attributes."
            )
        columns[attribute.name] = _optional(_attribute_reader(attribute, schema.masks_card_numbers), attribute.required)
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
    row: dict[str, Any] = {"user_id": "user-1", "event_id": "event-1"}
    row["event_time"] = (_EPOCH + timedelta(microseconds=time_us)).replace(microsecond=0).isoformat()
    if schema.amount_range_cents is not None:
        lowest, highest = schema.amount_range_cents
        row["amount"] = f"{Decimal(min(max(1250, lowest), highest)) / 100:.2f}"
    if schema.has_counterparty:
        row["counterparty"] = "shop-1"
    return pd.DataFrame([row | {attribute.name: attribute.example for attribute in schema.attributes}])


def _read_cell(read: Read, cell: Any, row: int, column: str) -> Any:
    try:
        return read(None if _is_missing(cell) else cell)
    except _RefusedError as refused:
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


def _read_text(cell: Any, most: int) -> str:
    if not isinstance(cell, str):
        raise _RefusedError("must be text, as in the ledger")
    if not 1 <= len(cell) <= most:
        raise _RefusedError(f"must have 1 to {most} characters")
    if _UNUSABLE.search(cell):
        raise _RefusedError("must have no control characters and be writable in UTF-8")
    return cell


def _read_id(cell: Any) -> str:
    text = _read_text(cell, _ID_CHARS)
    if text != text.strip() or _ROUNDED.fullmatch(text):
        raise _RefusedError("must be an id without white space around it, and not a rounded number such as 4.1E+15")
    return text


def _id_reader(card_key_id: str | None) -> Read:
    """Reads ids as ingestion has them: with the key that replaced card numbers in the ledger, where there were any."""
    if card_key_id is None:
        return _read_id
    key = read_card_key()

    def read(cell: Any) -> str:
        text = _read_id(cell)
        return _replace_card_number(text, key, card_key_id) if holds_card_number(text) else text

    return read


def _replace_card_number(text: str, key: CardKey | None, card_key_id: str) -> str:
    if key is None or key.id != card_key_id:
        raise _RefusedError(
            f"holds a card number, which the ledger has under a token of key {card_key_id}: set PANTHER_CARD_KEY to it"
        )
    return key.tokenize(text)


def _attribute_reader(attribute: AttributeSchema, masks_card_numbers: bool) -> Read:
    if attribute.kind == "number":
        return _read_number
    if masks_card_numbers:
        return lambda cell: mask_card_numbers(_read_text(cell, _CATEGORY_CHARS))
    return lambda cell: _read_text(cell, _CATEGORY_CHARS)


def _read_number(cell: Any) -> float:
    if isinstance(cell, bool) or not isinstance(cell, int | float | Decimal) or not abs(cell) <= _LARGEST_NUMBER:
        raise _RefusedError(f"must be a number of at most {_LARGEST_NUMBER:.0e}")
    return float(cell)


def _amount_reader(lowest: int, highest: int) -> Read:
    def read(cell: Any) -> int:
        allowed = f"must be text such as '12.50', at most 2 decimals, {lowest / 100:.2f} to {highest / 100:.2f}"
        if isinstance(cell, float):
            raise _RefusedError(f"{allowed}; a float has lost the exact amount")
        text = str(cell) if isinstance(cell, int | Decimal) and not isinstance(cell, bool) else cell
        if not isinstance(text, str) or not _AMOUNT.fullmatch(text):
            raise _RefusedError(allowed)
        cents = int(Decimal(text) * 100)
        if not lowest <= cents <= highest:
            raise _RefusedError(allowed)
        return cents

    return read


def _instant_reader(schema: EventSchema) -> Read:
    def read(cell: Any) -> int:
        allowed = "must be ISO 8601 text with seconds and an offset, such as '2024-12-31T23:59:59.5+01:00'"
        if not isinstance(cell, str) or not _INSTANT.fullmatch(cell):
            raise _RefusedError(allowed)
        try:
            time_us = (datetime.fromisoformat(cell.upper()) - _EPOCH) // timedelta(microseconds=1)
        except ValueError:
            raise _RefusedError(f"{allowed}; there is no such instant") from None
        if not schema.earliest_us <= time_us <= schema.latest_us:
            first, last = (_EPOCH + timedelta(microseconds=us) for us in (schema.earliest_us, schema.latest_us))
            raise _RefusedError(f"must lie between {first.isoformat()} and {last.isoformat()}")
        return time_us

    return read
