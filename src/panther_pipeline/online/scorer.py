"""The decision on one transaction: token, features, deviation, head; the same steps as in bulk.

What a batch run computes from tables, this reads from the records of one user and one counterparty. The tokenizer, the
formulas of the features, the deviation and the head are the batch run's own.

Shape letters: F features, D width of the embedding, S = 3 surprise values.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from panther_pipeline.cache.stores.record_store import Key, RecordStore
from panther_pipeline.cache.surprises import standardise
from panther_pipeline.errors import StoreError, StoreMovedError
from panther_pipeline.features.activity import CounterpartyActivity
from panther_pipeline.features.event import OnlineEvent
from panther_pipeline.features.online import OnlineFeatures
from panther_pipeline.ledger.texts import MISSING_CATEGORY
from panther_pipeline.online.decision import (
    Decision,
    ExpectedTransaction,
    Ingested,
    NextTransactions,
    PastTransaction,
    UserTimeline,
)
from panther_pipeline.online.encoding import encode_event, name_event
from panther_pipeline.online.facts import StoreFacts, known_values
from panther_pipeline.online.history import CachedForecast, UserHistory
from panther_pipeline.online.ingest import Ingestor
from panther_pipeline.online.reasons import Explainer
from panther_pipeline.online.recent_users import RecentUsers
from panther_pipeline.online.record import UserRecord
from panther_pipeline.online.refresh import NO_EVENT
from panther_pipeline.online.schema import EventSchema
from panther_pipeline.scoring.head import FraudHead

_RECENT_USERS = 100  # remembered to be looked at
USERS_PER_REFRESH = 8  # one pass of the backbone, for which scores wait; with more, each user takes no less


@dataclass(frozen=True, kw_only=True)
class ScorerInputs:
    """What the head reads of one transaction, and what that was made of."""

    features_F: np.ndarray  # float32, in the order of the head's names
    embedding_D: np.ndarray  # float32; zeros without history
    surprises_S: np.ndarray  # float32: surprise (nats), surprise_z (standard deviations), cosine
    history_length: int  # events behind the embedding
    token: str  # readable
    forecast: CachedForecast | None
    is_new_user: bool


class OnlineScorer:
    """Scores transactions, takes in those that arrive, embeds their users again. One thread at a time."""

    def __init__(
        self,
        *,
        store: RecordStore,
        facts: StoreFacts,
        ingestor: Ingestor,
        head: FraudHead,
        touched: Iterable[str] = (),
    ) -> None:
        """Args: facts: of the store; ingestor: of the same run; touched: users to embed again soon."""
        self.store = store
        self.facts = facts
        self._ingestor = ingestor
        self._tokenizer = ingestor.tokenizer
        self._refresher = ingestor.refresher
        self._head = head
        self._features = OnlineFeatures(ingestor.activity.features, ingestor.activity.attributes)
        self._explainer = Explainer(head=head)
        self._columns_F = np.array([self._features.names.index(name) for name in head.feature_names], dtype=np.int64)
        self._touched = dict.fromkeys(touched)  # users to embed again: a set in order of arrival
        self._categories = ingestor.activity.attributes
        self._recent = RecentUsers(_RECENT_USERS)

    @property
    def identity(self) -> dict[str, str]:
        """Which model and which data decide: digests, and the generation of the store."""
        return {
            "backbone": self.facts.backbone_digest[:12],
            "tokenizer": self.facts.tokenizer_digest[:12],
            "features": self._head.identity["features_digest"][:12],
            "store": self.store.generation,
        }

    @property
    def schema(self) -> EventSchema:
        """Which parts an event of the served ledger has."""
        return self.facts.events.as_schema(known_values(self._tokenizer))

    @property
    def feature_names(self) -> list[str]:
        """The features that the head reads, in its order."""
        return self._head.feature_names

    def score(self, events: Sequence[OnlineEvent], explain: bool = False) -> list[Decision]:
        """The decision on each event, as if it were the only one: events of a call do not see each other.

        An event that the store already holds is scored as it was: from what lies before it.

        Raises:
            TooLateError: an event lies before what the store still knows of its user one by one.
        """
        self._recent.note(event.user_id for event in events)
        inputs = [self.inputs(event) for event in events]
        if not inputs:
            return []
        probabilities = self._head.score(
            np.array([i.features_F for i in inputs]),
            np.array([i.embedding_D for i in inputs]),
            np.array([i.surprises_S for i in inputs]),
        )
        return [
            self._decide(event, made, float(probability), explain)
            for event, made, probability in zip(events, inputs, probabilities, strict=True)
        ]

    def inputs(self, event: OnlineEvent) -> ScorerInputs:
        """What the head reads of one event."""
        event = self._complete(event)
        record, counterparty = self._read(event)
        history = record.history
        place = history.find(event.event_id)
        if place is None:
            place = history.place(event.time_us, event.event_id)
        token_id, attribute_ids = encode_event(self._tokenizer, event, history, place)
        history, forecast = self._as_of(event, history, place)
        surprise, cosine = self._refresher.deviation(forecast, token_id, np.asarray(attribute_ids))
        known = 0 if forecast is None else forecast.position + 1
        past = history.past_surprises(known - history.num_older) if known else (0, 0, 0)
        surprise_z = standardise(np.float32(surprise), *map(np.int64, past))
        width = self._refresher.backbone.config.dim
        return ScorerInputs(
            features_F=self._features.compute(event, record.activity, counterparty)[self._columns_F],
            embedding_D=np.zeros(width, np.float32) if forecast is None else forecast.embedding_D,
            surprises_S=np.array([surprise, surprise_z, cosine], np.float32),
            history_length=known,
            token=name_event(self._tokenizer, token_id, attribute_ids),
            forecast=forecast,
            is_new_user=history.num_events == 0,
        )

    def ingest(self, events: Sequence[OnlineEvent]) -> list[Ingested]:
        """Take in transactions that happened, one after the other; see `Ingestor.ingest`.

        Returns:
            One status per event, in order; of the first events alone if the records have moved to another generation
            meanwhile, with these events. The others belong to the scorer of that one.
        """
        self._recent.note(event.user_id for event in events)
        ingested: list[Ingested] = []
        for event in events:
            try:
                done = self._ingestor.ingest(self.store, self._complete(event))
            except StoreMovedError:
                break
            ingested.append(done)
            if done.status == "accepted":
                self._touched[event.user_id] = None
        return ingested

    def warm_up(self) -> None:
        """Build the model that refreshes compute with. Any thread may ask; a refresh meanwhile waits for it.

        Raises:
            ArtifactError: its weights are not what their description says.
        """
        self._refresher.warm_up()

    def refresh(self) -> int:
        """Embed some of the users again whose transactions arrived.

        Returns:
            How many were taken up; 0 = nobody waits, or the records have moved to another generation.
        """
        user_ids = list(self._touched)[:USERS_PER_REFRESH]
        for user_id in user_ids:
            del self._touched[user_id]
        if user_ids:
            try:
                self._touched |= dict.fromkeys(self._ingestor.refresh(self.store, user_ids))
            except StoreMovedError:
                return 0
            except StoreError:
                self._touched = dict.fromkeys(user_ids) | self._touched
                raise
        return len(user_ids)

    @property
    def num_touched(self) -> int:
        """Users that wait to be embedded again."""
        return len(self._touched)

    def is_outdated(self) -> bool:
        """Whether another generation of the store is published: time to load a scorer anew. Any thread may ask."""
        return self.store.is_outdated()

    def close(self) -> None:
        """Let go of the store."""
        self.store.close()

    def next_transactions(self, user_id: str, num: int) -> NextTransactions | None:
        """The likeliest next transactions of a user, likeliest first; None for one the store has never seen."""
        packed = self.store.get(("user", user_id))
        if packed is None:
            return None
        (history,) = self._refresher.refresh_histories([self._ingestor.unpack_user(packed).history])
        expected = () if history.forecast is None else self._name(*self._refresher.likeliest(history.forecast, num))
        return NextTransactions(history_length=history.num_events, expected=expected)

    def user(self, user_id: str) -> UserTimeline | None:
        """What is known of a user, event by event; None for one the store has never seen."""
        packed = self.store.get(("user", user_id))
        if packed is None:
            return None
        (history,) = self._refresher.refresh_histories([self._ingestor.unpack_user(packed).history])
        names = [
            name_event(self._tokenizer, int(token_id), attribute_ids)
            for token_id, attribute_ids in zip(history.token_ids_R, history.attribute_ids_RF, strict=True)
        ]
        rows = zip(history.time_us_R.tolist(), names, history.surprise_R.tolist(), strict=True)
        return UserTimeline(
            history_length=history.num_events,
            events=tuple(PastTransaction(time_us=time_us, token=token, surprise=s) for time_us, token, s in rows),
            expected=self._name_expected(history.forecast),
        )

    def sample_users(self, num: int) -> list[str]:
        """At most `num` users that the store knows: those that events came from last, then others."""
        recent = list(self._recent)
        found = self.store.get_many([("user", user_id) for user_id in recent])
        known = [user_id for user_id, packed in zip(recent, found, strict=True) if packed is not None]
        return list(dict.fromkeys([*known, *self.store.sample_users(num)]))[:num]

    def _complete(self, event: OnlineEvent) -> OnlineEvent:
        """As `valid_events` has it: an empty category is called so."""
        empty = {name: MISSING_CATEGORY for name in self._categories if event.attributes.get(name) is None}
        return replace(event, attributes={**event.attributes, **empty}) if empty else event

    def _read(self, event: OnlineEvent) -> tuple[UserRecord, CounterpartyActivity]:
        keys: list[Key] = [("user", event.user_id)]
        if event.counterparty is not None:
            keys.append(("counterparty", event.counterparty))
        packed = self.store.get_many(keys)
        return self._ingestor.unpack_user(packed[0]), self._ingestor.unpack_counterparty(
            packed[1] if len(packed) > 1 else None
        )

    def _as_of(self, event: OnlineEvent, history: UserHistory, place: int) -> tuple[UserHistory, CachedForecast | None]:
        """The forecast the event meets, computed now where the cache does not hold it."""
        position = self._refresher.as_of(history, event.time_us, place)
        if position == NO_EVENT:
            return history, None
        stop = position + 1 - history.num_older
        is_measured = not np.isnan(history.surprise_R[: max(0, stop)]).any()
        if is_measured and history.forecast is not None and history.forecast.position == position:
            return history, history.forecast
        history, forecast = self._refresher.forecast_at(history, position)
        self._touched[event.user_id] = None
        return history, forecast

    def _decide(self, event: OnlineEvent, made: ScorerInputs, probability: float, explain: bool) -> Decision:
        surprise, surprise_z, cosine = made.surprises_S.tolist()
        return Decision(
            event_id=event.event_id,
            probability=probability,
            surprise=surprise,
            surprise_z=surprise_z,
            cosine=cosine,
            history_length=made.history_length,
            is_new_user=made.is_new_user,
            token=made.token,
            expected=self._name_expected(made.forecast) if explain else (),
            reasons=self._explainer.explain(made.features_F, made.embedding_D, made.surprises_S) if explain else (),
        )

    def _name_expected(self, forecast: CachedForecast | None) -> tuple[ExpectedTransaction, ...]:
        return () if forecast is None else self._name(forecast.likeliest, forecast.probs_K)

    def _name(self, likeliest: np.ndarray, probs_K: np.ndarray) -> tuple[ExpectedTransaction, ...]:
        _, names = self._tokenizer.name_likeliest(likeliest)
        pairs = zip(names, probs_K.tolist(), strict=True)
        return tuple(ExpectedTransaction(token=name, prob=prob) for name, prob in pairs)
