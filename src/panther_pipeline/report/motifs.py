"""Recurring motifs: two or three consecutive tokens that follow each other more often than chance.

Chance is a shuffle of each user's own events. Against the popularity of tokens in the whole ledger, two things that the
same people like would look like a motif in whatever order they come; a shuffle keeps what each user likes and destroys
the order alone, so what is left over is order.

Shape letters: N events, U users, V vocabulary, M motifs of one length L.
"""

import numpy as np
import polars as pl
from pydantic import Field
from scipy import sparse

from panther_pipeline.config import Config
from panther_pipeline.ledger.splits import TRAIN
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.tokenizer.tokenizer import Tokenizer
from panther_pipeline.tokenizer.vocabulary import FIRST_TOKEN

LENGTHS = (2, 3)
ARROW = " → "
SCHEMA = {
    "tokens": pl.List(pl.Int64),
    "name": pl.String,
    "num_train": pl.Int64,
    "expected": pl.Float64,
    "lift": pl.Float64,
}
_BASE = 1 << 21  # three token ids in one int64; ids grow as frequency falls: beyond two million nothing recurs
_CANDIDATES = 5000  # of each length, the most frequent: the lift of all that ever occurred would take hours
_AT_ONCE = 100  # candidates per product: 100 columns of users


class MotifConfig(Config):
    """Which motifs are shown."""

    num_motifs: int = Field(ge=0)  # half of them pairs, half of them triples
    min_count: int = Field(ge=1)  # occurrences in training events
    min_users: int = Field(ge=1)  # users in whose training events it occurs
    min_lift: float = Field(ge=1)  # times as often as in a shuffle of each user's events
    max_alike: int = Field(ge=1)  # motifs that differ in other attributes than the first


def find_motifs(sequences: TokenSequences, tokenizer: Tokenizer, config: MotifConfig) -> pl.DataFrame:
    """The motifs of the training events that say most about order, pairs before triples.

    Runs of one token are no motif (no two neighbours are equal), nor is anything with [UNK], which stands for many
    things. Motifs are ordered by count · log2(lift), what the order saves in bits; of those with the same first
    attributes (the same categories, say, with other amounts) only the first `max_alike` are kept.

    Args:
        sequences: all histories; only training events are counted.
        tokenizer: for names and attributes.
        config: how many, how sure.

    Returns:
        tokens (ids in order), name (`a → b → c`), num_train (occurrences), expected (occurrences in a shuffle, on
        average), lift (num_train / expected). No rows where nothing recurs.
    """
    tables = []
    for length in LENGTHS:
        tokens_ML, counts_M, users_M = count_motifs(sequences, length)
        is_shared_M = (counts_M >= config.min_count) & (users_M >= config.min_users)
        frequent_M = np.flatnonzero(is_shared_M)[:_CANDIDATES]
        tokens_ML, counts_M = tokens_ML[frequent_M], counts_M[frequent_M]
        expected_M = expect_in_shuffle(sequences, tokens_ML)
        lift_M = counts_M / expected_M
        saved_M = np.where(lift_M >= config.min_lift, counts_M * np.log2(lift_M), 0)
        ordered = np.argsort(-saved_M, kind="stable")
        ordered = _without_alike(ordered[saved_M[ordered] > 0], tokens_ML, tokenizer, config.max_alike)
        chosen = ordered[: config.num_motifs // len(LENGTHS)]
        columns = {
            "tokens": tokens_ML[chosen].tolist(),
            "name": [ARROW.join(tokenizer.names[token] for token in tokens) for tokens in tokens_ML[chosen]],
            "num_train": counts_M[chosen],
            "expected": expected_M[chosen],
            "lift": lift_M[chosen],
        }
        tables.append(pl.DataFrame(columns, schema=SCHEMA))
    return pl.concat(tables)


def count_motifs(sequences: TokenSequences, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every sequence of `length` consecutive training events of a user, and how often it occurs.

    Returns:
        int64 (M, L) token ids, int64 (M,) counts and int64 (M,) users that have it; the most frequent first, ties by
        ids.
    """
    if sequences.num_events < length:
        return np.empty((0, length), np.int64), np.empty(0, np.int64), np.empty(0, np.int64)
    keys_N = motif_keys(sequences.token_ids_N, length)
    last_N = np.arange(length - 1, sequences.num_events)
    is_within_N = sequences.first_row_N()[last_N] <= last_N - (length - 1)
    for back in range(length):
        is_within_N &= sequences.split_N[last_N - back] == TRAIN
    is_motif_N = is_within_N & (keys_N >= 0)
    found = pl.DataFrame({"key": keys_N[is_motif_N], "user": sequences.user_ix_N()[last_N[is_motif_N]]})
    per_motif = (
        found.group_by("key")
        .agg(pl.len().cast(pl.Int64).alias("count"), pl.col("user").n_unique().cast(pl.Int64).alias("users"))
        .sort("count", "key", descending=[True, False])
    )
    keys_M, counts_M, users_M = (per_motif[name].to_numpy() for name in ("key", "count", "users"))
    return _tokens_of(keys_M, length), counts_M, users_M


def motif_keys(tokens: np.ndarray, length: int) -> np.ndarray:
    """One number per window of `length` along the last axis; -1 where it is no motif.

    Args:
        tokens: int (..., T), 0 = padding.

    Returns:
        int64 (..., T - length + 1): equal numbers for equal motifs, growing with the ids from first to last.
    """
    num_windows = tokens.shape[-1] - length + 1
    if num_windows < 1:
        return np.empty((*tokens.shape[:-1], 0), np.int64)
    parts = [tokens[..., at : at + num_windows] for at in range(length)]
    keys = np.zeros(parts[0].shape, np.int64)
    is_motif = np.ones(parts[0].shape, bool)
    for at, part in enumerate(parts):
        keys = keys * _BASE + np.minimum(part, _BASE - 1)
        is_motif &= (part >= FIRST_TOKEN) & (part < _BASE)
        if at:
            is_motif &= part != parts[at - 1]
    return np.where(is_motif, keys, -1)


def expect_in_shuffle(sequences: TokenSequences, tokens_ML: np.ndarray) -> np.ndarray:
    """How often each motif would occur, on average, if every user's training events were shuffled.

    Of user u with n events, c_a of them token a: a motif of different tokens starts at each of n - L + 1 places with
    probability c_a / n · c_b / (n - 1) · …; a token that returns finds one event fewer of its kind. Exact.

    Args:
        tokens_ML: int64 motifs, no two neighbours equal.

    Returns:
        float64 (M,).
    """
    length = tokens_ML.shape[1]
    is_train_N = np.asarray(sequences.split_N == TRAIN)
    user_N, token_N = sequences.user_ix_N()[is_train_N], sequences.token_ids_N[is_train_N]
    shape = (sequences.num_users, sequences.vocab_size)
    counts_UV = sparse.csc_matrix((np.ones(len(token_N)), (user_N, token_N)), shape=shape)
    num_U = np.bincount(user_N, minlength=sequences.num_users).astype(np.float64)
    # (n - L + 1) / (n (n - 1) … (n - L + 1)): the last factor is the number of places.
    orders_U = np.prod([num_U - taken for taken in range(length - 1)], axis=0)
    weight_U = np.where(num_U >= length, 1 / np.where(num_U >= length, orders_U, 1), 0)
    parts = np.array_split(tokens_ML, max(1, -(-len(tokens_ML) // _AT_ONCE)))
    return np.concatenate([_draws(counts_UV, tokens_mL).T @ weight_U for tokens_mL in parts])


def _draws(counts_UV: sparse.csc_matrix, tokens_mL: np.ndarray) -> sparse.csc_matrix:
    """In how many ways each user can draw the motif from their events, in order, without putting back: (U, m)."""
    ways_Um = counts_UV[:, tokens_mL[:, 0]]
    for at in range(1, tokens_mL.shape[1]):
        drawn_m = (tokens_mL[:, :at] == tokens_mL[:, at : at + 1]).sum(axis=1)
        left_Um = counts_UV[:, tokens_mL[:, at]].tocsc(copy=True)
        left_Um.data -= np.repeat(drawn_m, np.diff(left_Um.indptr))
        ways_Um = ways_Um.multiply(left_Um).tocsc()
    return ways_Um


def _without_alike(ordered: np.ndarray, tokens_ML: np.ndarray, tokenizer: Tokenizer, max_alike: int) -> np.ndarray:
    """The motifs in their order, without those that have as many alike before them as are shown."""
    first_V = tokenizer.vocabulary.patterns_VF[:, 0].astype(np.int64)
    # A token that dropped its first attribute is like itself alone.
    kind_V = np.where(first_V > 0, first_V, -np.arange(len(first_V)) - 1)
    seen: dict[bytes, int] = {}
    kept = []
    for motif in ordered:
        kind = kind_V[tokens_ML[motif]].tobytes()
        seen[kind] = seen.get(kind, 0) + 1
        if seen[kind] <= max_alike:
            kept.append(motif)
    return np.array(kept, dtype=np.int64)


def _tokens_of(keys_M: np.ndarray, length: int) -> np.ndarray:
    return np.stack([keys_M // _BASE ** (length - 1 - at) % _BASE for at in range(length)], axis=1)
