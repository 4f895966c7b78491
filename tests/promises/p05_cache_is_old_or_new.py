"""P05: the cache is the old generation or the new one, never a mixture and never half.

Builds: a child process publishes one generation after the other and is killed with SIGKILL while another one reads a
user and a counterparty, which must always be of the same generation; after each kill the store opens, its digests are
verified, and all its records are of one generation, no older than the last that was told to be published. Updates: two
child processes count a user and a counterparty up, a third publishes generations and moves to them, all are killed at
once; what is left has every event that was told to be stored, once, and no half of one. The children are forked by a
process that runs no thread and has no store open.
"""

import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import lmdb
import pytest

from panther_pipeline.cache.stores.lmdb_generation import RECORDS, write_generation
from panther_pipeline.cache.stores.lmdb_store import LmdbStore
from panther_pipeline.errors import ArtifactError
from panther_pipeline.publish import read_manifest

PAIR = [("user", "7"), ("counterparty", "7")]
KEYS = [(kind, str(i)) for kind in ("user", "counterparty") for i in range(1500)]
FACTOR = 10**6  # the number of a generation times this, plus the number of events


def records(n: int) -> list:
    return [(key, b"%d" % n * 40) for key in KEYS]


def build(folder: Path, told: int) -> None:
    """Publish generations without end; tell the number of each once it is there."""
    n = read_manifest(folder)["facts"]["n"]
    while True:
        n += 1
        write_generation(folder, records(n), {"n": n})
        os.write(told, b"%d\n" % n)


def build_in_place(folder: Path, told: int) -> None:
    """The sabotage: write over the file that readers have open, a part at a time."""
    path, n = folder / read_manifest(folder)["generation"] / RECORDS, read_manifest(folder)["facts"]["n"]
    env = lmdb.open(str(path), subdir=False, lock=False, map_size=1 << 26)
    os.write(told, b"%d\n" % n)
    while True:
        n += 1
        for i in range(0, len(KEYS), 100):
            with env.begin(write=True) as txn:
                for key, record in records(n)[i : i + 100]:
                    txn.put(key[0][:1].encode() + key[1].encode(), record)


def read(folder: Path, told: int) -> None:
    """Read the pair until a file `stop` appears; tell the number of reads, of generations seen, of mixtures."""
    reads = mixed = 0
    seen = set()
    with closing(LmdbStore.open(folder)) as store:
        while not (folder.parent / "stop").exists():
            store.reopen_if_changed()
            for _ in range(20):
                pair = store.get_many(PAIR)
                reads, mixed = reads + 1, mixed + (pair[0] != pair[1])
                seen.add(pair[0])
    os.write(told, json.dumps({"reads": reads, "mixed": mixed, "generations": len(seen)}).encode())


def plus_one(before: dict) -> dict:
    return {key: b"%d" % (int(record) + 1) for key, record in before.items()}


def replay(store, row: bytes) -> None:
    store.update(PAIR, plus_one, row)


def count_up(folder: Path, told: int) -> None:
    """Store events without end; tell each once it is stored."""
    store = LmdbStore.open(folder, replay=replay)
    while True:
        store.update(PAIR, plus_one, b"%d" % os.getpid())
        os.write(told, b"%d\n" % os.getpid())
        time.sleep(0.001)  # the events have to be applied again in every move


def count_up_by_halves(folder: Path, told: int) -> None:
    """The sabotage: the two records in a step each."""
    store = LmdbStore.open(folder, replay=replay)
    while True:
        store.update(PAIR[:1], plus_one, b"%d" % os.getpid())
        time.sleep(0.02)  # long beside a step, so that a kill nearly always finds one of the writers between its two
        store.update(PAIR[1:], plus_one)
        os.write(told, b"%d\n" % os.getpid())


def publish_and_move(folder: Path, told: int) -> None:
    store = LmdbStore.open(folder, replay=replay)
    n = read_manifest(folder)["facts"]["n"]
    while True:
        n += 1
        write_generation(folder, [(key, b"%d" % (n * FACTOR)) for key in PAIR], {"n": n})
        store.reopen_if_changed()
        os.write(told, b"%d\n" % n)


def start(work: Callable, folder: Path) -> tuple[int, int]:
    """A forked child at `work`: its process id and the end of the pipe in which it tells."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            work(folder, writing)
        finally:
            os._exit(0)
    os.close(writing)
    return pid, reading


def kill_all(children: list[tuple[int, int]], delay_s: float) -> list[list[bytes]]:
    """SIGKILL all children `delay_s` after each has told something; what each told."""
    for _, reading in children:
        select.select([reading], [], [], 20)
    time.sleep(delay_s)
    for pid, _ in children:
        os.kill(pid, signal.SIGKILL)
    lines = []
    for pid, reading in children:
        os.waitpid(pid, 0)
        with os.fdopen(reading, "rb") as told:
            lines.append(told.read().split())
    return lines


def whole_and_no_older(folder: Path, told: int) -> bool:
    try:
        with closing(LmdbStore.open(folder)) as store:
            n = store.facts["n"]
            return n >= told and store.get_many(KEYS) == [record for _, record in records(n)]
    except (ArtifactError, lmdb.Error):
        return False


def kill_builds(scratch: Path, num_kills: int, builder: Callable) -> dict[str, int]:
    folder, rng = scratch / "store", random.Random(2)
    write_generation(folder, records(1), {"n": 1})
    reader, reading = start(read, folder)
    good = inside = 0
    for _ in range(num_kills):
        [told] = kill_all([start(builder, folder)], rng.uniform(0, 0.1))
        inside += any(path.name.endswith(".partial") for path in folder.iterdir())
        good += whole_and_no_older(folder, int(told[-1]))
    (scratch / "stop").touch()
    with os.fdopen(reading, "rb") as told:
        seen = json.loads(told.read() or b'{"reads": 0, "mixed": 1, "generations": 0}')  # nothing if the reader died
    os.waitpid(reader, 0)
    return {"good": good, "inside": inside, **seen}


def every_event_once(folder: Path, told: int) -> bool:
    with closing(LmdbStore.open(folder, replay=replay)) as store:
        rows = list(store.journal())
        expected = b"%d" % (store.facts["n"] * FACTOR + len(rows))
        numbered = [seq for seq, _ in rows] == list(range(1, len(rows) + 1))
        return store.get_many(PAIR) == [expected, expected] and numbered and len(rows) >= told


def kill_updates(
    scratch: Path, num_kills: int, writer: Callable, movers: tuple = (publish_and_move,)
) -> dict[str, int]:
    rng, good, moved, events = random.Random(4), 0, 0, 0
    for kill in range(num_kills):
        if kill % 5 == 0:  # each generation takes over all events so far
            told, folder = 0, scratch / f"store{kill}"
            write_generation(folder, [(key, b"%d" % FACTOR) for key in PAIR], {"n": 1})
        told_by = kill_all([start(work, folder) for work in (writer, writer, *movers)], rng.uniform(0, 0.05))
        lines, moves = told_by[:2], told_by[2:]
        told, moved = told + sum(map(len, lines)), moved + sum(map(len, moves))
        events += sum(map(len, lines))
        good += every_event_once(folder, told)
    return {"good": good, "moved": moved, "events": events}


def in_own_process(scratch: Path, task: str, num_kills: int, work: Callable) -> dict[str, int]:
    command = [sys.executable, str(Path(__file__).resolve()), str(scratch), task, str(num_kills), work.__name__]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60 + 10 * num_kills, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    return json.loads(result.stdout)


KILLS = pytest.mark.parametrize("num_kills", [10, pytest.param(100, marks=pytest.mark.slow)])


@KILLS
def test_killed_build_leaves_one_whole_generation(tmp_path, num_kills):
    counts = in_own_process(tmp_path, "builds", num_kills, build)
    print(
        f"\nP05 {counts['good']} of {num_kills} kills leave one whole generation, {counts['inside']} cut a build "
        f"short; {counts['mixed']} of {counts['reads']} reads ({counts['generations']} generations) mixed / {num_kills}"
    )
    assert (counts["good"], counts["mixed"]) == (num_kills, 0)
    assert counts["inside"] > num_kills / 4
    assert counts["generations"] > num_kills / 4


@KILLS
def test_killed_update_and_move_leave_every_event_once(tmp_path, num_kills):
    counts = in_own_process(tmp_path, "updates", num_kills, count_up)
    print(
        f"\nP05 {counts['good']} of {num_kills} kills of all writers leave every event once: "
        f"{counts['events']} events, {counts['moved']} moves to a new generation / {num_kills}"
    )
    assert counts["good"] == num_kills
    assert counts["moved"] >= num_kills
    assert counts["events"] > 10 * num_kills


def test_guard_notices_a_build_in_place(tmp_path):
    counts = in_own_process(tmp_path, "builds", 3, build_in_place)
    assert counts["good"] == 0
    assert counts["mixed"] > 0


def test_guard_notices_half_an_update(tmp_path):
    """Without moves: to replay the journal into a new generation would make the halves whole."""
    assert in_own_process(tmp_path, "updates in place", 6, count_up_by_halves)["good"] < 6


if __name__ == "__main__":
    scratch, task, num_kills, work = sys.argv[1:]
    in_place = partial(kill_updates, movers=())
    kill = {"builds": kill_builds, "updates": kill_updates, "updates in place": in_place}[task]
    print(json.dumps(kill(Path(scratch), int(num_kills), globals()[work])))
