"""How fast scores come, in one process and over HTTP: `python benchmarks/bench_serving.py LEDGER`.

    kedro run [--env=ENV]
    python benchmarks/bench_serving.py simulated [--env=base] [--data=data] [--users=200000] [--seconds=60]

Needs a finished run of LEDGER below --data, and writes nothing there. The store is that of the run as of four weeks
before its end (--as-of), with as many users as --users says: the run's own, and others made from them. The events are
the ledger's own of those four weeks. Under load are real processes: the service (python -m panther_pipeline.serving)
and a client (serving_load.py) that sends at a constant rate, from whose due times latency is counted.

    lookup_*, decode_records   get_many([user, counterparty]) of LMDB alone, of records that events have changed (live),
                               of Redis if redis-server is there (of fewer users, in memory); their decoding
    score*, ingest, refresh_*  in one process and thread, a call each: p50 is the median of the rounds, p99 and p99.9
                               are of all calls
    recompute_ratio            a score with the state computed from 256 events / one with the cache (serving_naive.py);
                               by_layers: with deeper backbones than the run's
    capacity_per_s             most answers a second of the steps of offered load; requests_per_s_per_core: over the
                               processor seconds per second that the service took meanwhile
    half_load, overload        at half of that for --seconds, at four times for half as long; then half again: recovery
    start                      from exec to ready with that store, in file cache; memory

Writes benchmarks/results/serving_<ledger>_<machine>_<cores>cores.json.
"""

import argparse
import json
import statistics
import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch

from common import write_result
from panther_pipeline.cache.stores.lmdb_generation import write_generation
from panther_pipeline.features.event import OnlineEvent
from panther_pipeline.online.as_sent import as_sent
from panther_pipeline.online.build import OnlineStore
from panther_pipeline.online.load import ScorerArtifacts, load_scorer
from serving_http import measure_http, measure_start
from serving_in_process import (
    LOOKUPS,
    ROUNDS,
    USERS,
    measure_changes,
    measure_contest,
    measure_decoding,
    measure_lookups,
    measure_scores,
    opened,
)
from serving_naive import DEEPER, prepare_contest
from serving_redis import served_by_redis
from serving_run import Crowd, ServedRun
from serving_timing import Timings

_REDIS_USERS = 5_000
_NUM_LIVE = 1_000
_NUM_REQUESTS = 5_000


def write_store(online: OnlineStore, num_users: int, folder: Path) -> Crowd:
    """A store of many users like those of the run."""
    crowd = Crowd(dict(online.records()), online.activity, num_users)
    write_generation(folder, crowd.records(), online.facts.as_json())
    return crowd


def measure_in_process(
    run: ServedRun, online: OnlineStore, events: list[OnlineEvent], crowd: Crowd, folder: Path
) -> tuple[Timings, dict[str, Any]]:
    """Everything but HTTP; the store of the crowd in `folder`/crowd is left as it was.

    Returns:
        The times, and what the contest with the naive way rests on.
    """
    timings, asked = Timings(), crowd.spread(events, LOOKUPS)
    changed = write_store(online, 2 * ROUNDS * USERS, folder / "changed")
    arriving = sorted(changed.spread(events, ROUNDS * USERS), key=lambda event: event.time_us)
    scorer, changing = (load_scorer(replace(run.artifacts, store=folder / name)) for name in ("crowd", "changed"))
    contest = prepare_contest(run, online, events, folder / "contest")
    scorer.score(asked[:50])  # so that the first round is like the others
    contest.check()
    for number in range(ROUNDS):
        measure_lookups(timings, "lookup_lmdb", scorer.store, asked)
        measure_decoding(timings, scorer, asked)
        measure_scores(timings, scorer, asked)
        measure_changes(timings, changing, arriving[number * USERS : (number + 1) * USERS])
        measure_contest(timings, contest)
    rows = statistics.median(contest.naive_whole._features.num_rows)
    for one in (scorer, changing, contest):
        one.close()
    return timings, {**contest.facts, "median_ledger_rows_per_score": rows}


def measure_other_lookups(
    timings: Timings, run: ServedRun, events: list[OnlineEvent], crowd: Crowd, folder: Path
) -> None:
    """Of records in Redis, and of live ones over the generation: the last, for the store is another one after that."""
    few = Crowd(crowd.own_records, crowd.config, min(_REDIS_USERS, crowd.num_users))
    with served_by_redis(few.records(), folder) as store:
        if store is not None:
            for _ in range(ROUNDS):
                measure_lookups(timings, "lookup_redis", store, few.spread(events, LOOKUPS))
    asked = sorted(crowd.spread(events, LOOKUPS), key=lambda event: event.time_us)
    scorer = load_scorer(replace(run.artifacts, store=folder / "crowd"))
    changed = [event for event in asked[:_NUM_LIVE] if scorer.ingest([event])[0].status == "accepted"]
    scorer.close()
    with opened(folder / "crowd") as store:
        for _ in range(ROUNDS):
            measure_lookups(timings, "lookup_lmdb_live", store, changed)
            measure_lookups(timings, "lookup_lmdb_beside_live", store, asked[_NUM_LIVE:] or asked)


def measure(run: ServedRun, as_of: str, num_users: int, seconds: float, folder: Path) -> dict[str, Any]:
    """The record, but for what every result says."""
    online, events = run.store(as_of), run.events_from(as_of)
    crowd = write_store(online, num_users, folder / "crowd")
    timings, contest = measure_in_process(run, online, events, crowd, folder)
    artifacts: ScorerArtifacts = replace(run.artifacts, store=folder / "crowd")
    requests = folder / "requests.jsonl"
    sent = [json.dumps(as_sent(event)) for event in crowd.spread(events, _NUM_REQUESTS)]
    requests.write_text("\n".join(sent) + "\n")
    start = measure_start(artifacts, run.params["serving"], folder / "service.log")
    http = measure_http(artifacts, run.params["serving"], requests, seconds, folder / "service.log")
    store_mb = sum(file.stat().st_size for file in (folder / "crowd").rglob("records.mdb")) / 2**20
    measure_other_lookups(timings, run, events, crowd, folder)
    return {
        "in_process_p50_ms": round(timings.p50_ms("score"), 4),
        "http_p99_ms_half_load": http["half_load"]["p99_ms"],
        "recompute_ratio": round(timings.ratio("naive_backbone_256_events", "cached_256_events"), 2),
        "recompute_ratio_with_features": round(timings.ratio("naive_whole_256_events", "cached_256_events"), 2),
        "recompute_ratio_by_layers": {
            run.backbone.config.num_layers: round(timings.ratio("naive_backbone_256_events", "cached_256_events"), 2),
            **{
                num_layers: round(timings.ratio(f"naive_{num_layers}_layers_256_events", "cached_256_events"), 2)
                for num_layers in DEEPER
            },
        },
        "requests_per_s_per_core": http["requests_per_s_per_core"],
        "as_of": as_of,
        "store": {"users": crowd.num_users, "users_of_the_run": len(crowd.originals), "mb": round(store_mb, 1)},
        "in_process": timings.summary(),
        "rounds": ROUNDS,
        "recompute": contest,
        "start": start,
        "http": http,
    }


def print_table(record: dict[str, Any]) -> None:
    """The numbers for a reader."""
    print(f"\n{'one process, one thread':32}{'p50 ms':>10}{'p99 ms':>10}{'p99.9 ms':>10}{'calls':>8}")
    for kind, times in record["in_process"].items():
        print(f"{kind:32}{times['p50_ms']:10.4f}{times['p99_ms']:10.4f}{times['p999_ms']:10.4f}{times['calls']:8}")
    print(f"\n{'over HTTP':32}{'p50 ms':>10}{'p99 ms':>10}{'p99.9 ms':>10}{'/s':>8}{'refused':>9}{'client':>8}")
    http = record["http"]
    for kind, step in (http["steps"] | {k: http[k] for k in ("half_load", "overload", "recovery")}).items():
        if step["p50_ms"] is not None:
            numbers = f"{step['p50_ms']:10.2f}{step['p99_ms']:10.2f}{step['p999_ms']:10.2f}"
            share = f"{step['refused'] / step['offered']:9.1%}{step['client_cpu_share']:8.0%}"
            print(f"{kind:32}{numbers}{step['answered_per_s']:8.0f}{share}")
    start, store = record["start"], record["store"]
    print(
        f"\ncapacity {http['capacity_per_s']:.0f} a s, {record['requests_per_s_per_core']:.0f} per core; recomputing "
        f"takes {record['recompute_ratio']:.1f} x, with features {record['recompute_ratio_with_features']:.1f} x; "
        f"ready in {start['ready_s']:.1f} s with {store['users']} users ({store['mb']:.0f} MB), "
        f"{start['memory_mb']['VmRSS']:.0f} MB resident; client late or busy: {http['client_was_late_or_busy'] or 'no'}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ledger")
    parser.add_argument("--env", help="of conf/ that describes the ledger; base for `simulated`, else its name")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--as-of", help="ISO date; four weeks before the last event by default")
    parser.add_argument("--dry", action="store_true", help="print the table and record nothing")
    args = parser.parse_args()
    torch.set_num_threads(1)  # as the service has it
    env = args.env or ("base" if args.ledger == "simulated" else args.ledger)
    run = ServedRun(args.data.resolve(), args.ledger, env)
    as_of = args.as_of or (run.events["event_time"].max() - timedelta(weeks=4)).strftime("%Y-%m-%d")
    with tempfile.TemporaryDirectory(prefix="bench_serving.") as folder:
        record = measure(run, as_of, args.users, args.seconds, Path(folder))
    print_table(record)
    if args.dry:
        print(json.dumps(record))
    else:
        write_result(f"serving_{args.ledger}", record)


if __name__ == "__main__":
    main()
