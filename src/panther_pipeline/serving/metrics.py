"""Counters of the service in the format of Prometheus; no label holds anything that a caller sent."""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from panther_pipeline.online.decision import Ingested
from panther_pipeline.serving.admission import Admission
from panther_pipeline.serving.logs import known_method

_BUCKETS_S = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """All counters of one service, in a registry of their own: two services in one process do not add up."""

    def __init__(self, admission: Admission) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "panther_requests", "Requests answered.", ["method", "route", "status"], registry=registry
        )
        self._durations = Histogram(
            "panther_request_duration_seconds",
            "From the headers of a request to its answer.",
            ["route"],
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self._scored = Counter("panther_events_scored", "Events scored.", registry=registry)
        self._ingested = Counter("panther_events_ingested", "Events taken in.", ["status"], registry=registry)
        self._refreshed = Counter("panther_users_refreshed", "Users embedded again after events.", registry=registry)
        self._failed_refreshes = Counter("panther_refresh_failures", "Refreshes that failed.", registry=registry)
        self._reloads = Counter("panther_reloads", "Scorers loaded anew and put in place.", registry=registry)
        self._failed_reloads = Counter("panther_reload_failures", "Reloads that failed.", registry=registry)
        self.ready = Gauge("panther_ready", "1 while requests for scores are answered.", registry=registry)
        self.warm = Gauge("panther_warm", "1 once the model is built that users are embedded with.", registry=registry)
        inside = Gauge("panther_requests_in_house", "Requests that wait or are worked on.", registry=registry)
        inside.set_function(lambda: admission.inside)

    def count_request(self, *, method: str, route: str, status: int, duration_s: float) -> None:
        """One request, by the template of its path."""
        self.prepare_count(method=method, route=route, status=status)(duration_s)

    def prepare_count(self, *, method: str, route: str, status: int) -> Callable[[float], None]:
        """What counts a request of a kind that comes often; called with its duration in seconds."""
        requests = self._requests.labels(known_method(method), route, str(status))
        durations = self._durations.labels(route)

        def count(duration_s: float) -> None:
            requests.inc()
            durations.observe(duration_s)

        return count

    def count_scored(self, num_events: int) -> None:
        """Events that were given a score."""
        self._scored.inc(num_events)

    def count_ingested(self, ingested: Iterable[Ingested]) -> None:
        """Events that were handed in, by what became of them."""
        for event in ingested:
            self._ingested.labels(event.status).inc()

    def count_refreshed(self, num_users: int) -> None:
        """Users that the background refresh embedded."""
        self._refreshed.inc(num_users)

    def count_failed_refresh(self) -> None:
        """A refresh that ended in an exception."""
        self._failed_refreshes.inc()

    def count_reload(self) -> None:
        """A scorer of a new store that has taken over."""
        self._reloads.inc()

    def count_failed_reload(self) -> None:
        """A new store that could not be loaded: the old scorer goes on."""
        self._failed_reloads.inc()

    def exposition(self) -> bytes:
        """All of them as text."""
        return generate_latest(self._registry)
