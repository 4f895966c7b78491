"""A scorer that is known by heart, and the service around it as a process: `python fake_scorer.py --port 8123`."""

import argparse
import sys
import threading
import time
from pathlib import Path

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from panther_pipeline.errors import ArtifactError
from panther_pipeline.online.decision import (
    Decision,
    ExpectedTransaction,
    Ingested,
    NextTransactions,
    PastTransaction,
    Reason,
    UserTimeline,
)
from panther_pipeline.online.schema import AttributeSchema, EventSchema
from panther_pipeline.serving.config import ServingConfig
from panther_pipeline.serving.server import serve

SCHEMA = EventSchema(
    attributes=(
        AttributeSchema(name="channel", kind="category", example="online", known=("online", "chip")),
        AttributeSchema(name="distance", kind="number", example=12.5),
        AttributeSchema(name="class", kind="category", example="a"),  # a Python keyword is a name like any other
    ),
    has_counterparty=True,
    amount_range_cents=(-10_000_000, 10_000_000),
    earliest_us=0,
    latest_us=4_102_444_800_000_000,  # 2100
    has_labels=True,
    amount_required=True,
)


class FakeScorer:
    """Counts and remembers; takes `delay_s` per event. Users named 'nobody' have no history."""

    def __init__(
        self,
        *,
        delay_s: float = 0.0,
        stalls: dict[int, float] | None = None,
        schema: EventSchema = SCHEMA,
        to_refresh: int = 0,
    ) -> None:
        self.identity = {"model": "m1", "tokenizer": "t1", "store": "g1"}
        self.schema = schema
        self.delay_s = delay_s
        self.stalls = dict(stalls or {})  # seconds by the number of a call
        self.to_refresh = to_refresh
        self.scored, self.ingested, self.threads, self.calls = [], [], set(), []
        self.fails_with: Exception | None = None
        self.probability = 0.25
        self.outdated, self.closed = False, False
        self.warmth: list[int] = []  # how many calls came before each warm-up
        self.may_warm_up, self.cannot_warm_up = threading.Event(), False
        self.may_warm_up.set()
        self.takes_in: int | None = None  # events, before the state has moved on

    def _begin(self, what: str, num_events: int = 1) -> None:
        self.calls.append(what)
        self.threads.add(threading.get_ident())
        time.sleep(self.delay_s * num_events + self.stalls.pop(len(self.calls), 0.0))
        if self.fails_with:
            raise self.fails_with

    def score(self, events, explain):
        self._begin("score", len(events))
        self.scored += events
        expected = (ExpectedTransaction(token="groceries 10-20", prob=0.5),) if explain else ()
        reasons = (Reason(what="amount", effect=0.7),) if explain else ()
        return [
            Decision(
                event_id=event.event_id, probability=self.probability, surprise=1.5, surprise_z=0.1, cosine=0.9,
                history_length=3, is_new_user=False, token="groceries 20-50", expected=expected, reasons=reasons,
            )
            for event in events
        ]  # fmt: skip

    def ingest(self, events):
        self._begin("ingest", len(events))
        if self.takes_in is not None:
            events, self.takes_in = events[: self.takes_in], max(0, self.takes_in - len(events))
        self.ingested += events
        self.to_refresh += len(events)
        return [Ingested(event_id=event.event_id, status="accepted") for event in events]

    def next_transactions(self, user_id, num):
        self._begin("next")
        if user_id == "nobody":
            return None
        return NextTransactions(
            history_length=3, expected=(ExpectedTransaction(token="groceries 10-20", prob=0.5),) * num
        )

    def user(self, user_id):
        self._begin("user")
        if user_id == "nobody":
            return None
        events = tuple(PastTransaction(time_us=i, token="groceries 10-20", surprise=1.5) for i in range(300))
        expected = (ExpectedTransaction(token="groceries 10-20", prob=0.5),)
        return UserTimeline(history_length=400, events=events, expected=expected)

    def sample_users(self, num):
        self._begin("users")
        return [f"user-{i}" for i in range(num)]

    def warm_up(self):
        self.warmth.append(len(self.calls))
        self.may_warm_up.wait()
        if self.cannot_warm_up:
            raise ArtifactError("weight x has shape [1], the description says [2]")

    def refresh(self):
        self._begin("refresh", 0)
        done = min(self.to_refresh, 2)
        self.to_refresh -= done
        return done

    def is_outdated(self):
        return self.outdated

    def close(self):
        self.closed = True


def sabotage(name: str) -> None:
    """Take away what a promise rests on, to see that its test notices."""
    from panther_pipeline.serving import admission, app, server

    if name == "endless queue":
        admission.Admission.is_full = property(lambda _: False)
    elif name == "stock errors":
        app._add_refusals = lambda _: None
    elif name == "stock protocol":
        server.guard_connections = lambda *_: HttpToolsProtocol
    else:
        raise ValueError(name)


def main() -> None:
    """Serve it; `--wait-for` holds back loading until a file is there, `--fail` lets loading fail."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", default="{}", help="ServingConfig as JSON")
    parser.add_argument("--delay-s", type=float, default=0.0)
    parser.add_argument("--stall-at", type=int, default=0, help="number of the call that takes --stall-s longer")
    parser.add_argument("--stall-s", type=float, default=0.0)
    parser.add_argument("--wait-for", type=Path)
    parser.add_argument("--fail", action="store_true")
    parser.add_argument("--sabotage")
    arguments = parser.parse_args()

    def load() -> FakeScorer:
        while arguments.wait_for and not arguments.wait_for.exists():
            time.sleep(0.02)
        if arguments.fail:
            raise ValueError("digest abc of the model is not digest def of the store")
        return FakeScorer(delay_s=arguments.delay_s, stalls={arguments.stall_at: arguments.stall_s})

    if arguments.sabotage:
        sabotage(arguments.sabotage)
    config = ServingConfig.model_validate_json(arguments.config)
    sys.setswitchinterval(config.switch_interval_s)  # as panther_pipeline.serving.__main__ does
    serve(load, config)


if __name__ == "__main__":
    main()
