"""The states of all users and counterparties of a ledger at once, as adding its events one by one would leave them.

The ledger is sorted once a side; a state is then cut out of it. What is done per event is done for all at once, except
codes of event ids, which are needed of the events alone that stay in a state one by one.

Shape letters: N events of the ledger, G groups, E entries of one group.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from panther_pipeline.features.activity import CounterpartyActivity, UserActivity
from panther_pipeline.features.config import ActivityConfig
from panther_pipeline.features.entries import ENTRY, NO_LABEL, is_kept
from panther_pipeline.features.event import NO_CODE, NOT_KNOWN_US, code_text
from panther_pipeline.features.past import NO_PAST, NOTHING_SEEN, SEEN, keep_last
from panther_pipeline.units import BEFORE_ALL_US, epoch_us

_NOBODY = -1  # position of a missing counterparty


@dataclass(frozen=True, kw_only=True)
class _Side:
    """One side of the ledger."""

    ids: list[str]  # G, sorted
    group_N: np.ndarray  # int64 position in `ids`; _NOBODY = in no group
    code_N: np.ndarray  # int64 code of the id; NO_CODE = in no group


def build_activities(
    valid_events: pl.DataFrame, config: ActivityConfig, as_of_us: int
) -> tuple[Iterator[tuple[str, UserActivity]], Iterator[tuple[str, CounterpartyActivity]]]:
    """The states as of an instant.

    Args:
        valid_events: the ledger (docs/data_contract.md); in any row order.
        config: what is kept.
        as_of_us: events at or after it are not read. Labels of the earlier ones are kept whenever they became known:
            a label counts for events after that instant only, and so do those of the ledger.

    Returns:
        (user_id, state) of everybody with an event, by user_id; (counterparty, state) likewise. Each is made when it is
        asked for.
    """
    events = valid_events.filter(pl.Series(epoch_us(valid_events["event_time"]) < as_of_us, dtype=pl.Boolean))
    users, counterparties = _read_side(events["user_id"]), _read_side(events["counterparty"])
    entries_N = _read_entries(events)
    needs_code_N = _find_kept(entries_N, users, config) | _find_kept(entries_N, counterparties, config)
    needs_code_N |= _find_tied_pairs(entries_N["time_us"], users, counterparties)
    ids = events["event_id"].filter(pl.Series(needs_code_N, dtype=pl.Boolean))
    entries_N["event"][needs_code_N] = [code_text(event_id) for event_id in ids]
    entries_N["met_before_us"] = _find_meetings(entries_N, users, counterparties)
    return (
        _cut_users(entries_N, users, counterparties, events, config),
        _cut_counterparties(entries_N, users, counterparties, config),
    )


def _cut_users(
    entries_N: np.ndarray, users: _Side, counterparties: _Side, events: pl.DataFrame, config: ActivityConfig
) -> Iterator[tuple[str, UserActivity]]:
    values = [_first_values(entries_N["time_us"], users, events[name]) for name in config.novelty]
    for group, (kept_E, old_E) in _cut_groups(entries_N, users, counterparties, config):
        activity = UserActivity(
            config=config,
            entries_E=kept_E,
            past=NO_PAST.add(old_E) if len(old_E) else NO_PAST,
            met_K=keep_last(NOTHING_SEEN, old_E["other"], old_E["time_us"]) if len(old_E) else NOTHING_SEEN,
            values=tuple(seen[starts[group] : starts[group + 1]] for seen, starts in values),
        )
        yield users.ids[group], activity


def _cut_counterparties(
    entries_N: np.ndarray, users: _Side, counterparties: _Side, config: ActivityConfig
) -> Iterator[tuple[str, CounterpartyActivity]]:
    for group, (kept_E, old_E) in _cut_groups(entries_N, counterparties, users, config):
        past = NO_PAST.add(old_E) if len(old_E) else NO_PAST
        yield counterparties.ids[group], CounterpartyActivity(config=config, entries_E=kept_E, past=past)


def _cut_groups(
    entries_N: np.ndarray, side: _Side, others: _Side, config: ActivityConfig
) -> Iterator[tuple[int, tuple[np.ndarray, np.ndarray]]]:
    """Position of each group, with its entries to keep and those to sum up, in their order."""
    kept_N = _find_kept(entries_N, side, config)
    order = np.lexsort((entries_N["event"], entries_N["time_us"], side.group_N))
    starts = side.group_N[order].searchsorted(np.arange(len(side.ids) + 1))
    for group in range(len(side.ids)):
        rows = order[starts[group] : starts[group + 1]]
        entries_E = entries_N[rows]
        entries_E["other"] = others.code_N[rows]
        is_kept_E = kept_N[rows]
        kept_E, old_E = entries_E[is_kept_E], entries_E[~is_kept_E]
        kept_E.flags.writeable = False
        yield group, (kept_E, old_E)


def _read_side(ids_N: pl.Series) -> _Side:
    ids = ids_N.drop_nulls().unique().sort()
    codes = np.array([NO_CODE, *(code_text(text) for text in ids)], dtype=np.int64)
    table = pl.DataFrame({"id": ids, "position": pl.int_range(len(ids), eager=True)})
    asked = pl.DataFrame({"id": ids_N})
    position_N = asked.join(table, on="id", how="left", maintain_order="left")["position"].fill_null(_NOBODY)
    group_N = position_N.cast(pl.Int64).to_numpy()
    return _Side(ids=ids.to_list(), group_N=group_N, code_N=codes[group_N + 1])


def _read_entries(events: pl.DataFrame) -> np.ndarray:
    """Entries in the order of the rows, without what depends on the side or on other events."""
    entries_N = np.zeros(events.height, dtype=ENTRY)
    entries_N["time_us"] = epoch_us(events["event_time"])
    entries_N["cents"] = events["amount_cents"].fill_null(0).to_numpy()
    is_known_N = (events["label"].is_not_null() & events["label_time"].is_not_null()).to_numpy()
    known_us_N = np.maximum(epoch_us(events["label_time"]), entries_N["time_us"])
    entries_N["known_us"] = np.where(is_known_N, known_us_N, NOT_KNOWN_US)
    entries_N["label"] = np.where(is_known_N, events["label"].fill_null(NO_LABEL).to_numpy(), NO_LABEL)
    return entries_N


def _find_kept(entries_N: np.ndarray, side: _Side, config: ActivityConfig) -> np.ndarray:
    """Which events this side keeps one by one."""
    newest_G = np.full(len(side.ids) + 1, BEFORE_ALL_US)
    np.maximum.at(newest_G, side.group_N, entries_N["time_us"])  # _NOBODY is the last place
    kept_N = is_kept(entries_N["time_us"], entries_N["known_us"], newest_G[side.group_N], config)
    return kept_N & (side.group_N != _NOBODY)  # the codes of events in no group need not be known for it


def _find_tied_pairs(times_N: np.ndarray, users: _Side, counterparties: _Side) -> np.ndarray:
    """Events of a pair at the instant of another one: their codes decide which came first."""
    order = np.lexsort((times_N, counterparties.group_N, users.group_N))
    keys = (times_N[order], counterparties.group_N[order], users.group_N[order])
    is_same = np.logical_and.reduce([key[1:] == key[:-1] for key in keys])
    tied_N = np.zeros(len(times_N), dtype=bool)
    tied_N[order] = np.append(is_same, False) | np.append(False, is_same) if len(times_N) else False
    return tied_N


def _find_meetings(entries_N: np.ndarray, users: _Side, counterparties: _Side) -> np.ndarray:
    """When each event's pair met before; BEFORE_ALL_US = never, or there is no pair."""
    keys = (entries_N["event"], entries_N["time_us"], counterparties.group_N, users.group_N)
    order = np.lexsort(keys)
    user, counterparty, times = users.group_N[order], counterparties.group_N[order], entries_N["time_us"][order]
    is_same = (user[1:] == user[:-1]) & (counterparty[1:] == counterparty[:-1]) & (counterparty[1:] != _NOBODY)
    before_N = np.full(len(order), BEFORE_ALL_US)
    before_N[order[1:][is_same]] = times[:-1][is_same]
    return before_N


def _first_values(times_N: np.ndarray, users: _Side, values_N: pl.Series) -> tuple[np.ndarray, np.ndarray]:
    """Values of an attribute with the first time of each, user after user, and where each user's begin, (G + 1,)."""
    side = _read_side(values_N)
    table = pl.DataFrame({"user": users.group_N, "code": side.code_N, "time_us": times_N})
    firsts = table.filter(pl.col("code") != NO_CODE).group_by("user", "code").agg(pl.col("time_us").min())
    firsts = firsts.sort("user", "code")
    seen = np.empty(firsts.height, dtype=SEEN)
    seen["code"], seen["time_us"] = firsts["code"].to_numpy(), firsts["time_us"].to_numpy()
    seen.flags.writeable = False
    return seen, firsts["user"].to_numpy().searchsorted(np.arange(len(users.ids) + 1))
