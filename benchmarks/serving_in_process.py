"""Scores, lookups, ingestion and refreshes without HTTP, in one process and one thread."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from panther_pipeline.cache.stores.lmdb_store import LmdbStore
from panther_pipeline.cache.stores.record_store import Key, RecordStore
from panther_pipeline.features.event import OnlineEvent
from panther_pipeline.online.scorer import USERS_PER_REFRESH, OnlineScorer
from serving_naive import Contest
from serving_timing import Timings

ROUNDS = 5
LOOKUPS, SCORES, EXPLAINED, BATCHES, CONTEST = 4_000, 400, 60, 10, 60  # calls of a round
BATCH = USERS = 64


def keys_of(event: OnlineEvent) -> list[Key]:
    """What a decision on the event reads."""
    user: Key = ("user", event.user_id)
    return [user] if event.counterparty is None else [user, ("counterparty", event.counterparty)]


def measure_lookups(timings: Timings, kind: str, store: RecordStore, events: list[OnlineEvent]) -> None:
    """A round of `get_many` of a user and a counterparty, in no order."""
    asked = [keys_of(event) for event in events[:LOOKUPS]]
    timings.add_round(kind, (lambda keys=keys: store.get_many(keys) for keys in asked))


def measure_decoding(timings: Timings, scorer: OnlineScorer, events: list[OnlineEvent]) -> None:
    """A round of reading both records from their bytes."""
    ingestor = scorer._ingestor

    def decoding(event: OnlineEvent):
        user, *others = scorer.store.get_many(keys_of(event))

        def decode() -> None:
            ingestor.unpack_user(user)
            for other in others:
                ingestor.unpack_counterparty(other)

        return decode

    timings.add_round("decode_records", [decoding(event) for event in events[:LOOKUPS]])


def measure_scores(timings: Timings, scorer: OnlineScorer, events: list[OnlineEvent]) -> None:
    """A round of decisions: one at a time, with an explanation, in batches."""
    timings.add_round("score", (lambda e=event: scorer.score([e]) for event in events[:SCORES]))
    timings.add_round(
        "score_explained", (lambda e=event: scorer.score([e], explain=True) for event in events[:EXPLAINED])
    )
    batches = [events[start : start + BATCH] for start in range(0, len(events), BATCH)][:BATCHES]
    full = [batch for batch in batches if len(batch) == BATCH]
    timings.add_round("score_batch_64_per_event", (lambda b=batch: scorer.score(b) for batch in full), units=BATCH)


def measure_changes(timings: Timings, scorer: OnlineScorer, arriving: list[OnlineEvent]) -> None:
    """A round of 64 users: an event of each arrives, each is scored while behind by it, all are embedded again."""
    statuses = []
    timings.add_round("ingest", (lambda e=event: statuses.extend(scorer.ingest([e])) for event in arriving))
    assert {done.status for done in statuses} == {"accepted"}, statuses
    after_us = max(event.time_us for event in arriving) + 1_000_000
    later = [replace(event, event_id=f"{event.event_id}+", time_us=after_us) for event in arriving]
    timings.add_round("score_behind_by_one", (lambda e=event: scorer.score([e]) for event in later))
    assert scorer.num_touched == len(arriving)
    passes = -(-len(arriving) // USERS_PER_REFRESH)
    timings.add_round(f"refresh_{USERS_PER_REFRESH}_users", [scorer.refresh] * passes)
    assert scorer.num_touched == 0


def measure_contest(timings: Timings, contest: Contest) -> None:
    """A round of the same events scored with the cache and without."""
    events = list(itertools.islice(itertools.cycle(contest.events), CONTEST))
    for kind, scorer in contest.ways.items():
        timings.add_round(kind, (lambda s=scorer, e=event: s.score([e]) for event in events))


@contextmanager
def opened(folder: Path) -> Iterator[LmdbStore]:
    """The store alone, without a scorer."""
    store = LmdbStore.open(folder)
    try:
        yield store
    finally:
        store.close()
