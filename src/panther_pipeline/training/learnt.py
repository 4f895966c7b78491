"""Until when a backbone knows the world: what its weights were fitted to, or chosen on, and those it began with.

A backbone that began with another ledger's weights knows what that one knew, and so on to the first. The step that is
kept is chosen on validation events, which are thereby known as well.

Shape letters: N events.
"""

from datetime import datetime

import numpy as np

from panther_pipeline.ledger.splits import TRAIN, VALID, parse_instant
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.tokenizer.tokenizer import Tokenizer


def learnt_until(sequences: TokenSequences, tokenizer: Tokenizer, initial: str | None) -> str | None:
    """The last instant that training on these sequences knows, the first weights' included.

    Args:
        sequences: with training and validation events.
        tokenizer: that made them; its bound says whether they are split by time at all.
        initial: `Backbone.learnt_until` of the first weights; "" for fresh ones, None for weights of which it is
            unknown.

    Returns:
        ISO 8601, UTC, of the newest training or validation event of this ledger or of any ancestor; the name of a
        protocol by order, where one of them has no instant that bounds it; None where an ancestor's is unknown.
    """
    if initial is None:
        return None
    bounds = [bound for bound in (initial, _own_bound(sequences, tokenizer)) if bound]
    unbounded = [bound for bound in bounds if as_instant(bound) is None]
    return unbounded[0] if unbounded else max(bounds, key=parse_instant)


def as_instant(bound: str) -> datetime | None:
    """The instant, or None for a protocol by order, under which no instant bounds what was learnt."""
    try:
        return parse_instant(bound)
    except ValueError:
        return None


def _own_bound(sequences: TokenSequences, tokenizer: Tokenizer) -> str:
    train_end = tokenizer.content.train_end
    if as_instant(train_end) is None:
        return train_end
    known_us_N = sequences.time_us_N[np.isin(sequences.split_N, (TRAIN, VALID))]
    return str(np.datetime64(int(known_us_N.max()), "us"))
