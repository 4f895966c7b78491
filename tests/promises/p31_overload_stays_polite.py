"""P31: at four times its capacity the service answers what it can and refuses the rest at once.

The scorer takes 2 ms an event, so capacity is below 500 requests per second. Figures of latency are printed, not
asserted: they belong to a machine that does nothing else.
"""

import os
import re
from pathlib import Path

import pytest

DELAY_S = 0.002
CAPACITY_PER_S = 1 / DELAY_S
SECONDS = float(os.environ.get("PANTHER_OVERLOAD_SECONDS", "5"))  # 60 for the record
EVENT = {"user_id": "user-1", "event_id": "event-1", "event_time": "2023-11-14T22:13:19Z", "amount": "12.50"}


def memory_mb(process) -> float:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


def overload(service, open_loop, seconds):
    request = open_loop.post("/score", EVENT)
    open_loop.offer(service.port, request, rate_per_s=100, seconds=0.5)  # so that memory is what it is in use
    before_mb = memory_mb(service.process)
    outcomes = open_loop.offer(service.port, request, rate_per_s=4 * CAPACITY_PER_S, seconds=seconds)
    return outcomes, memory_mb(service.process) - before_mb


def check_politeness(outcomes) -> None:
    """Everybody is answered, some are refused, and they are told when to come again."""
    statuses = {outcome.status for outcome in outcomes}
    assert statuses == {200, 503}, {outcome.failure for outcome in outcomes}
    assert all(outcome.has_retry_after for outcome in outcomes if outcome.status == 503)


@pytest.mark.slow
def test_overload_is_refused_and_passes(start_service, open_loop):
    service = start_service("--delay-s", str(DELAY_S))
    outcomes, growth_mb = overload(service, open_loop, SECONDS)
    check_politeness(outcomes)
    assert growth_mb < 50
    service.wait_until(200, seconds=5)
    assert [service.ask("POST", "/score", EVENT)[0] for _ in range(20)] == [200] * 20
    metrics = service.ask("GET", "/metrics")[2].decode()
    assert "panther_requests_in_house 0.0" in metrics
    accepted = [outcome for outcome in outcomes if outcome.status == 200]
    refused = [outcome for outcome in outcomes if outcome.status == 503]
    took_s = max(outcome.done_s for outcome in outcomes) - outcomes[0].due_s
    print(
        f"\nP31 {len(outcomes)} offered in {took_s:.1f} s: {len(accepted)} answered ({len(accepted) / took_s:.0f} a s, "
        f"p99 {open_loop.percentile(accepted, 0.99):.0f} ms), {len(refused)} refused with Retry-After "
        f"(p99 {open_loop.percentile(refused, 0.99):.0f} ms), memory +{growth_mb:.0f} MB / 90 % of capacity, "
        "3 x at 90 %, 20 ms, 50 MB"
    )


@pytest.mark.slow
def test_queue_without_end_breaks_the_promise(start_service, open_loop):
    service = start_service("--delay-s", str(DELAY_S), "--sabotage", "endless queue", max_connections=10_000)
    outcomes, _ = overload(service, open_loop, 1)
    with pytest.raises(AssertionError):
        check_politeness(outcomes)
