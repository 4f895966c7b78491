"""The service under load from another process: what it can, half of that, four times that, and what comes after."""

import statistics
from pathlib import Path
from typing import Any

from panther_pipeline.online.load import ScorerArtifacts
from serving_process import RunningService, serve

_STARTS = 3
_CLOSED_CONNECTIONS = 4  # enough that the scorer always has the next request, few enough that none is refused
_SHARES = (0.8, 0.9, 1.0, 1.1)  # of what the closed loop found
_SHORTEST_STEP_S = 2.0
_LATE_CLIENT_MS, _BUSY_CLIENT = 1.0, 0.8  # p99 of how late it sends; of a processor


def measure_start(artifacts: ScorerArtifacts, settings: dict[str, Any], log: Path) -> dict[str, Any]:
    """Seconds from exec to ready, and memory then; medians of a few starts. The store lies in the file cache."""
    ready_s, memory = [], []
    for _ in range(_STARTS):
        with serve(artifacts, settings, log) as service:
            ready_s.append(service.start_s)
            memory.append(service.memory_mb())
    return {
        "ready_s": round(statistics.median(ready_s), 2),
        "each_s": [round(s, 2) for s in ready_s],
        "memory_mb": {name: statistics.median(m[name] for m in memory) for name in memory[0]},
    }


def measure_http(
    artifacts: ScorerArtifacts, settings: dict[str, Any], requests: Path, seconds: float, log: Path
) -> dict[str, Any]:
    """Capacity, then half of it for `seconds`, then four times as much for half as long, then half again."""
    with serve(artifacts, settings, log) as service:
        service.wait_until_warm()
        service.load(requests, f"--closed={_CLOSED_CONNECTIONS}", f"--seconds={min(2, seconds)}")  # first requests
        steps = find_capacity(service, requests, max(_SHORTEST_STEP_S, seconds / 12))
        name, best = max(steps.items(), key=lambda step: step[1]["answered_per_s"])
        capacity = best["answered_per_s"]
        half = service.load(requests, f"--rate={capacity / 2}", f"--seconds={seconds}")
        before = service.memory_mb()
        overload = service.load(requests, f"--rate={4 * capacity}", f"--seconds={seconds / 2}")
        recovery = service.load(requests, f"--rate={capacity / 2}", f"--seconds={min(10, seconds)}")
        after = service.memory_mb()
    return {
        "capacity_per_s": capacity,
        "capacity_step": name,
        "requests_per_s_per_core": round(capacity / (best["service_cpu_s"] / _seconds_of(best)), 1),
        "half_load": half,
        "overload": {
            **overload,
            "refused_share": round(overload["refused"] / overload["offered"], 4),
            "goodput_share_of_capacity": round(overload["answered_per_s"] / capacity, 3),
            "p99_to_that_at_90_percent": _ratio(overload["p99_ms"], steps["open 0.9"]["p99_ms"]),
            "memory_growth_mb": round(after["RssAnon"] - before["RssAnon"], 1),
        },
        "recovery": {**recovery, "normal_after_s": recovery["last_refused_s"] or 0.0},
        "memory_mb": after,
        "steps": steps,
        "client_was_late_or_busy": [
            kind
            for kind, step in (steps | {"half_load": half, "overload": overload}).items()
            if is_client_late(kind, step)
        ],
    }


def find_capacity(service: RunningService, requests: Path, seconds: float) -> dict[str, dict[str, Any]]:
    """Offered loads around what a closed loop finds: answers a second grow with the load up to what the service can."""
    closed = service.load(requests, f"--closed={_CLOSED_CONNECTIONS}", f"--seconds={seconds}")
    steps = {f"closed {_CLOSED_CONNECTIONS}": closed}
    for share in _SHARES:
        rate = share * closed["answered_per_s"]
        steps[f"open {share}"] = service.load(requests, f"--rate={rate}", f"--seconds={seconds}")
    return steps


def is_client_late(kind: str, step: dict[str, Any]) -> bool:
    """Whether the client sends later than due, or has no time left.

    A late one makes latencies look longer, never shorter, since they count from the due time. In a closed loop nothing
    is due before it is sent.
    """
    is_open = not kind.startswith("closed")
    return (is_open and step["send_lag_p99_ms"] > _LATE_CLIENT_MS) or step["client_cpu_share"] > _BUSY_CLIENT


def _seconds_of(step: dict[str, Any]) -> float:
    return step["answered"] / step["answered_per_s"]


def _ratio(one: float | None, other: float | None) -> float | None:
    return round(one / other, 2) if one and other else None
