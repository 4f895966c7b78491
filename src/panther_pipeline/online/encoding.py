"""A transaction that arrives becomes a token; the one behind a late one may become another.

Shape letters: F token attributes.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from panther_pipeline.features.event import OnlineEvent
from panther_pipeline.online.history import UserHistory
from panther_pipeline.tokenizer.event_tokenizer import EventTokenizer
from panther_pipeline.tokenizer.sources import PREVIOUS_TIME


def encode_event(
    tokenizer: EventTokenizer, event: OnlineEvent, history: UserHistory, place: int
) -> tuple[int, list[int]]:
    """Token id and attribute ids of an event at a kept position of a history, as the batch run encodes it."""
    previous = int(history.time_us_R[place - 1]) if place > 0 else None
    row = {
        **event.attributes,
        "amount_cents": event.amount_cents,
        "counterparty": event.counterparty,
        "event_time": event.time_us,
        PREVIOUS_TIME: previous,
    }
    return tokenizer.encode_event(row)


def insert_event(tokenizer: EventTokenizer, event: OnlineEvent, history: UserHistory, place: int) -> UserHistory:
    """The history with the event, encoded; the gap of the event behind it is told anew."""
    token_id, attribute_ids = encode_event(tokenizer, event, history, place)
    history = history.insert(
        place, time_us=event.time_us, token_id=token_id, attribute_ids=attribute_ids, event_id=event.event_id
    )
    gaps = [f for f, field in enumerate(tokenizer.fields) if field.source == "gap"]
    return _measure_gap(tokenizer, history, place + 1, gaps) if gaps and place + 1 < history.num_kept else history


def name_event(tokenizer: EventTokenizer, token_id: int, attribute_ids: Sequence[int]) -> str:
    """What the event is called: the token, or with a factored tokenizer, which drops nothing, all its attributes."""
    if tokenizer.kind == "structured":
        return tokenizer.names[token_id]
    return tokenizer.name_tuples(np.asarray([attribute_ids]))[0]


def _measure_gap(tokenizer: EventTokenizer, history: UserHistory, place: int, gaps: list[int]) -> UserHistory:
    gap_us = max(0, int(history.time_us_R[place] - history.time_us_R[place - 1]))
    attribute_ids_RF, token_ids_R = history.attribute_ids_RF.copy(), history.token_ids_R.copy()
    for f in gaps:
        attribute_ids_RF[place, f] = tokenizer.fields[f].encode_one(gap_us)
    token_ids_R[place] = tokenizer.vocabulary.encode_one(attribute_ids_RF[place].tolist())
    return replace(history, attribute_ids_RF=attribute_ids_RF, token_ids_R=token_ids_R)
