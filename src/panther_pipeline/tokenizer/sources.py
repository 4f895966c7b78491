"""Where the value of a field stands: in a table of events, or in one event as a mapping.

Both readers give the same value for the same event; the batch and the online encoder differ in nothing else.
Units: amount int64 cents, gap int64 microseconds (-1 = first event of the user), hour 0-23 and weekday 0-6
(Monday = 0) in the declared zone, number float64, category and counterparty text; else null.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from numbers import Real
from typing import Any, TypeVar
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
Table = TypeVar("Table", pl.DataFrame, pl.LazyFrame)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def column_of(source: str, column: str) -> str:
    """The event column that a field reads."""
    return _COLUMNS.get(source, column)


def select_columns(events: Table, fields: Iterable[tuple[str, str]]) -> Table:
    """User, time, position and what the fields read, nothing else: a long ledger is read column by column.

    Args:
        events: `valid_events`.
        fields: source and column of each field.

    Raises:
        SourceError: the table lacks one; names it and the columns there are.
    """
    present = events.lazy().collect_schema().names()
    wanted = dict.fromkeys(["user_id", "event_time", "event_seq"])
    for source, column in fields:
        wanted[_present(column_of(source, column), present, source)] = None
    return events.select(list(wanted))


def read_column(events: pl.DataFrame, source: str, column: str, zone: str) -> pl.Series:
    """The values of one field, row n for row n of `events`.

    Raises:
        SourceError: the table has no such column; names it and the columns there are.
    """
    name = _present(column_of(source, column), events.columns, source)
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


def _present(name: str, present: Sequence[str], source: str) -> str:
    if name not in present:
        raise SourceError(
            f"The event table has no column '{name}', which the tokenizer reads as {source}. It has: "
            f"{', '.join(present)}. Mend tokenizer.vocabulary.fields or ledger.schema.attributes."
        )
    return name


def _read_gap(events: pl.DataFrame) -> pl.Series:
    """Microseconds since the user's previous event, which the table may already carry."""
    time = pl.col("event_time").dt.timestamp("us")
    if PREVIOUS_TIME in events.columns:
        gap = (time - pl.col(PREVIOUS_TIME).dt.timestamp("us")).clip(lower_bound=0)
        first = pl.col(PREVIOUS_TIME).is_null()
    elif _holds_whole_histories_in_order(events):
        gap = time.diff().clip(lower_bound=0)
        first = pl.col("event_seq") == 0
    else:
        gap = time.diff().over("user_id", order_by="event_seq").clip(lower_bound=0)
        first = pl.col("event_seq") == pl.col("event_seq").min().over("user_id")
    return events.select(
        pl.when(pl.col("event_time").is_null()).then(None).when(first).then(-1).otherwise(gap).alias("gap")
    )["gap"]


def _holds_whole_histories_in_order(events: pl.DataFrame) -> bool:
    """Whether the row before an event is its user's event before, as in `valid_events`."""
    same = pl.col("user_id") == pl.col("user_id").shift(1)
    step = pl.col("event_seq") == pl.col("event_seq").shift(1) + 1
    return bool(
        events.select(pl.when(same.fill_null(False)).then(step).otherwise(pl.col("event_seq") == 0).all()).item()
    )


def _in_utc(times: pl.Series) -> pl.Series:
    return times.dt.replace_time_zone("UTC") if times.dtype.time_zone is None else times


def _as_us(value: datetime | int) -> int:
    """An instant as int64 microseconds UTC; a naive one is taken as UTC, as everywhere in the ledger."""
    if isinstance(value, datetime):
        return to_us(value.replace(tzinfo=UTC) if value.tzinfo is None else value)
    return int(value)
