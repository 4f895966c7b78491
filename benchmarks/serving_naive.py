"""What a score costs without a cache: the user's history is read and the state computed anew for each request.

Two of them, since features can be kept or computed as well:

    naive_backbone    the backbone reads 256 events of the user and forecasts; features come from the cached activity
    naive_whole       besides, features come from the ledger's rows of the user and of the counterparty
    naive_4_layers    naive_backbone with a deeper backbone of the same width, random weights; likewise 8

Both are spared what else such a service would do: the rows lie in memory, parted by user and counterparty, tokens are
encoded already, and the surprises of the past, which the score is standardised by, are taken from the record.

A state reads between half of `max_events` and all of it (`cache.states`), so the histories measured are those of 256
events of which it reads all. A run whose backbone reads fewer is measured with one of the same sizes that reads 256,
with random weights: time does not depend on them. `cached` is the scorer over the records of the same users.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from panther_pipeline.cache.stores.lmdb_generation import write_generation
from panther_pipeline.cache.stores.lmdb_store import LmdbStore
from panther_pipeline.features.event import OnlineEvent
from panther_pipeline.features.online import OnlineFeatures
from panther_pipeline.features.point_in_time import compute_features
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.online.build import OnlineStore
from panther_pipeline.online.event_ids import EventIds
from panther_pipeline.online.history import UserHistory
from panther_pipeline.online.ingest import Ingestor
from panther_pipeline.online.record import UserRecord
from panther_pipeline.online.refresh import Refresher
from panther_pipeline.online.scorer import OnlineScorer
from panther_pipeline.online.served_backbone import ServedBackbone
from panther_pipeline.scoring.head import FraudHead
from serving_run import ServedRun

NUM_EVENTS = 256
NUM_USERS = 32
DEEPER = (4, 8)  # layers


class NaiveScorer(OnlineScorer):
    """Computes the state of each request's user from the events that are kept."""

    def _as_of(self, event, history, place):
        position = self._refresher.as_of(history, event.time_us, place)
        return self._refresher.forecast_at(replace(history, forecast=None), position)


class LedgerFeatures(OnlineFeatures):
    """Features from rows of the ledger, as the batch run computes them."""

    def __init__(self, online: OnlineFeatures, events: pl.DataFrame, as_of_us: int, chosen: list[OnlineEvent]) -> None:
        vars(self).update(vars(online))
        self.num_rows: list[int] = []  # read for each score
        past = events.filter(pl.col("event_time").dt.epoch("us") < as_of_us)
        self._of_user = {e.user_id: past.filter(user_id=e.user_id) for e in chosen}
        self._of_counterparty = {e.counterparty: past.filter(counterparty=e.counterparty) for e in chosen}
        ids = [event.event_id for event in chosen]
        self._row = {row["event_id"][0]: row for row in events.filter(pl.col("event_id").is_in(ids)).iter_slices(1)}

    def compute(self, event, user, counterparty=None) -> np.ndarray:
        others = self._of_counterparty[event.counterparty].filter(pl.col("user_id") != event.user_id)
        rows = pl.concat([self._of_user[event.user_id], others, self._row[event.event_id]])
        self.num_rows.append(rows.height)
        return compute_features(rows, self._config).drop("event_id")[-1].to_numpy()[0]


@dataclass(frozen=True, kw_only=True)
class Contest:
    """Ways to the score of the same events."""

    events: list[OnlineEvent]
    cached: OnlineScorer
    naive_backbone: OnlineScorer
    naive_whole: OnlineScorer
    naive_deeper: dict[int, OnlineScorer]  # by layers
    facts: dict[str, object]

    def check(self) -> None:
        """With the cache and without comes the same score: both ways do the same work."""
        ways = (self.cached, self.naive_backbone)
        kept, anew = ([decision.probability for decision in way.score(self.events)] for way in ways)
        assert np.abs(np.subtract(kept, anew)).max() < 1e-5

    @property
    def ways(self) -> dict[str, OnlineScorer]:
        return {
            "cached_256_events": self.cached,
            "naive_backbone_256_events": self.naive_backbone,
            "naive_whole_256_events": self.naive_whole,
            **{f"naive_{num_layers}_layers_256_events": way for num_layers, way in self.naive_deeper.items()},
        }

    def close(self) -> None:
        self.cached.close()


def prepare_contest(run: ServedRun, online: OnlineStore, events: list[OnlineEvent], folder: Path) -> Contest:
    """The users with the longest histories, as records of 256 events each, in a store of their own.

    Args:
        run: the run.
        online: its store as of an instant.
        events: at or after that instant.
        folder: of the store that is written.
    """
    backbone = reading_256(run.backbone)
    refresher = _refresher(backbone, run, online)
    records = dict(online.records())
    chosen = _longest(records, online, events)
    users = [UserRecord.unpack(records["user", event.user_id], online.activity) for event in chosen]
    long = [of_256_events(user.history) for user in users]
    histories = refresher.refresh_histories(long, [event.time_us for event in chosen])
    for event, user, history in zip(chosen, users, histories, strict=True):
        records["user", event.user_id] = replace(user, history=history).pack()
    write_generation(folder, records.items(), online.facts.as_json())
    parts = {
        "store": LmdbStore.open(folder),
        "facts": online.facts,
        "head": FraudHead.load(run.artifacts.head),
        "ingestor": _ingestor(refresher, run, online),
    }
    deeper = {num_layers: _refresher(reading_256(run.backbone, num_layers), run, online) for num_layers in DEEPER}
    whole = NaiveScorer(**parts)
    whole._features = LedgerFeatures(whole._features, run.events, online.facts.as_of_us, chosen)
    return Contest(
        events=chosen,
        cached=OnlineScorer(**parts),
        naive_backbone=NaiveScorer(**parts),
        naive_whole=whole,
        naive_deeper={
            num_layers: NaiveScorer(**{**parts, "ingestor": _ingestor(one, run, online)})
            for num_layers, one in deeper.items()
        },
        facts={
            "history_events": NUM_EVENTS,
            "users": len(chosen),
            "run_backbone_reads": run.backbone.max_events,
            "measured_backbone": "the run's" if backbone is run.backbone else "same sizes, random weights, reads 256",
            "fewest_real_events_of_a_history": min(user.history.num_kept for user in users),
        },
    )


def reading_256(backbone: Backbone, num_layers: int | None = None) -> Backbone:
    """The backbone, or one of its sizes that reads 256 events; with another number of layers, if one is given."""
    wanted = {"max_events": NUM_EVENTS, "num_layers": num_layers or backbone.config.num_layers}
    found = backbone.config.model_dump()
    if found == found | wanted:
        return backbone
    config = type(backbone.config)(**found | wanted)
    return Backbone(
        config,
        vocab_size=backbone.vocab_size,
        attribute_sizes=backbone.attribute_sizes,
        profile_sizes=backbone.profile_sizes,
        tokenizer_digest=backbone.tokenizer_digest,
        tokenizer_kind=backbone.tokenizer_kind,
    ).eval()


def _refresher(backbone: Backbone, run: ServedRun, online: OnlineStore) -> Refresher:
    return Refresher(
        backbone=ServedBackbone.of(backbone),
        counts_V=run.tokenizer.vocabulary.counts_V,
        refresh=online.facts.refresh,
        num_next=online.facts.num_next_transactions,
    )


def _ingestor(refresher: Refresher, run: ServedRun, online: OnlineStore) -> Ingestor:
    return Ingestor(tokenizer=run.tokenizer, refresher=refresher, activity=online.activity, num_recent=2 * NUM_EVENTS)


def of_256_events(history: UserHistory) -> UserHistory:
    """The newest 256 events of a history as all there are; a shorter one is repeated, each time further in the past."""
    history = history.forget(history.num_kept - NUM_EVENTS)
    times = -(-NUM_EVENTS // history.num_kept)
    span_us = int(history.time_us_R[-1] - history.time_us_R[0]) + 3_600_000_000

    def tile(values_R: np.ndarray) -> np.ndarray:
        return np.concatenate([values_R] * times)[-NUM_EVENTS:]

    back_R = np.repeat(np.arange(times)[::-1] * span_us, history.num_kept)[-NUM_EVENTS:]
    ids = [f"{turn}{name}" for turn in range(times) for name in history.event_ids]
    return replace(
        history,
        num_events=NUM_EVENTS,
        time_us_R=tile(history.time_us_R) - back_R,
        token_ids_R=tile(history.token_ids_R),
        attribute_ids_RF=tile(history.attribute_ids_RF),
        surprise_R=np.nan_to_num(tile(history.surprise_R), nan=1.0),
        event_ids=EventIds.of(ids[-NUM_EVENTS:]),
        older_surprise=0,
        older_squares=0,
        forecast=None,
    )


def _longest(records: dict, online: OnlineStore, events: list[OnlineEvent]) -> list[OnlineEvent]:
    """The next event of each of the users with the longest histories."""
    first: dict[str, OnlineEvent] = {}
    for event in events:
        if ("user", event.user_id) in records:
            first.setdefault(event.user_id, event)
    lengths = {
        user_id: UserRecord.unpack(records["user", user_id], online.activity).history.num_events for user_id in first
    }
    chosen = sorted(first, key=lambda user_id: -lengths[user_id])[:NUM_USERS]
    return [first[user_id] for user_id in chosen if lengths[user_id] > 0]
