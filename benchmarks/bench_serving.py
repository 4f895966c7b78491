"""What a decision costs: store, scorer, HTTP under load, and the naive way beside them: `bench_serving.py LEDGER`.

    kedro run
    python benchmarks/bench_serving.py simulated

Reads what the last run of the ledger left in data/ and writes nothing there: the store is built anew as of three weeks
before the ledger ends, and the transactions of those weeks are asked about. Latencies under load count from the instant
a request was due, at a constant rate. Writes benchmarks/results/serving_<ledger>_<machine>.json.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import click
import numpy as np
import torch

from common import ROOT, write_result

sys.path.insert(0, str(ROOT))
from tests.finished_run import FinishedRun
from tests.serving import open_loop
from tests.serving.test_replay import as_json

from panther_pipeline.cache.stores.lmdb_generation import write_generation
from panther_pipeline.cache.stores.lmdb_store import LmdbStore
from panther_pipeline.features.event import OnlineEvent
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.model.batch import EventBatch
from panther_pipeline.online.load import load_scorer
from panther_pipeline.settings import CONFIG_LOADER_ARGS, CONFIG_LOADER_CLASS

HISTORY = 256  # events that the naive way reads again for each request
ROUNDS = 5
IN_HOUSE = 8  # serving.max_in_house


def quantiles(seconds: list[float], scale: float = 1e3) -> dict[str, float]:
    """p50, p99 and p99.9 in milliseconds."""
    names = {"p50": 0.5, "p99": 0.99, "p999": 0.999}
    return {name: round(scale * float(np.quantile(seconds, share)), 4) for name, share in names.items()}


def timed(function, items) -> list[float]:
    """Seconds of each call."""
    seconds = []
    for item in items:
        start = time.perf_counter()
        function(item)
        seconds.append(time.perf_counter() - start)
    return seconds


def measure_store(scorer, events: list[OnlineEvent]) -> dict:
    keys = [[("user", e.user_id), ("counterparty", e.counterparty)] for e in events if e.counterparty]
    return {
        "lookup_of_both_records_ms": quantiles(timed(scorer.store.get_many, keys)),
        "lookup_and_decoding_ms": quantiles(timed(scorer._read, events)),
    }


def naive_backbone(backbone: Backbone) -> Backbone:
    """The same backbone for 256 events; its weights are random, which the time does not depend on."""
    config = backbone.config.model_copy(update={"max_events": HISTORY})
    return Backbone(
        config, vocab_size=backbone.vocab_size, attribute_sizes=backbone.attribute_sizes,
        profile_sizes=backbone.profile_sizes, tokenizer_kind=backbone.tokenizer_kind,
    ).eval()  # fmt: skip


def long_history(backbone: Backbone) -> EventBatch:
    rng = np.random.default_rng(0)
    ids = np.stack([rng.integers(1, size, HISTORY) for size in backbone.attribute_sizes], axis=1)
    return EventBatch.from_arrays(
        token_ids=[rng.integers(1, backbone.vocab_size, HISTORY)],
        attribute_ids=[ids],
        time_us=[1_700_000_000_000_000 + np.cumsum(rng.integers(1, 10**11, HISTORY))],
        profile_ids=[np.ones(len(backbone.profile_sizes), np.int64)],
    )


def measure_scoring(scorer, backbone: Backbone, events: list[OnlineEvent]) -> dict:
    """One event from the cache, and with 256 events read again by the backbone; interleaved."""
    naive, batch = naive_backbone(backbone), long_history(backbone)

    def read_again(event: OnlineEvent) -> None:
        with torch.inference_mode():
            naive(batch)
        scorer.score([event])

    cached, again = [], []
    for start in range(0, len(events), len(events) // ROUNDS):
        part = events[start : start + len(events) // ROUNDS]
        cached.append(timed(lambda event: scorer.score([event]), part))
        again.append(timed(read_again, part[:50]))
    ratios = [statistics.median(a) / statistics.median(c) for a, c in zip(again, cached, strict=True)]
    one = [second for part in cached for second in part]
    with_batch = timed(scorer.score, [events[i : i + 64] for i in range(0, len(events) - 64, 64)])
    return {
        "in_process_ms": quantiles(one),
        "in_process_p50_ms": quantiles(one)["p50"],
        "in_process_with_reasons_ms": quantiles(timed(lambda e: scorer.score([e], explain=True), events[:500])),
        "batch_of_64_ms_per_event": round(1e3 * statistics.median(with_batch) / 64, 4),
        "naive_ms": quantiles([second for part in again for second in part]),
        "recompute_ratio": round(statistics.median(ratios), 1),
        "recompute_ratios": [round(ratio, 1) for ratio in ratios],
    }


def measure_arrivals(scorer, events: list[OnlineEvent]) -> dict:
    ingest = timed(lambda event: scorer.ingest([event]), events)
    behind = timed(lambda event: scorer.score([replace(event, event_id="x", time_us=event.time_us + 1)]), events[-300:])
    refresh = []
    while True:
        start = time.perf_counter()
        if not (users := scorer.refresh()):
            break
        refresh.append((time.perf_counter() - start) / users)
    return {
        "ingest_ms": quantiles(ingest),
        "score_of_a_user_who_is_behind_ms": quantiles(behind),
        "refresh_ms_per_user": round(1e3 * statistics.median(refresh), 4),
    }


class Service:
    """`python -m panther_pipeline.serving` on a free port."""

    def __init__(self, run: FinishedRun, store: Path) -> None:
        paths = {**vars(run.artifacts), "store": store}
        options = [part for name, path in paths.items() for part in (f"--{name}", str(path))]
        settings = json.dumps({"port": 0, "max_future_s": None})
        command = [sys.executable, "-m", "panther_pipeline.serving", *options, "--settings", settings]
        self._log = store.with_suffix(".log")
        start = time.monotonic()
        with self._log.open("w") as log:
            self.process = subprocess.Popen(command, stderr=log, stdout=log, cwd=ROOT)
        while "127.0.0.1:" not in (said := self._log.read_text()):
            time.sleep(0.01)
        self.port = int(said.partition("127.0.0.1:")[2].split()[0])
        while not self._is_ready():
            time.sleep(0.02)
        self.start_s = time.monotonic() - start

    def _is_ready(self) -> bool:
        outcome = asyncio.run(self._ask(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"))
        return outcome.status == 200

    async def _ask(self, request: bytes):
        return await open_loop._ask(self.port, request, time.monotonic(), [])

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mb(self) -> float:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return round(next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024, 1)

    def offer(self, requests: list[bytes], rate: float, seconds: float):
        async def go():
            tasks, idle, start = [], [], time.monotonic()
            for i in range(int(rate * seconds)):
                due = start + i / rate
                if (wait := due - time.monotonic()) > 0:
                    await asyncio.sleep(wait)
                tasks.append(asyncio.create_task(open_loop._ask(self.port, requests[i % len(requests)], due, idle)))
            return await asyncio.gather(*tasks)

        return open_loop.uvloop.run(go())

    def saturate(self, requests: list[bytes], seconds: float):
        """As many as one can be in the house, each connection asking again when it is answered."""

        async def ask_again(worker: int):
            outcomes, idle, end = [], [], time.monotonic() + seconds
            while time.monotonic() < end:
                request = requests[(worker + len(outcomes)) % len(requests)]
                outcomes.append(await open_loop._ask(self.port, request, time.monotonic(), idle))
            return outcomes

        async def go():
            parts = await asyncio.gather(*(ask_again(worker) for worker in range(IN_HOUSE)))
            return [outcome for part in parts for outcome in part]

        return open_loop.uvloop.run(go())

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def summarise(outcomes) -> dict:
    accepted = [o for o in outcomes if o.status == 200]
    refused = [o for o in outcomes if o.status == 503]
    seconds = max(o.done_s for o in outcomes) - min(o.due_s for o in outcomes)
    return {
        "offered_per_s": round(len(outcomes) / seconds, 1),
        "goodput_per_s": round(len(accepted) / seconds, 1),
        "accepted_ms": quantiles([o.latency_ms / 1e3 for o in accepted]) if accepted else {},
        "refused_share": round(len(refused) / len(outcomes), 4),
        "refused_ms": quantiles([o.latency_ms / 1e3 for o in refused]) if refused else {},
        "refused_with_retry_after": all(o.has_retry_after for o in refused),
        "other": len(outcomes) - len(accepted) - len(refused),
    }


def measure_http(service: Service, events: list[OnlineEvent], seconds: float) -> dict:
    requests = [open_loop.post("/score", as_json(event)) for event in events]
    service.saturate(requests, 2)  # warm
    before, start = service.cpu_s(), time.monotonic()
    full = summarise(service.saturate(requests, min(10, seconds)))
    cores = (service.cpu_s() - before) / (time.monotonic() - start)
    capacity = full["goodput_per_s"]
    half = summarise(service.offer(requests, capacity / 2, seconds))
    overload = summarise(service.offer(requests, 4 * capacity, seconds / 4))
    after = summarise(service.offer(requests, capacity / 2, 5))
    return {
        "capacity_per_s": capacity,
        "cores_used_at_capacity": round(cores, 2),
        "requests_per_s_per_core": round(capacity / cores, 1),
        "half_load": half,
        "http_p99_ms_half_load": half["accepted_ms"]["p99"],
        "overload_4x": overload,
        "after_overload_half_load": after,
        "memory_mb": service.memory_mb(),
    }


def many_users(run: FinishedRun, folder: Path, num_users: int) -> Path:
    """A store with so many users: the run's records under other ids."""
    source = run.online_store(None)
    records = list(source.records())
    users = [(key, packed) for key, packed in records if key[0] == "user"]
    others = [(key, packed) for key, packed in records if key[0] != "user"]
    copies = ((("user", f"{key[1]}-{i}"), packed) for i in range(-(-num_users // len(users))) for key, packed in users)
    write_generation(
        folder,
        [*others, *(record for record, _ in zip(copies, range(num_users), strict=False))],
        source.facts.as_json(),
    )
    return folder


@click.command()
@click.argument("ledger")
@click.option("--env", help="Environment of the ledger; by default its name, base for the simulated one.")
@click.option("--data", type=click.Path(path_type=Path), default=ROOT / "data")
@click.option("--seconds", default=60.0, help="Of half load.")
@click.option("--users", default=200_000, help="In the store whose start is timed.")
def main(ledger: str, env: str | None, data: Path, seconds: float, users: int) -> None:
    torch.set_num_threads(1)
    environment = env or ("base" if ledger == "simulated" else ledger)
    params = CONFIG_LOADER_CLASS(str(ROOT / "conf"), env=environment, **CONFIG_LOADER_ARGS)["parameters"]
    run = FinishedRun(data, ledger, params)
    as_of = str((run.events["event_time"].max() - timedelta(days=21)).date())
    _, events = run.events_from(as_of, 5000)
    unknown = [replace(event, label=None, label_time_us=None) for event in events]
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        run.online_store(as_of).save(store)
        service = Service(run, store)
        http = {"start_s": round(service.start_s, 2), **measure_http(service, unknown[:500], seconds)}
        service.stop()
        scorer = load_scorer(replace(run.artifacts, store=store))
        scorer.score(unknown[:200])
        record = {**measure_store(scorer, unknown), **measure_scoring(scorer, run.backbone, unknown[:2500])}
        record |= measure_arrivals(scorer, events)
        scorer.close()
        large = Service(run, many_users(run, Path(folder) / "large", users))
        record |= {
            "start_s_many_users": round(large.start_s, 2),
            "many_users": users,
            "memory_mb_many_users": large.memory_mb(),
        }
        large.stop()
        opened = [timed(lambda path: LmdbStore.open(path).close(), [Path(folder) / "large"])[0] for _ in range(3)]
        record["verify_and_open_s_many_users"] = round(statistics.median(opened), 3)
        record["store_mb_many_users"] = round(
            sum(f.stat().st_size for f in (Path(folder) / "large").rglob("*.mdb")) / 1e6
        )
    write_result(f"serving_{ledger}", {**record, "http": http, "http_p99_ms_half_load": http["http_p99_ms_half_load"],
                                       "requests_per_s_per_core": http["requests_per_s_per_core"]})  # fmt: skip


if __name__ == "__main__":
    main()
