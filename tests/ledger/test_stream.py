"""Tables made of batches: read as any table, and no user ever cut in two."""

from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from panther_pipeline.errors import SourceError
from panther_pipeline.ledger.stream import batches_of, lazy_table, user_batches

SCHEMA = pl.Schema({"n": pl.Int64, "text": pl.String, "ratio": pl.Float64})
TABLE = pl.DataFrame({"n": range(10), "text": list("abcdefghij"), "ratio": [i / 4 for i in range(10)]}, schema=SCHEMA)


def batches():
    yield from TABLE.iter_slices(3)


READINGS = {
    "all": lambda t: t,
    "projection": lambda t: t.select("ratio", "n"),
    "new column": lambda t: t.with_columns(twice=pl.col("n") * 2).select("twice"),
    "predicate": lambda t: t.filter(pl.col("n") > 4),
    "predicate on another column": lambda t: t.filter(pl.col("n") > 4).select("text"),
    "head": lambda t: t.head(4),
    "head, then predicate": lambda t: t.head(5).filter(pl.col("n") > 2).select("text"),
    "predicate, then head": lambda t: t.filter(pl.col("n") > 2).head(5).select("text"),
    "head of nothing": lambda t: t.head(0),
    "slice": lambda t: t.slice(2, 5),
    "tail": lambda t: t.tail(2),
    "count": lambda t: t.select(pl.len()),
    "group": lambda t: t.group_by(pl.col("n") % 2).agg(pl.col("ratio").sum()).sort("n"),
    "join with itself": lambda t: t.join(t, on="n", how="inner", maintain_order="left"),
}


@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
@pytest.mark.parametrize("name", READINGS)
def test_lazy_table_reads_as_the_table_it_is_made_of(name, engine):
    expected = READINGS[name](TABLE.lazy()).collect()
    assert_frame_equal(READINGS[name](lazy_table(batches, SCHEMA)).collect(engine=engine), expected)


def test_lazy_table_is_written_and_read_in_order(tmp_path):
    lazy_table(batches, SCHEMA).sink_parquet(tmp_path / "t.parquet")
    assert pl.read_parquet(tmp_path / "t.parquet").equals(TABLE)
    assert pl.concat(batches_of(lazy_table(batches, SCHEMA), 4)).equals(TABLE)


def test_head_reads_no_more_batches_than_it_needs():
    read = []

    def counted():
        for batch in batches():
            read.append(batch.height)
            yield batch

    assert lazy_table(counted, SCHEMA).head(4).collect().height == 4
    assert read == [3, 3]


def test_lazy_table_without_batches_is_empty():
    assert lazy_table(lambda: [], SCHEMA).collect().equals(TABLE.clear())


def failing():
    yield TABLE.head(3)
    raise SourceError("line 4 cannot be read")


@pytest.mark.parametrize(
    "read",
    [
        lambda t: t.collect(),
        lambda t: t.collect(engine="streaming"),
        lambda t: t.filter(pl.col("n") > 0).select("text").collect(),
        lambda t: list(batches_of(t)),
        lambda t: t.sort("text").select(pl.len()).collect(),
    ],
)
def test_errors_reach_the_reader_unchanged(read):
    with pytest.raises(SourceError, match=r"^line 4 cannot be read$"):
        read(lazy_table(failing, SCHEMA))


def test_errors_reach_the_writer_unchanged(tmp_path):
    with pytest.raises(SourceError, match=r"^line 4 cannot be read$"):
        lazy_table(failing, SCHEMA).sink_parquet(tmp_path / "t.parquet")


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(1, 12), max_size=12), st.integers(1, 20), st.booleans())
def test_user_batches_never_cut_a_user(lengths, rows, is_lazy):
    user_ids = [f"u{i:02}" for i, length in enumerate(lengths) for _ in range(length)]
    events = pl.DataFrame({"user_id": pl.Series(user_ids, dtype=pl.String), "at": range(len(user_ids))})
    found = list(user_batches(events.lazy() if is_lazy else events, rows))
    assert pl.concat([events.clear(), *found]).equals(events)
    users = [set(batch["user_id"]) for batch in found]
    assert not any(a & b for a, b in pairwise(users))
    assert sum(len(batch) for batch in users) == len(lengths)
    assert all(batch.height for batch in found)


def test_user_batches_are_about_as_long_as_asked():
    events = pl.DataFrame({"user_id": [f"u{i // 5:05}" for i in range(10_000)]})
    heights = [batch.height for batch in user_batches(events, 100)]
    assert max(heights) <= 110
    assert len(heights) <= 110
