"""The events of a group, a user or a counterparty, that its state still holds one by one.

An array of `ENTRY`, sorted by (time_us, event), in which no event occurs twice. All functions leave their arguments as
they are. What the array holds depends on which events were added and not on the order in which they came, so copies
that heard of the same events are the same bytes.

Shape letters: E entries.
"""

import numpy as np

from panther_pipeline.features.config import ActivityConfig
from panther_pipeline.features.event import NO_CODE, NOT_KNOWN_US, OnlineEvent
from panther_pipeline.units import BEFORE_ALL_US

FRAUD, NO_LABEL = 1, -1
ENTRY = np.dtype(
    [
        ("time_us", "<i8"),
        ("event", "<i8"),  # code of event_id
        ("cents", "<i8"),  # 0 without an amount
        ("other", "<i8"),  # code of the id on the other side; NO_CODE = none
        ("met_before_us", "<i8"),  # when this pair last met before; BEFORE_ALL_US = never, or nobody on the other side
        ("known_us", "<i8"),  # when the label counts from; NOT_KNOWN_US without one
        ("label", "<i8"),  # NO_LABEL = none. Whole words: fields that are not aligned take three times as long
    ]
)


def make_entry(event: OnlineEvent, event_code: int, other_code: int, met_before_us: int) -> tuple[int, ...]:
    """The event as an entry of one of its two groups."""
    known_us = event.known_us
    label = NO_LABEL if known_us == NOT_KNOWN_US else event.label
    return (event.time_us, event_code, event.cents, other_code, met_before_us, known_us, label)


def as_entries(rows: list[tuple[int, ...]]) -> np.ndarray:
    """Entries in the given order, which cannot be written to."""
    return _freeze(np.array(rows, dtype=ENTRY))


def find_event(entries_E: np.ndarray, event_code: int) -> int | None:
    """Place of an event that is held, by its id: whatever else a repetition says, it is the same event."""
    places = np.flatnonzero(entries_E["event"] == event_code)
    return int(places[0]) if places.size else None


def find_place(entries_E: np.ndarray, time_us: int, event_code: int) -> int:
    """How many entries come before (time_us, event_code)."""
    times_E = entries_E["time_us"]
    if not times_E.size or times_E[-1] < time_us:
        return len(times_E)
    first, last = (int(times_E.searchsorted(time_us, side=side)) for side in ("left", "right"))
    return first + int(entries_E["event"][first:last].searchsorted(event_code))


def last_met_us(entries_E: np.ndarray, other_code: int) -> int:
    """When an entry last had this id on the other side; BEFORE_ALL_US = never, or no id."""
    if other_code == NO_CODE:
        return BEFORE_ALL_US
    places = np.flatnonzero(entries_E["other"] == other_code)
    return int(entries_E["time_us"][places[-1]]) if places.size else BEFORE_ALL_US


def insert_entry(entries_E: np.ndarray, place: int, entry: tuple[int, ...]) -> np.ndarray:
    """Entries with one more; the next meeting of the same pair learns that this one came before it."""
    grown_E = np.empty(len(entries_E) + 1, dtype=ENTRY)
    grown_E[:place], grown_E[place], grown_E[place + 1 :] = entries_E[:place], entry, entries_E[place:]
    other = grown_E["other"][place]
    if other != NO_CODE and place < len(entries_E):
        next_places = np.flatnonzero(grown_E["other"][place + 1 :] == other)
        if next_places.size:
            grown_E["met_before_us"][place + 1 + next_places[0]] = grown_E["time_us"][place]
    return _freeze(grown_E)


def update_label(entries_E: np.ndarray, place: int, event: OnlineEvent) -> np.ndarray:
    """Entries with the label that this repetition of a held event brings; the same array if it brings none.

    Of two labels the one that became known later counts, of two known at the same instant fraud does: whichever is
    heard of first.
    """
    if event.known_us == NOT_KNOWN_US:
        return entries_E
    old = entries_E[place]
    known_us = max(event.label_time_us, int(old["time_us"]))
    has_label = old["label"] != NO_LABEL
    if has_label and (int(old["known_us"]), int(old["label"])) >= (known_us, event.label):
        return entries_E
    changed_E = entries_E.copy()
    changed_E["known_us"][place], changed_E["label"][place] = known_us, event.label
    return _freeze(changed_E)


def is_kept(
    times_E: np.ndarray, known_us_E: np.ndarray, newest_us: np.ndarray | int, config: ActivityConfig
) -> np.ndarray:
    """Whether a window of an event that may still come can hold this one, or a risk window its label.

    Args:
        times_E: when the events are.
        known_us_E: when their labels count from.
        newest_us: the newest event of the group; of each event's group, if they are of several.
        config: how long what is kept.
    """
    is_labelled_E = known_us_E != NOT_KNOWN_US
    in_window_E = times_E >= newest_us - config.kept_us
    in_risk_window_E = is_labelled_E & (known_us_E >= newest_us - config.kept_known_us)
    waits_E = ~is_labelled_E & (times_E >= newest_us - config.kept_unlabelled_us)
    return in_window_E | in_risk_window_E | waits_E


def split_kept(entries_E: np.ndarray, config: ActivityConfig) -> tuple[np.ndarray, np.ndarray]:
    """(entries to keep, entries to sum up)."""
    times_E = entries_E["time_us"]
    if not times_E.size or times_E[0] >= times_E[-1] - config.kept_us:
        return entries_E, entries_E[:0]
    kept_E = is_kept(times_E, entries_E["known_us"], times_E[-1], config)
    return _freeze(entries_E[kept_E]), entries_E[~kept_E]


def _freeze(entries_E: np.ndarray) -> np.ndarray:
    entries_E.flags.writeable = False
    return entries_E


NO_ENTRIES = as_entries([])
