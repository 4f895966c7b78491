"""Transactions that arrive: into the records of their user and counterparty at once, embedded a moment later."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from panther_pipeline.cache.stores.record_store import Key, Records
from panther_pipeline.errors import TooLateError
from panther_pipeline.features.activity import CounterpartyActivity, UserActivity, add_event
from panther_pipeline.features.config import ActivityConfig
from panther_pipeline.features.event import OnlineEvent
from panther_pipeline.online.decision import Ingested, IngestStatus
from panther_pipeline.online.encoding import insert_event
from panther_pipeline.online.history import UserHistory
from panther_pipeline.online.journal import write_event
from panther_pipeline.online.record import UserRecord
from panther_pipeline.online.refresh import Refresher
from panther_pipeline.tokenizer.event_tokenizer import EventTokenizer


class _NothingChangedError(Exception):
    """Ends an update without a write and without a row in the journal."""


@dataclass(frozen=True, kw_only=True)
class Ingestor:
    """Changes records as events arrive; holds no store and no record itself."""

    tokenizer: EventTokenizer
    refresher: Refresher
    activity: ActivityConfig
    num_recent: int  # events of a user that are kept one by one

    def ingest(self, records: Records, event: OnlineEvent) -> Ingested:
        """Take in one transaction; in one atomic step for its user, its counterparty and the journal.

        Whatever the order of arrival, and however often an event comes, the records end the same. Of copies that differ
        the first to arrive counts; a label that one of them brings is taken over.

        Returns:
            too_late for an event before what the records still tell one by one: nothing has changed, it counts from the
            next build of the store on.
        """
        user: Key = ("user", event.user_id)
        keys = [user] if event.counterparty is None else [user, ("counterparty", event.counterparty)]
        status: list[IngestStatus] = []

        def change(packed: Mapping[Key, bytes | None]) -> dict[Key, bytes]:
            applied, changed = self._apply(event, keys, packed)
            if not changed:
                raise _NothingChangedError
            status[:] = [applied]
            return changed

        try:
            records.update(keys, change, journal=write_event(event))
        except _NothingChangedError:
            status[:] = ["duplicate"]
        except TooLateError:
            status[:] = ["too_late"]
        return Ingested(event_id=event.event_id, status=status[0])

    def refresh(self, records: Records, user_ids: Sequence[str]) -> list[str]:
        """Embed users again.

        Returns:
            Those of them of whom another event arrived in between: they are as they were.
        """
        keys: list[Key] = [("user", user_id) for user_id in user_ids]
        before = {key: packed for key, packed in zip(keys, records.get_many(keys), strict=True) if packed}
        users = [self.unpack_user(packed) for packed in before.values()]
        histories = self.refresher.refresh_histories([user.history for user in users])
        after = {
            key: replace(user, history=history.forget(self.refresher.first_kept(history, self.num_recent))).pack()
            for key, user, history in zip(before, users, histories, strict=True)
        }
        overtaken: list[str] = []

        def change(now: Mapping[Key, bytes | None]) -> dict[Key, bytes]:
            overtaken[:] = [user_id for kind, user_id in after if now[kind, user_id] != before[kind, user_id]]
            return {key: packed for key, packed in after.items() if key[1] not in overtaken}

        if after:
            records.update(list(after), change)
        return overtaken

    def unpack_user(self, packed: bytes | None) -> UserRecord:
        """The record of a user; of one without, that of somebody of whom nothing is known."""
        return self._stranger if packed is None else UserRecord.unpack(packed, self.activity)

    def unpack_counterparty(self, packed: bytes | None) -> CounterpartyActivity:
        """The record of a counterparty; of one without, that of one that nobody has met."""
        if packed is None:
            return CounterpartyActivity.empty(self.activity)
        return CounterpartyActivity.unpack(packed, self.activity)

    @cached_property
    def _stranger(self) -> UserRecord:
        history = UserHistory.empty(self.tokenizer.unknown_profile_P, len(self.tokenizer.fields))
        return UserRecord(history=history, activity=UserActivity.empty(self.activity))

    def _apply(
        self, event: OnlineEvent, keys: list[Key], packed: Mapping[Key, bytes | None]
    ) -> tuple[IngestStatus, dict[Key, bytes]]:
        """What becomes of the event, and the records it changes."""
        record = self.unpack_user(packed[keys[0]])
        counterparty = self.unpack_counterparty(packed[keys[1]]) if len(keys) > 1 else None
        user, other = add_event(event, record.activity, counterparty)
        is_new = user.num_events > record.activity.num_events and record.history.find(event.event_id) is None
        history = self._insert(event, record.history) if is_new else record.history
        changed: dict[Key, bytes] = {}
        if is_new or user is not record.activity:
            changed[keys[0]] = UserRecord(history=history, activity=user).pack()
        if other is not None and other is not counterparty:
            changed[keys[1]] = other.pack()
        return ("accepted" if is_new else "label_updated"), changed

    def _insert(self, event: OnlineEvent, history: UserHistory) -> UserHistory:
        place = history.place(event.time_us, event.event_id)
        if not self.refresher.can_measure(history, place):
            raise TooLateError(
                f"an event lies before {history.num_kept - place} of the {history.num_kept} newest events of its user, "
                "more than can be measured again. It will count after the next run of embed."
            )
        return insert_event(self.tokenizer, event, history, place)
