"""P13: a file read twice, shuffled rows, files in any order: the event log is the same.

As long as ids and tie-breaks decide. A ledger that has neither event ids nor tie-breaks does depend on the order of its
file: which of two events of a user at the same instant came first stands nowhere else. That, too, is shown.
"""

import itertools
import random

import polars as pl
import pytest

NUM_ROWS = 1500
NUM_FILES = 5
NUM_PERMUTATIONS = 50
HEADER = "id,user,time,amount,shop,kind"


def random_lines(seed: int = 13) -> list[str]:
    """Rows of a busy ledger: many ties in time, some ids twice, some rows that cannot be read."""
    rng = random.Random(seed)
    lines = []
    for i in range(NUM_ROWS):
        id_ = rng.choice([f"{i}", f"{i}", f"x{i}", f"{rng.randrange(NUM_ROWS)}"])
        time = f"2024-01-0{rng.randrange(1, 4)} {rng.randrange(24):02}:00:00"
        amount = rng.choice([f"{rng.randrange(10**5) / 100:.2f}"] * 30 + ["", "1.005", "NaN"])
        user = rng.choice([f"u{rng.randrange(40)}"] * 30 + ["", " u1"])
        lines.append(f"{id_},{user},{time},{amount},s{rng.randrange(9)},{rng.choice(['food', 'rent', ''])}")
    return [*lines, "cut short,u1", "one,field,too,many,in,this,line"]


def write_files(folder, parts):
    folder.mkdir()
    for i, part in enumerate(parts):
        (folder / f"{i:02}.csv").write_text("\n".join([HEADER, *part]) + "\n")
    return folder


@pytest.fixture(scope="module")
def lines():
    return random_lines()


@pytest.fixture(scope="module")
def whole(lines, settle, tmp_path_factory):
    return settle(write_files(tmp_path_factory.mktemp("p13") / "whole", [lines]))


def reasons_of(settled) -> list:
    return sorted(settled.quarantined.select("reason", "original_line").rows())


def permuted_parts(lines):
    parts = [lines[i::NUM_FILES] for i in range(NUM_FILES)]
    orders = random.Random(50).sample(list(itertools.permutations(range(NUM_FILES))), NUM_PERMUTATIONS)
    return [[parts[i] for i in order] for order in orders]


def test_files_in_any_order_give_the_same_log(lines, whole, settle, digest, tmp_path):
    same = 0
    for i, parts in enumerate(permuted_parts(lines)):
        settled = settle(write_files(tmp_path / str(i), parts))
        same += digest(settled.log) == digest(whole.log) and reasons_of(settled) == reasons_of(whole)
    print(f"\nP13 {same} of {NUM_PERMUTATIONS} orders of {NUM_FILES} files give the same log / {NUM_PERMUTATIONS}")
    assert same == NUM_PERMUTATIONS
    assert whole.valid_events.height > 0.5 * NUM_ROWS
    assert whole.quarantined["reason"].n_unique() >= 6


def test_shuffled_rows_give_the_same_log(lines, whole, settle, digest, tmp_path):
    same = 0
    for seed in range(10):
        shuffled = random.Random(seed).sample(lines, len(lines))
        settled = settle(write_files(tmp_path / str(seed), [shuffled]))
        same += digest(settled.log) == digest(whole.log) and reasons_of(settled) == reasons_of(whole)
    print(f"\nP13 {same} of 10 shuffled files give the same log / 10")
    assert same == 10


def test_same_file_twice_gives_the_same_log(lines, whole, settle, digest, tmp_path):
    again = settle(write_files(tmp_path / "again", [lines]))
    twice = settle(write_files(tmp_path / "twice", [lines, lines]))
    assert digest(again.valid_events) == digest(whole.valid_events)
    assert digest(again.quarantined) == digest(whole.quarantined)
    assert digest(twice.log) == digest(whole.log)
    assert twice.quarantined.height == 2 * whole.quarantined.height + whole.valid_events.height
    print("\nP13 3 of 3 digests of the same file, read again and read twice over, are equal / 3")


@pytest.mark.parametrize("tie_break", [["id"], []])
def test_batches_and_ranges_leave_no_trace(tie_break, lines, settle, digest, tmp_path, monkeypatch):
    folder = write_files(tmp_path / "files", [lines])
    whole = settle(folder, tie_break=tie_break)
    monkeypatch.setattr("panther_pipeline.ledger.delimited.BATCH_ROWS", 97)
    settled = settle(folder, range_rows=100, tie_break=tie_break)
    assert digest(settled.valid_events) == digest(whole.valid_events)
    assert digest(settled.quarantined) == digest(whole.quarantined)


def test_ledger_without_ids_or_tie_breaks_depends_on_file_order(settle, digest):
    rows = {"user": "u", "time": "2024-01-01", "shop": "s", "kind": "food"}
    table = pl.DataFrame([rows | {"amount": "1"}, rows | {"amount": "2"}])
    changes = {"event_id": None, "tie_break": []}
    forth, back = settle(table, **changes).log, settle(table.reverse(), **changes).log
    assert digest(forth) != digest(back)
    assert sorted(forth["amount_cents"]) == sorted(back["amount_cents"])
    changes = {"event_id": None, "tie_break": ["amount"]}  # what the row holds may decide in an id's stead
    forth, back = settle(table, **changes).log, settle(table.reverse(), **changes).log
    assert digest(forth.drop("event_id")) == digest(back.drop("event_id"))


@pytest.mark.parametrize("name", ["ordering.tie_columns", "faults.tie_columns"])
def test_guard_notices_reliance_on_file_order(name, lines, settle, digest, tmp_path, monkeypatch):
    monkeypatch.setattr(f"panther_pipeline.ledger.{name}", lambda schema: [])
    if name == "faults.tie_columns":  # then content decides between copies, so rely on the file altogether
        monkeypatch.setattr("panther_pipeline.ledger.faults.event_columns", lambda schema: [])
    forth = settle(write_files(tmp_path / "forth", [lines]))
    back = settle(write_files(tmp_path / "back", [lines[::-1]]))
    assert digest(forth.log) != digest(back.log)
