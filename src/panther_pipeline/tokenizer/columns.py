"""Where the values of a field stand in a table of events: what `sources` reads of one event, of all of them at once."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

import polars as pl

from panther_pipeline.errors import SourceError
from panther_pipeline.tokenizer.sources import PREVIOUS_TIME, column_of

Table = TypeVar("Table", pl.DataFrame, pl.LazyFrame)


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
