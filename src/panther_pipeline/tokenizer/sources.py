"""Where the value of a field stands in one event, a mapping; `columns` reads the same of a table of events.

Both readers give the same value for the same event; the batch and the online encoder differ in nothing else.
Units: amount int64 cents, gap int64 microseconds (-1 = first event of the user), hour 0-23 and weekday 0-6
(Monday = 0) in the declared zone, number float64, category and counterparty text; else null.
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from numbers import Real
from typing import Any
from zoneinfo import ZoneInfo

from panther_pipeline.units import from_us, to_us

PREVIOUS_TIME = "previous_event_time"  # of the same user; null for the first event
_COLUMNS = {
    "amount": "amount_cents",
    "counterparty": "counterparty",
    "hour": "event_time",
    "weekday": "event_time",
    "gap": "event_time",
}


def column_of(source: str, column: str) -> str:
    """The event column that a field reads."""
    return _COLUMNS.get(source, column)


def read_value(event: Mapping[str, Any], source: str, column: str, zone: ZoneInfo) -> Any:
    """The value of one field of one event; a missing key reads as null: online events may be partial."""
    value = event.get(column_of(source, column))
    if value is None:
        return None
    if source in ("hour", "weekday"):
        local = from_us(_as_us(value)).astimezone(zone)
        return local.hour if source == "hour" else local.weekday()
    if source == "gap":
        previous = event.get(PREVIOUS_TIME)
        return -1 if previous is None else max(0, _as_us(value) - _as_us(previous))
    if source in ("amount", "number"):
        if not isinstance(value, Real) or not math.isfinite(value):
            return None if source == "amount" or not isinstance(value, Real) or math.isnan(value) else float(value)
        return int(value) if source == "amount" else float(value)
    return str(value)


def _as_us(value: datetime | int) -> int:
    """An instant as int64 microseconds UTC; a naive one is taken as UTC, as everywhere in the ledger."""
    if isinstance(value, datetime):
        return to_us(value.replace(tzinfo=UTC) if value.tzinfo is None else value)
    return int(value)
