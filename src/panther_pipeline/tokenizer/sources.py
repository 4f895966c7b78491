"""Where the value of a field stands: in a table of events, or in one event as a mapping.

Both readers give the same value for the same event; the batch and the online encoder differ in nothing else.
Units: amount int64 cents, gap int64 microseconds (-1 = first event of the user), hour 0-23 and weekday 0-6
(Monday = 0) in the declared zone, number float64, category and counterparty text; else null.
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from numbers import Real
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from panther_pipeline.errors import SourceError
from panther_pipeline.ledger.splits import to_us

PREVIOUS_TIME = "previous_event_time"  # of the same user; null for the first event
_COLUMNS = {
    "amount": "amount_cents",
    "counterparty": "counterparty",
    "hour": "event_time",
    "weekday": "event_time",
    "gap": "event_time",
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def column_of(source: str, column: str) -> str:
    """The event column that a field reads."""
    return _COLUMNS.get(source, column)


def read_column(events: pl.DataFrame, source: str, column: str, zone: str) -> pl.Series:
    """The values of one field, row n for row n of `events`.

    Raises:
        SourceError: the table has no such column; names it and the columns there are.
    """
    name = column_of(source, column)
    if name not in events.columns:
        raise SourceError(
            f"The event table has no column '{name}', which the tokenizer reads as {source}. It has: "
            f"{', '.join(events.columns)}. Mend tokenizer.vocabulary.fields or ledger.schema.attributes."
        )
    if source == "gap":
        return _read_gap(events)
    values = events[name]
    if source in ("hour", "weekday"):
        local = _in_utc(values).dt.convert_time_zone(zone).dt
        return local.hour().cast(pl.Int64) if source == "hour" else local.weekday().cast(pl.Int64) - 1
    wanted = {"amount": pl.Int64, "number": pl.Float64}.get(source, pl.String)
    return values if values.dtype == wanted else values.cast(wanted, strict=False)


def read_value(event: Mapping[str, Any], source: str, column: str, zone: ZoneInfo) -> Any:
    """The value of one field of one event; a missing key reads as null: online events may be partial."""
    value = event.get(column_of(source, column))
    if value is None:
        return None
    if source in ("hour", "weekday"):
        local = (_EPOCH + timedelta(microseconds=_as_us(value))).astimezone(zone)
        return local.hour if source == "hour" else local.weekday()
    if source == "gap":
        previous = event.get(PREVIOUS_TIME)
        return -1 if previous is None else max(0, _as_us(value) - _as_us(previous))
    if source in ("amount", "number"):
        if not isinstance(value, Real) or not math.isfinite(value):
            return None if source == "amount" or not isinstance(value, Real) or math.isnan(value) else float(value)
        return int(value) if source == "amount" else float(value)
    return str(value)


def _read_gap(events: pl.DataFrame) -> pl.Series:
    """Microseconds since the user's previous event, which the table may already carry."""
    time = pl.col("event_time").dt.timestamp("us")
    if PREVIOUS_TIME in events.columns:
        gap = (time - pl.col(PREVIOUS_TIME).dt.timestamp("us")).clip(lower_bound=0)
        first = pl.col(PREVIOUS_TIME).is_null()
    else:
        gap = time.diff().over("user_id", order_by="event_seq").clip(lower_bound=0)
        first = pl.col("event_seq") == pl.col("event_seq").min().over("user_id")
    return events.select(
        pl.when(pl.col("event_time").is_null()).then(None).when(first).then(-1).otherwise(gap).alias("gap")
    )["gap"]


def _in_utc(times: pl.Series) -> pl.Series:
    return times.dt.replace_time_zone("UTC") if times.dtype.time_zone is None else times


def _as_us(value: datetime | int) -> int:
    """An instant as int64 microseconds UTC; a naive one is taken as UTC, as everywhere in the ledger."""
    if isinstance(value, datetime):
        return to_us(value.replace(tzinfo=UTC) if value.tzinfo is None else value)
    return int(value)
