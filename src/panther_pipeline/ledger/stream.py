"""Tables too long for memory: a LazyFrame made of batches, read and written without ever being held as a whole.

Everything that scales with the ledger is a `pl.LazyFrame`: a scan of a Parquet file, or batches that Python makes one
after the other. Polars writes either with `sink_parquet`, on all cores, in bounded memory.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import polars as pl
from polars.io.plugins import register_io_source
from tqdm import tqdm

from panther_pipeline.ledger.source import BATCH_ROWS, SourceBatch

Batch = TypeVar("Batch", pl.DataFrame, SourceBatch)


def lazy_table(batches: Callable[[], Iterable[pl.DataFrame]], schema: pl.Schema) -> pl.LazyFrame:
    """The table whose rows are those of `batches()`, which is called anew whenever the table is read.

    Args:
        batches: makes the iterator; an exception it raises reaches whoever reads the table, unchanged.
        schema: columns and types of every batch.
    """

    def generate(
        with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        left = n_rows
        for batch in batches():
            rows = batch if left is None else batch.head(left)
            left = None if left is None else left - rows.height
            rows = rows if predicate is None else rows.filter(predicate)
            yield rows.select(with_columns or list(schema))
            if left == 0:
                return

    return register_io_source(generate, schema=schema, is_pure=True)


def batches_of(table: pl.DataFrame | pl.LazyFrame, rows: int = BATCH_ROWS) -> Iterator[pl.DataFrame]:
    """The rows of a table in order, about `rows` at a time."""
    if isinstance(table, pl.DataFrame):
        yield from table.iter_slices(rows)
    else:
        yield from table.collect_batches(chunk_size=rows, maintain_order=True)


def counted(batches: Iterable[Batch], what: str, total: int | None = None) -> Iterator[Batch]:
    """The batches, with a progress bar of rows, rows per second and, where `total` is known, the time left.

    Silent where nobody looks: when the output is no terminal.
    """
    with tqdm(total=total, desc=what, unit="row", unit_scale=True, mininterval=1.0, disable=None) as bar:
        for batch in batches:
            yield batch
            bar.update((batch.rows if isinstance(batch, SourceBatch) else batch).height)


def user_batches(events: pl.DataFrame | pl.LazyFrame, rows: int = BATCH_ROWS) -> Iterator[pl.DataFrame]:
    """Batches of about `rows` events that never cut a user's history in two; a long history comes whole.

    Args:
        events: sorted by user_id; the column `user_id` is among those selected.
        rows: what a batch should hold.
    """
    held: list[pl.DataFrame] = []
    for batch in batches_of(events, rows):
        if batch.is_empty():
            continue
        last = batch["user_id"][-1]
        # Rows of the batch's last user wait for what may follow.
        begins = batch["user_id"].search_sorted(last, side="left") if batch["user_id"][0] != last else 0
        if begins or (held and held[-1]["user_id"][-1] != last):
            yield pl.concat([*held, batch.head(begins)], rechunk=True)
            held = []
        held.append(batch.slice(begins))
    if held:
        yield pl.concat(held, rechunk=True)
