"""The accepted events, ordered by user and numbered within each: sorted in memory, or by way of the disk.

A ledger that is too long to be sorted at once is cut into ranges of users, each range sorted by itself, and the ranges
follow one another: the outcome is the same, the memory that of one range.
"""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from panther_pipeline.ledger.mapping import event_schema, tie_columns
from panther_pipeline.ledger.schema import LedgerSchema
from panther_pipeline.ledger.stream import batches_of, counted, lazy_table
from panther_pipeline.ledger.texts import MISSING_CATEGORY

IN_MEMORY_ROWS = 1 << 21  # up to so many events are sorted at once: about a gigabyte with a dozen columns
_SPILL_ROWS = 1 << 19  # events cut into ranges together


def order_events(
    events: pl.DataFrame | pl.LazyFrame,
    event_faults: pl.DataFrame,
    schema: LedgerSchema,
    in_memory_rows: int = IN_MEMORY_ROWS,
) -> pl.LazyFrame:
    """Accepted events, sorted by (user_id, event_seq).

    Args:
        events: what `mapping.map_events` returns, of any length.
        event_faults: the rows to leave out (`faults.find_faults`).
        schema: the schema of both.
        in_memory_rows: how many events are sorted at once. Of more, ranges of about half as many; a user with more
            than that is sorted as a whole.

    Returns:
        `valid_events` as in docs/data_contract.md, lazily: sorted while it is written. More than `in_memory_rows`
        events pass through a temporary folder (of the system's choice, TMPDIR) that is removed in the end.
    """
    from panther_pipeline.ledger.faults import accepted_rows

    columns = valid_event_schema(schema)
    kept = [*(name for name in columns if name != "event_seq"), *_extra_ties(schema)]
    accepted = accepted_rows(events, event_faults).select(kept)

    def batches() -> Iterator[pl.DataFrame]:
        counts = accepted.group_by("user_id").len().collect(engine="streaming").sort("user_id")
        left = counts["len"].sum()
        for ordered in counted(_sort_all(accepted, counts, schema, in_memory_rows), "order", total=left):
            left -= ordered.height
            yield _number(ordered, schema).select(list(columns))
        if left:
            raise AssertionError(
                f"{left} accepted events were lost while they were sorted. This is a fault of panther_pipeline, please "
                "report it."
            )

    return lazy_table(batches, pl.Schema(columns))


def valid_event_schema(schema: LedgerSchema) -> dict[str, pl.DataType]:
    """Columns and types of `valid_events`."""
    types = event_schema(schema)
    names = [attribute.name for attribute in schema.attributes]
    first = ["user_id", "event_id", "event_time"]
    rest = ["amount_cents", *names, "counterparty", "label", "label_time", "source_row"]
    return {name: types[name] for name in first} | {"event_seq": pl.Int64} | {name: types[name] for name in rest}


def tie_order(columns: Sequence[str]) -> list[pl.Expr]:
    """Sort keys of tie-break columns: numbers as numbers and first, whatever text stands elsewhere in the column.

    Compared as floats, which hold any number, then as integers, which tell long ones apart, then as text.
    """
    keys = []
    for name in columns:
        as_float = pl.col(name).cast(pl.Float64, strict=False).fill_nan(None)
        as_integer = pl.col(name).cast(pl.Int64, strict=False)
        keys += [as_float.alias(f"{name}_float"), as_integer.alias(f"{name}_integer"), pl.col(name)]
    return keys


def _extra_ties(schema: LedgerSchema) -> list[str]:
    return [name for name in tie_columns(schema) if name.startswith("tie_break_")]


def _sort_all(
    accepted: pl.LazyFrame, counts: pl.DataFrame, schema: LedgerSchema, in_memory_rows: int
) -> Iterator[pl.DataFrame]:
    if counts["len"].sum() <= in_memory_rows:
        yield _sort(accepted.collect(), counts, schema)
        return
    with tempfile.TemporaryDirectory(prefix="panther_order_") as folder:
        yield from _sort_by_ranges(accepted, _ranges(counts, max(1, in_memory_rows // 2)), Path(folder), schema)


def _sort(events: pl.DataFrame, users: pl.DataFrame, schema: LedgerSchema) -> pl.DataFrame:
    """By user, time, tie-breaks, source row; `events` come in the order of source_row, `users` in that of user_id.

    Two stable sorts of integers take a third of the time of one sort by several keys; tie-breaks are text and dearer
    still, so only rows that tie are sorted by them.
    """
    codes = users.select("user_id").with_row_index("_user")
    user_N = events.select("user_id").join(codes, on="user_id", how="left", maintain_order="left")["_user"].to_numpy()
    time_N = events["event_time"].dt.timestamp("us").to_numpy()
    order = np.argsort(time_N, kind="stable")
    order = order[np.argsort(user_N[order], kind="stable")]
    ties = tie_columns(schema)
    if ties:
        same = (np.diff(user_N[order]) == 0) & (np.diff(time_N[order]) == 0)
        tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
        rivals = events.select("event_time", "source_row", *ties)[order[tied]].with_columns(_user=user_N[order[tied]])
        ranked = rivals.with_row_index("_at").sort(
            "_user", "event_time", *tie_order(ties), "source_row", nulls_last=True
        )
        order[tied] = order[tied[ranked["_at"].to_numpy()]]
    return events.lazy().select(pl.all().gather(pl.Series(order))).collect()


def _number(events: pl.DataFrame, schema: LedgerSchema) -> pl.DataFrame:
    """Number each user's events 0, 1, 2, ...; an empty category is `(missing)`."""
    users = events["user_id"]
    starts = (users != users.shift(1)).fill_null(True).to_numpy()
    first = np.maximum.accumulate(np.where(starts, np.arange(events.height), 0))
    times = events["event_time"].dt.timestamp("us").to_numpy()
    if (np.diff(times)[~starts[1:]] < 0).any() or not (users.shift(1) <= users).fill_null(True).all():
        raise AssertionError(
            "events are not in order after sorting. This is a fault of panther_pipeline, please report it."
        )
    categories = [attribute.name for attribute in schema.attributes if attribute.kind == "category"]
    return events.with_columns(
        pl.Series("event_seq", np.arange(events.height) - first, dtype=pl.Int64),
        *(pl.col(name).fill_null(MISSING_CATEGORY) for name in categories),
    )


def _ranges(counts: pl.DataFrame, range_rows: int) -> pl.DataFrame:
    """user_id → range: neighbours in the order of ids, together about `range_rows` events."""
    before = counts["len"].cum_sum().shift(1).fill_null(0)
    return counts.select("user_id", _range=(before // range_rows).cast(pl.UInt32))


def _sort_by_ranges(
    accepted: pl.LazyFrame, ranges: pl.DataFrame, folder: Path, schema: LedgerSchema
) -> Iterator[pl.DataFrame]:
    for number, batch in enumerate(batches_of(accepted, _SPILL_ROWS)):
        placed = batch.join(ranges, on="user_id", how="left", maintain_order="left")
        for (key,), part in placed.partition_by("_range", as_dict=True, include_key=False).items():
            part.write_ipc(folder / f"{key:06d}.{number:06d}.arrow", compression="lz4")
    for key in ranges["_range"].unique().sort():
        files = sorted(folder.glob(f"{key:06d}.*.arrow"))
        part = pl.concat([pl.read_ipc(file) for file in files], rechunk=True)
        for file in files:
            file.unlink()
        yield _sort(part, ranges, schema)
