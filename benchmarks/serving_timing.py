"""Times of many calls, kind by kind: kinds take turns within a round, so that a slow moment of the machine hits all."""

import gc
import statistics
import time
from collections.abc import Callable, Iterable
from contextlib import contextmanager

import numpy as np

Call = Callable[[], object]


class Timings:
    """Milliseconds per unit of work of every call, by kind and round."""

    def __init__(self) -> None:
        self._rounds: dict[str, list[list[float]]] = {}

    def add_round(self, kind: str, calls: Iterable[Call], units: int = 1) -> None:
        """Make the calls of one round, each timed by itself.

        Args:
            kind: of call.
            calls: each is made once.
            units: of work in a call, such as the events of a batch.
        """
        found = []
        with _collected():
            for call in calls:
                start = time.perf_counter_ns()
                call()
                found.append((time.perf_counter_ns() - start) / 1e6 / units)
        self._rounds.setdefault(kind, []).append(found)

    def p50_ms(self, kind: str) -> float:
        """Median over the rounds of each round's median."""
        return statistics.median(statistics.median(times) for times in self._rounds[kind])

    def ratio(self, kind: str, to: str) -> float:
        """Median over the rounds of the ratio of the medians."""
        pairs = zip(self._rounds[kind], self._rounds[to], strict=True)
        return statistics.median(statistics.median(one) / statistics.median(other) for one, other in pairs)

    def summary(self) -> dict[str, dict[str, float]]:
        """kind → p50_ms (median of the rounds), p99_ms and p999_ms (of all calls together), calls."""
        found = {}
        for kind, rounds in self._rounds.items():
            times = np.concatenate([np.asarray(times) for times in rounds])
            p99, p999 = np.percentile(times, [99, 99.9]).tolist()
            found[kind] = {
                "p50_ms": round(self.p50_ms(kind), 5),
                "p99_ms": round(p99, 5),
                "p999_ms": round(p999, 5),
                "calls": len(times),
            }
        return found


@contextmanager
def _collected():
    """What earlier calls left is collected before; the collector stays on, as in a service."""
    gc.collect()
    yield
