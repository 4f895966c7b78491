"""The state of a user, and of a counterparty, from which the features of an event are computed without the ledger.

Each holds recent events one by one and the rest as exact sums; how long is `ActivityConfig`. "Ever" is the sums and the
events held; windows, and labels that are still young, reach no further than the events held. A state never changes:
adding an event returns another one. Which one depends on what was added, not on the order or on repetitions, as long as
events come within `lateness_days` of the newest of their user and of their counterparty.

Of the two, the user alone knows whom they met, so the user says when the pair last met; a counterparty with a million
customers needs no list of them. `add_event` does both.

Shape letters: E entries held, K codes.
"""

from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from panther_pipeline.errors import TooLateError
from panther_pipeline.features.config import ActivityConfig
from panther_pipeline.features.entries import (
    NO_ENTRIES,
    find_event,
    find_place,
    insert_entry,
    last_met_us,
    make_entry,
    split_kept,
    update_label,
)
from panther_pipeline.features.event import OnlineEvent, code_text
from panther_pipeline.features.packing import COUNTERPARTY, USER, pack_activity, unpack_activity
from panther_pipeline.features.past import NO_PAST, NOTHING_SEEN, Past, keep_first, keep_last, look_up
from panther_pipeline.units import BEFORE_ALL_US, DAY_US


@dataclass(frozen=True, kw_only=True, eq=False)
class _Activity:
    """What both sides keep."""

    config: ActivityConfig
    entries_E: np.ndarray = field(default_factory=lambda: NO_ENTRIES)
    past: Past = NO_PAST

    @classmethod
    def empty(cls, config: ActivityConfig) -> Self:
        """Somebody who has done nothing yet."""
        return cls(config=config)

    @property
    def newest_us(self) -> int:
        """The newest event; BEFORE_ALL_US = none yet."""
        return int(self.entries_E["time_us"][-1]) if len(self.entries_E) else BEFORE_ALL_US

    @property
    def num_events(self) -> int:
        """How many events were added, each counted once."""
        return self.past.count + len(self.entries_E)

    def check_in_time(self, time_us: int) -> None:
        """Refuse an instant of which this state no longer knows enough.

        Raises:
            TooLateError: it lies more than `lateness_days` before the newest event.
        """
        behind_us = self.newest_us - time_us
        if behind_us > self.config.lateness_us:
            raise TooLateError(
                f"an event is {behind_us / DAY_US:.2f} days older than the newest event of its {self._side}; events up "
                f"to {self.config.lateness_days} days late are taken. Older ones need the ledger: the next run of "
                "embed takes them in."
            )

    def _extend(self, event: OnlineEvent, event_code: int, other_code: int, met_before_us: int) -> Self:
        """This state with a new event, before anything is summed up."""
        self.check_in_time(event.time_us)
        place = find_place(self.entries_E, event.time_us, event_code)
        entry = make_entry(event, event_code, other_code, met_before_us)
        return replace(self, entries_E=insert_entry(self.entries_E, place, entry))

    def _relabel(self, place: int, event: OnlineEvent) -> Self:
        """This state with what a repetition of a held event says of its label."""
        entries_E = update_label(self.entries_E, place, event)
        return self if entries_E is self.entries_E else replace(self, entries_E=entries_E)._sum_up()

    def _sum_up(self) -> Self:
        """Events that nothing asks about one by one any more become sums."""
        kept_E, old_E = split_kept(self.entries_E, self.config)
        return self._forget(kept_E, old_E) if len(old_E) else self

    def _forget(self, kept_E: np.ndarray, old_E: np.ndarray) -> Self:
        return replace(self, entries_E=kept_E, past=self.past.add(old_E))


@dataclass(frozen=True, kw_only=True, eq=False)
class UserActivity(_Activity):
    """What a user did."""

    met_K: np.ndarray = field(default_factory=lambda: NOTHING_SEEN)  # counterparties of summed-up events: the last time
    values: tuple[np.ndarray, ...]  # (K,) per attribute of `config.novelty`: values ever seen, the first time
    _side = "user"

    @classmethod
    def empty(cls, config: ActivityConfig) -> Self:
        """A user who has done nothing yet."""
        return cls(config=config, values=(NOTHING_SEEN,) * len(config.novelty))

    def met_before_us(self, event: OnlineEvent) -> int:
        """When this user last met the event's counterparty before it; BEFORE_ALL_US = never, or there is none.

        Of two events at the same instant one comes before the other, by the code of their ids, so that one of them is
        the first; the same whether or not the event is in the state already.
        """
        place = find_place(self.entries_E, event.time_us, code_text(event.event_id))
        return self._last_met_us(place, code_text(event.counterparty))

    def last_met_us(self, time_us: int, counterparty_code: int) -> int:
        """When this user last met a counterparty strictly before an instant; BEFORE_ALL_US = never."""
        return self._last_met_us(int(self.entries_E["time_us"].searchsorted(time_us)), counterparty_code)

    def add(self, event: OnlineEvent) -> Self:
        """The state with this event; of one that is held already, with the label that it brings.

        Raises:
            TooLateError: the event is more than `lateness_days` behind this user's newest.
        """
        event_code, other_code = code_text(event.event_id), code_text(event.counterparty)
        place = find_event(self.entries_E, event_code)
        if place is not None:
            return self._relabel(place, event)
        grown = self._extend(event, event_code, other_code, self.met_before_us(event))
        return replace(grown, values=self._see_values(event))._sum_up()

    def pack(self) -> bytes:
        """The state as bytes (`packing`): equal states are equal bytes."""
        return pack_activity(USER, self.config, self.entries_E, self.past, [self.met_K, *self.values])

    @classmethod
    def unpack(cls, data: bytes, config: ActivityConfig) -> Self:
        """The state that was packed.

        Raises:
            ArtifactError: damaged bytes, another version, not a user, or kept under another configuration.
        """
        entries_E, past, (met_K, *values) = unpack_activity(data, USER, config, 1 + len(config.novelty))
        return cls(config=config, entries_E=entries_E, past=past, met_K=met_K, values=tuple(values))

    def _last_met_us(self, place: int, counterparty_code: int) -> int:
        met_us = last_met_us(self.entries_E[:place], counterparty_code)
        long_ago_us = look_up(self.met_K, counterparty_code)
        return met_us if long_ago_us is None else max(met_us, long_ago_us)

    def _see_values(self, event: OnlineEvent) -> tuple[np.ndarray, ...]:
        values = []
        for name, seen_K in zip(self.config.novelty, self.values, strict=True):
            code = event.attribute_code(name)
            first_us = look_up(seen_K, code)
            is_known = first_us is not None and first_us <= event.time_us
            values.append(seen_K if is_known else keep_first(seen_K, np.array([code]), np.array([event.time_us])))
        return tuple(values)

    def _forget(self, kept_E: np.ndarray, old_E: np.ndarray) -> Self:
        met_K = keep_last(self.met_K, old_E["other"], old_E["time_us"])
        return replace(super()._forget(kept_E, old_E), met_K=met_K)


@dataclass(frozen=True, kw_only=True, eq=False)
class CounterpartyActivity(_Activity):
    """What a counterparty saw."""

    _side = "counterparty"

    def add(self, event: OnlineEvent, met_before_us: int) -> Self:
        """The state with this event; of one that is held already, with the label that it brings.

        Args:
            event: at this counterparty.
            met_before_us: `UserActivity.met_before_us` of its user.

        Raises:
            TooLateError: the event is more than `lateness_days` behind this counterparty's newest.
        """
        event_code = code_text(event.event_id)
        place = find_event(self.entries_E, event_code)
        if place is not None:
            return self._relabel(place, event)
        return self._extend(event, event_code, code_text(event.user_id), met_before_us)._sum_up()

    def pack(self) -> bytes:
        """The state as bytes (`packing`): equal states are equal bytes."""
        return pack_activity(COUNTERPARTY, self.config, self.entries_E, self.past, [])

    @classmethod
    def unpack(cls, data: bytes, config: ActivityConfig) -> Self:
        """The state that was packed.

        Raises:
            ArtifactError: damaged bytes, another version, not a counterparty, or kept under another configuration.
        """
        entries_E, past, _ = unpack_activity(data, COUNTERPARTY, config, 0)
        return cls(config=config, entries_E=entries_E, past=past)


def add_event(
    event: OnlineEvent, user: UserActivity, counterparty: CounterpartyActivity | None
) -> tuple[UserActivity, CounterpartyActivity | None]:
    """The states of both sides with an event.

    Args:
        event: to add; a repetition changes nothing but a label.
        user: state of `event.user_id`.
        counterparty: state of `event.counterparty`; None = one never seen. Returned as it is for an event without one.

    Raises:
        TooLateError: it is too late for one of them; both stay what they were.
    """
    if event.counterparty is None:
        return user.add(event), counterparty
    counterparty = counterparty or CounterpartyActivity.empty(user.config)
    return user.add(event), counterparty.add(event, user.met_before_us(event))
