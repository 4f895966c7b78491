"""P14: any permutation and duplication of a history, in any batching, ends in the same log.

Of events with the same id the earliest counts, whenever it arrives: neither a later arrival nor a later copy overwrites
it. Events of a user at the same instant are ordered by their ids. The log equals that of an oracle in plain Python.
What follows (tokens, cache) is computed from the log and from nothing else.
"""

import polars as pl
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from panther_pipeline.ledger.source import REJECT_SCHEMA, SourceBatch, TableSource

NUM_EXAMPLES = 500
COLUMNS = ["id", "user", "time", "amount", "shop", "kind"]
# Few values of each, so that ids come twice, instants tie and copies contradict each other.
EVENT = st.tuples(
    st.sampled_from(["1", "2", "10", "02", "x", "9"]),
    st.sampled_from(["a", "b"]),
    st.sampled_from(["2024-01-01 00:00:00", "2024-01-01 00:00:01", "2024-01-02 00:00:00"]),
    st.sampled_from(["1.00", "2.00", "x"]),
    st.sampled_from(["s", ""]),
    st.sampled_from(["food", ""]),
)


class Deliveries(TableSource):
    """The same rows in batches of any size."""

    def __init__(self, rows: list[tuple], size: int) -> None:
        super().__init__(pl.DataFrame(rows, schema=dict.fromkeys(COLUMNS, pl.String), orient="row"), name="deliveries")
        self.size = size

    def batches(self, columns, account):
        (whole,) = super().batches(columns, account)
        for rows in whole.rows.iter_slices(self.size):
            yield SourceBatch(rows, pl.DataFrame(schema=REJECT_SCHEMA))


def id_order(id_: str) -> tuple:
    """Numbers before other text, as numbers; the same number written twice by its text."""
    return (0, int(id_), id_) if id_.isdigit() else (1, 0, id_)


def oracle(rows: set[tuple]) -> list[tuple]:
    """(user, id, time, amount) of the log, in order."""
    kept: dict[str, tuple] = {}
    for id_, user, time, amount, shop, kind in rows:
        if amount != "x":
            # An empty cell comes last; the id itself is the same for all rivals.
            rank = (time, user, amount, kind or "~", shop or "~")
            event = (rank, user, id_, time, amount)
            kept[id_] = min(event, kept.get(id_, event))
    log = sorted((event[1:] for event in kept.values()), key=lambda e: (e[0], e[2], id_order(e[1])))
    return [(user, id_, time, round(float(amount) * 100)) for user, id_, time, amount in log]


def seen(settled) -> list[tuple]:
    time = pl.col("event_time").dt.to_string("%Y-%m-%d %H:%M:%S")
    return settled.log.select("user_id", "event_id", time, "amount_cents").rows()


def make_example(draw):
    history = draw(st.lists(EVENT, min_size=1, max_size=10))
    history.append(("0", "a", "2024-01-01 00:00:00", "1.00", "s", "food"))  # one row that can be read
    copies = draw(st.lists(st.sampled_from(history), max_size=6))
    return history, draw(st.permutations(history + copies)), draw(st.integers(1, 17)), draw(st.integers(1, 8))


EXAMPLE = st.composite(make_example)()


def test_permuted_and_doubled_histories_converge(settle, digest):
    counts = {"examples": 0, "same": 0}

    @seed(14)
    @settings(max_examples=NUM_EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(EXAMPLE)
    def check(example):
        history, delivered, size, range_rows = example
        settled = settle(Deliveries(delivered, size), range_rows=range_rows)
        counts["examples"] += 1
        assert seen(settled) == oracle(set(history))
        assert settled.log["event_seq"].to_list() == [
            seq for n in settled.log["user_id"].rle().struct.field("len") for seq in range(n)
        ]
        assert settled.log.height + settled.faults.height == len(delivered)
        if counts["examples"] % 5 == 0:  # all columns, too, and not the oracle's alone
            assert digest(settled.log) == digest(settle(Deliveries(history, 100)).log)
        counts["same"] += 1

    check()
    print(f"\nP14 {counts['same']} of {counts['examples']} histories converge / {NUM_EXAMPLES}")
    assert counts["same"] >= NUM_EXAMPLES


def keep_last(rivals, schema):
    """The sabotage: whatever arrives later overwrites what was there."""
    losers = rivals.sort("source_row").filter(~pl.col("event_id").is_last_distinct())
    return losers.select(
        "source_row", reason=pl.lit("duplicate_event_id"), problem_column=pl.lit("id"), problem_value="event_id"
    )


def test_guard_notices_overwriting(settle, monkeypatch):
    late = [
        ("1", "a", "2024-01-01 00:00:00", "1.00", "s", "food"),
        ("1", "a", "2024-01-02 00:00:00", "2.00", "s", "food"),
    ]
    assert seen(settle(Deliveries(late, 1))) == seen(settle(Deliveries(late[::-1], 1))) == oracle(set(late))
    monkeypatch.setattr("panther_pipeline.ledger.faults._lose", keep_last)
    assert seen(settle(Deliveries(late, 1))) != oracle(set(late))


@pytest.mark.parametrize("ids", [["10", "9"], ["x", "9"], ["02", "2"]])
def test_exact_ties_are_ordered_by_id(ids, settle):
    rows = [(id_, "a", "2024-01-01 00:00:00", "1.00", "s", "food") for id_ in ids]
    orders = [settle(Deliveries(delivered, 1)).log["event_id"].to_list() for delivered in (rows, rows[::-1])]
    assert orders == [sorted(ids, key=id_order)] * 2
