"""P09: a new store is published and taken over while the service answers, and nobody notices.

A service of a finished run answers requests for eight scores each, at half of what it can, and takes in events beside
that. Meanwhile one generation of the store after the other is published. The records of the scored users say in their
length of history which generation they are of, so that each answer shows whether all its scores are of the generation
that it names. In the end every event that was taken in is there. Loading takes 3 s longer than that of a small ledger
does, as it does where users are many: nobody waits so long. Other latencies are printed, not asserted: they belong to a
machine that does nothing else.
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from panther_pipeline.cache.stores.lmdb_generation import write_generation
from panther_pipeline.online.as_sent import as_sent
from panther_pipeline.online.record import UserRecord
from panther_pipeline.publish import read_manifest

from ..conftest import ServiceProcess

AS_OF = "2024-12-01"
NUM_SWAPS = int(os.environ.get("PANTHER_SWAPS", "20"))
NUM_SCORED = 8  # events of a request, each of another user
SHIFT = 1 << 20  # events by which a generation makes the history of a scored user longer
EVENTS_PER_S = 10
LOAD_S = 3.0  # that loading takes longer
SETTINGS = {
    "reload_interval_s": 0.05,
    "max_in_house": 256,  # a refusal for want of room would hide who waits, and a machine with other work stalls
    "retry_after_s": 30,
}


@dataclass
class Shelf:
    """Where generations are published, and the number of each by its name."""

    folder: Path
    facts: dict
    records: dict
    marked: list[tuple]  # keys of the scored users
    config: object  # how activities were kept
    numbers: dict[str, int] = field(default_factory=dict)

    def publish(self) -> str:
        """The name of the next generation."""
        n = len(self.numbers)
        longer = {key: self._longer(self.records[key], n * SHIFT) for key in self.marked}
        write_generation(self.folder, (self.records | longer).items(), self.facts)
        name = read_manifest(self.folder)["generation"]
        self.numbers[name] = n
        return name

    def _longer(self, packed: bytes, num_events: int) -> bytes:
        record = UserRecord.unpack(packed, self.config)
        history = record.history
        forecast = replace(history.forecast, position=history.forecast.position + num_events)
        history = replace(history, num_events=history.num_events + num_events, forecast=forecast)
        return replace(record, history=history).pack()


@dataclass
class Case:
    shelf: Shelf
    scored: list  # one event of each scored user
    lengths: list[int]  # of their histories in generation 0
    arriving: list  # events of other users


@pytest.fixture
def case(finished_run, tmp_path) -> Case:
    online = finished_run.online_store(AS_OF, lateness_days=60)  # those who pay next move the clock of a shop on
    records = dict(online.records())
    events = [replace(event, label=None, label_time_us=None) for event in finished_run.events_from(AS_OF)[1]]
    first = {}
    for event in events:
        if ("user", event.user_id) in records:
            first.setdefault(event.user_id, event)
    chosen = [event for event in first.values() if length(records, online, event) > 64][:NUM_SCORED]
    assert len(chosen) == NUM_SCORED
    users = {event.user_id for event in chosen}
    shelf = Shelf(
        folder=tmp_path / "store",
        facts=online.facts.as_json(),
        records=records,
        marked=[("user", user_id) for user_id in users],
        config=online.activity,
    )
    shelf.publish()
    arriving = [event for event in events if event.user_id not in users]
    return Case(shelf, chosen, [length(records, online, event) for event in chosen], arriving)


def length(records, online, event) -> int:
    return UserRecord.unpack(records["user", event.user_id], online.activity).history.num_events


@contextmanager
def serving(run, case, project_root, log: Path, sabotage: str = "nothing"):
    """The service of the run over the store of the case, as a process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    parts = {"backbone": run.artifacts.backbone, "tokenizer": run.artifacts.tokenizer, "head": run.artifacts.head}
    options = [f"--{name}={path}" for name, path in (parts | {"store": case.shelf.folder}).items()]
    program = project_root / "tests" / "serving" / "spoilt_service.py"
    settings = json.dumps(SETTINGS)
    command = [
        sys.executable,
        str(program),
        sabotage,
        str(LOAD_S),
        *options,
        f"--port={port}",
        f"--settings={settings}",
    ]
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    service = ServiceProcess(process=process, port=port, log=log)
    try:
        service.wait_until(200)
        yield service
    finally:
        process.kill()
        process.wait()


class EventStream:
    """Takes events in, one after the other, until it is told to stop."""

    def __init__(self, service, events) -> None:
        self._service, self._events = service, iter(events)
        self._stop = threading.Event()
        self.sent, self.became = [], Counter()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.wait(1 / EVENTS_PER_S):
            self.sent.append(as_sent(next(self._events)))
            self.became[take_in(self._service, self.sent[-1])] += 1

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        self._thread.join()


def take_in(service, sent: dict) -> str:
    """What became of an event, or the status of an answer that does not say."""
    try:
        status, _, answer = service.ask("POST", "/events", sent)
    except OSError:
        return "no answer"
    return json.loads(answer)["events"][0]["status"] if status == 200 else str(status)


class Load:
    """Offers the same request at a constant rate until it is told to stop."""

    def __init__(self, open_loop, port: int, request: bytes, rate_per_s: float) -> None:
        self._stop, self.outcomes = threading.Event(), []
        how = {"rate_per_s": rate_per_s, "seconds": 600, "until": self._stop.is_set}
        self._thread = threading.Thread(target=lambda: self.outcomes.extend(open_loop.offer(port, request, **how)))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        self._thread.join()


def half_load(service, body: dict) -> float:
    """Requests per second that take the service half of its time."""
    took_s = []
    for _ in range(30):
        start = time.monotonic()
        assert service.ask("POST", "/score", body)[0] == 200
        took_s.append(time.monotonic() - start)
    return 0.5 / sorted(took_s)[len(took_s) // 2]


def is_mixed(case: Case, body: bytes) -> bool:
    """Whether a score of an answer is of another generation than the answer says."""
    answer = json.loads(body)
    n = case.shelf.numbers[answer["identity"]["store"]]
    lengths = [score["history_length"] for score in answer["scores"]]
    return lengths != [length + n * SHIFT for length in case.lengths]


def swap_under_load(service, case: Case, open_loop, num_swaps: int):
    """Outcomes before and during the swaps, and the stream of events of that time."""
    body = {"events": [as_sent(event) for event in case.scored]}
    request, rate = open_loop.post("/score", body), half_load(service, body)
    before = open_loop.offer(service.port, request, rate_per_s=rate, seconds=2)
    with Load(open_loop, service.port, request, rate) as load, EventStream(service, case.arriving) as stream:
        for _ in range(num_swaps):
            published, until = case.shelf.publish(), time.monotonic() + 60
            while json.loads(service.ask("GET", "/readyz")[2])["identity"]["store"] != published:
                assert time.monotonic() < until, "the new store is not taken over"
                time.sleep(0.02)
    return before, load.outcomes, stream


def count(case: Case, outcomes) -> dict[str, int]:
    """Answers, what is wrong with them, and how many generations they are of."""
    answered = [outcome for outcome in outcomes if outcome.status == 200]
    seen = {json.loads(outcome.body)["identity"]["store"] for outcome in answered}
    return {
        "failed": len(outcomes) - len(answered),
        "mixed": sum(is_mixed(case, outcome.body) for outcome in answered),
        "generations": len(seen),
    }


def slowest_s(outcomes) -> float:
    return max(outcome.latency_ms for outcome in outcomes) / 1000


@pytest.mark.slow
def test_swaps_under_load_fail_and_mix_nothing(finished_run, case, open_loop, project_root, tmp_path):
    with serving(finished_run, case, project_root, tmp_path / "log") as service:
        before, during, stream = swap_under_load(service, case, open_loop, NUM_SWAPS)
        repeated = Counter(take_in(service, sent) for sent in stream.sent)
    counts = count(case, during)
    print(
        f"\nP09 {counts['failed']} failed, {counts['mixed']} mixed of {len(during)} answers of {NUM_SCORED} scores in "
        f"{NUM_SWAPS} swaps ({counts['generations']} generations seen); p99 {open_loop.percentile(during, 0.99):.0f} "
        f"ms, {open_loop.percentile(before, 0.99):.0f} ms without swaps; {len(stream.sent)} events taken in, "
        f"{repeated['duplicate']} there in the end / 0, 0, 2 x"
    )
    assert (counts["failed"], counts["mixed"]) == (0, 0)
    assert slowest_s(during) < LOAD_S
    assert counts["generations"] > NUM_SWAPS / 2
    assert stream.became == {"accepted": len(stream.sent)}
    assert repeated == {"duplicate": len(stream.sent)}
    assert len(stream.sent) >= NUM_SWAPS


@pytest.mark.slow
def test_store_opened_in_the_request_path_breaks_the_promise(finished_run, case, open_loop, project_root, tmp_path):
    with serving(finished_run, case, project_root, tmp_path / "log", "open in the request path") as service:
        _, during, _ = swap_under_load(service, case, open_loop, 2)
    assert slowest_s(during) > LOAD_S


@pytest.mark.slow
def test_store_changed_in_place_breaks_the_promise(finished_run, case, open_loop, project_root, tmp_path):
    with serving(finished_run, case, project_root, tmp_path / "log", "change in place") as service:
        _, during, _ = swap_under_load(service, case, open_loop, 20)
    assert count(case, during)["mixed"] > 0
