"""The cache of all users as of one instant.

Shape letters: U users, D width, V vocabulary, F token attributes, R recent events kept, K next transactions kept.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from torch import Tensor

from panther_pipeline.baselines.candidates import FIRST_CANDIDATE
from panther_pipeline.cache.embed import UserEmbeddingConfig
from panther_pipeline.cache.states import iter_state_chunks, token_vectors
from panther_pipeline.cache.store import OnlineStore
from panther_pipeline.cache.tuples import event_vectors, expected_vectors
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
        prob), and the online store. With a factored backbone the next transactions are its likeliest tuples: `token`
        is the tuple's name, `token_id` the token it falls to, and several tuples may fall to one.
    """
    as_of_us = to_us(parse_instant(config.as_of)) if config.as_of else int(sequences.time_us_N.max()) + 1
    first_U, last_U = sequences.offsets_U1[:-1], _last_rows(sequences, as_of_us)
    users = np.flatnonzero(last_U >= first_U)
    first_U, last_U = first_U[users], last_U[users]
    width = backbone.config.dim
    embedding_UD = np.zeros((len(users), width), np.float32)
    next_behaviour_UD = np.zeros((len(users), width), np.float32)
    forecast = _forecast_tokens if backbone.tuple_head is None else _forecast_tuples
    order, likeliest, probs = [], [], []
    for rows_m, h_mD in iter_state_chunks(backbone, sequences, last_U, config.batch_size):
        ix = np.searchsorted(last_U, rows_m)
        with torch.inference_mode():
            expected_mD, ids, probs_mK = forecast(backbone, h_mD, config.num_next_transactions)
        embedding_UD[ix], next_behaviour_UD[ix] = h_mD.cpu().numpy(), expected_mD.cpu().numpy()
        order.append(ix)
        likeliest.append(ids.cpu().numpy())
        probs.append(probs_mK.cpu().numpy())
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
        next_transactions=_tabulate_next(user_ids, order, likeliest, probs, tokenizer),
        online_store=store,
    )


def tabulate_token_embeddings(backbone: Backbone, tokenizer: Tokenizer) -> pl.DataFrame:
    """The learned vector of every token beside its readable name: token_id, token, embedding (Array(Float32, D)).

    A factored backbone has none: there it is the vector of the token's attributes, those it dropped left out.
    """
    with torch.inference_mode():
        if backbone.tuple_head is None:
            table_VD = token_vectors(backbone).cpu().numpy()
        else:
            patterns_VF = torch.from_numpy(tokenizer.vocabulary.patterns_VF.astype(np.int64)).to(backbone.device)
            table_VD = event_vectors(backbone, patterns_VF).cpu().numpy()
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


def _forecast_tokens(backbone: Backbone, h_mD: Tensor, num: int) -> tuple[Tensor, Tensor, Tensor]:
    """Expected token vector (m, D), ids (m, K) of the likeliest tokens and their probabilities (m, K)."""
    prob_mV = torch.softmax(backbone.next_token_logits(h_mD).float(), dim=-1)
    # Neither [PAD] nor [UNK] is something a user can do next.
    top = prob_mV[:, FIRST_CANDIDATE:].topk(min(num, backbone.vocab_size - FIRST_CANDIDATE), dim=-1)
    return prob_mV @ token_vectors(backbone), top.indices + FIRST_CANDIDATE, top.values


def _forecast_tuples(backbone: Backbone, h_mD: Tensor, num: int) -> tuple[Tensor, Tensor, Tensor]:
    """Expected event vector (m, D), attribute ids (m, K, F) of the likeliest tuples and their probabilities (m, K)."""
    ids_mKF, log_prob_mK = backbone.tuple_head.likeliest(h_mD, num)
    return expected_vectors(backbone, h_mD), ids_mKF, log_prob_mK.exp()


def _tabulate_next(
    user_ids: list[str],
    order: list[np.ndarray],
    likeliest: list[np.ndarray],
    probs: list[np.ndarray],
    tokenizer: Tokenizer,
) -> pl.DataFrame:
    schema = {"user_id": pl.String, "place": pl.Int64, "token_id": pl.Int64, "token": pl.String, "prob": pl.Float32}
    if not order:
        return pl.DataFrame(schema=schema)
    by_user = np.argsort(np.concatenate(order))
    probs_UK, ids = np.concatenate(probs)[by_user], np.concatenate(likeliest)[by_user]
    num = probs_UK.shape[1]
    if ids.ndim == 2:
        token_ids, names = ids.ravel(), pl.Series(tokenizer.names).gather(ids.ravel())
    else:
        ids_MF = ids.reshape(-1, ids.shape[-1])
        token_ids, names = tokenizer.encode_attribute_tuples(ids_MF), tokenizer.name_tuples(ids_MF)
    return pl.DataFrame(
        {
            "user_id": np.repeat(np.array(user_ids, dtype=object), num).tolist(),
            "place": np.tile(np.arange(1, num + 1), len(user_ids)),
            "token_id": token_ids,
            "token": names,
            "prob": probs_UK.ravel(),
        },
        schema=schema,
    )
