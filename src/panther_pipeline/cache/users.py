"""The cache of all users as of one instant.

Shape letters: U users, D width, V vocabulary, R recent events kept.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
import torch

from panther_pipeline.baselines.next_transaction import FIRST_CANDIDATE
from panther_pipeline.cache.embed import UserEmbeddingConfig
from panther_pipeline.cache.states import iter_state_chunks, token_vectors
from panther_pipeline.cache.store import OnlineStore
from panther_pipeline.ledger.splits import parse_instant, to_us
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class UserCache:
    """What `embed_users` hands on."""

    user_embeddings: pl.DataFrame
    next_transactions: pl.DataFrame
    online_store: OnlineStore


def embed_users(
    backbone: Backbone,
    sequences: TokenSequences,
    surprises: pl.DataFrame,
    tokenizer: Tokenizer,
    config: UserEmbeddingConfig,
) -> UserCache:
    """Embed every user as of an instant, and keep what online scoring needs.

    Users without an event before the instant are left out: the store answers None for them.

    Args:
        backbone: the pretrained model.
        sequences: all histories.
        surprises: of all events, from `measure_surprises`.
        tokenizer: names the likeliest next transactions.
        config: the instant and how much is kept.

    Returns:
        user_embeddings (user_id, as_of, num_events, embedding), next_transactions (user_id, place, token_id, token,
        prob), and the online store.
    """
    as_of_us = to_us(parse_instant(config.as_of)) if config.as_of else int(sequences.time_us_N.max()) + 1
    first_U, last_U = sequences.offsets_U1[:-1], _last_rows(sequences, as_of_us)
    users = np.flatnonzero(last_U >= first_U)
    first_U, last_U = first_U[users], last_U[users]
    width = backbone.config.dim
    embedding_UD = np.zeros((len(users), width), np.float32)
    next_behaviour_UD = np.zeros((len(users), width), np.float32)
    num_next = min(config.num_next_transactions, backbone.vocab_size - FIRST_CANDIDATE)
    top_ids = np.zeros((len(users), num_next), np.int64)
    top_probs = np.zeros((len(users), num_next), np.float32)
    table_VD = token_vectors(backbone)
    for rows_m, h_mD in iter_state_chunks(backbone, sequences, last_U, config.batch_size):
        ix = np.searchsorted(last_U, rows_m)
        with torch.inference_mode():
            prob_mV = torch.softmax(backbone.next_token_logits(h_mD).float(), dim=-1)
            # Neither [PAD] nor [UNK] is something a user can do next.
            top = prob_mV[:, FIRST_CANDIDATE:].topk(num_next, dim=-1)
        embedding_UD[ix] = h_mD.cpu().numpy()
        next_behaviour_UD[ix] = (prob_mV @ table_VD).cpu().numpy()
        top_ids[ix] = top.indices.cpu().numpy() + FIRST_CANDIDATE
        top_probs[ix] = top.values.cpu().numpy()
    surprise_N = surprises["surprise"].to_numpy()
    user_ids = [sequences.user_ids[u] for u in users]
    num_events = last_U - first_U + 1
    past = [surprise_N[a : b + 1] for a, b in zip(first_U, last_U, strict=True)]
    store = OnlineStore(
        user_ids=user_ids,
        arrays={
            "embedding_UD": embedding_UD,
            "next_behaviour_UD": next_behaviour_UD,
            "surprise_mean": np.array([p.mean() for p in past], np.float32),
            "surprise_std": np.array([p.std() for p in past], np.float32),
            "recent_token_ids_UR": _recent(sequences.token_ids_N, first_U, last_U, config.num_recent_events, np.int32),
            "recent_times_us_UR": _recent(sequences.time_us_N, first_U, last_U, config.num_recent_events, np.int64),
            "num_events": num_events.astype(np.int64),
        },
        facts={"as_of_us": as_of_us, "backbone_digest": backbone.digest, "tokenizer_digest": tokenizer.digest},
    )
    embeddings = pl.DataFrame(
        {
            "user_id": user_ids,
            "as_of": pl.Series([as_of_us] * len(users), dtype=pl.Datetime("us", "UTC")),
            "num_events": num_events,
            "embedding": pl.Series(embedding_UD, dtype=pl.Array(pl.Float32, width)),
        }
    )
    return UserCache(
        user_embeddings=embeddings,
        next_transactions=_tabulate_next(user_ids, top_ids, top_probs, tokenizer),
        online_store=store,
    )


def tabulate_token_embeddings(backbone: Backbone, tokenizer: Tokenizer) -> pl.DataFrame:
    """The learned vector of every token beside its readable name: token_id, token, embedding (Array(Float32, D))."""
    with torch.inference_mode():
        table_VD = token_vectors(backbone).cpu().numpy()
    return pl.DataFrame(
        {
            "token_id": np.arange(len(table_VD)),
            "token": tokenizer.names,
            "embedding": pl.Series(table_VD, dtype=pl.Array(pl.Float32, table_VD.shape[1])),
        }
    )


def _last_rows(sequences: TokenSequences, as_of_us: int) -> np.ndarray:
    """Row of each user's last event strictly before the instant; below the user's first row if there is none."""
    before = np.concatenate([[0], np.cumsum(sequences.time_us_N < as_of_us)])
    counts_U = before[sequences.offsets_U1[1:]] - before[sequences.offsets_U1[:-1]]
    return sequences.offsets_U1[:-1] + counts_U - 1


def _recent(values_N: np.ndarray, first_U: np.ndarray, last_U: np.ndarray, keep: int, dtype: type) -> np.ndarray:
    """(U, keep), newest last; the front is 0 where there are fewer."""
    rows_UR = last_U[:, None] - np.arange(keep)[::-1]
    return np.where(rows_UR >= first_U[:, None], values_N[np.maximum(rows_UR, 0)], 0).astype(dtype)


def _tabulate_next(user_ids: list[str], ids_UK: np.ndarray, probs_UK: np.ndarray, tokenizer: Tokenizer) -> pl.DataFrame:
    num = ids_UK.shape[1]
    flat = ids_UK.ravel()
    return pl.DataFrame(
        {
            "user_id": np.repeat(np.array(user_ids, dtype=object), num).tolist(),
            "place": np.tile(np.arange(1, num + 1), len(user_ids)),
            "token_id": flat,
            "token": pl.Series(tokenizer.names).gather(flat),
            "prob": probs_UK.ravel(),
        }
    )
