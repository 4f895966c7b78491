"""The cache of all users as of one instant.

Shape letters: U users, C states, D width, V vocabulary, F token attributes, K next transactions kept.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from torch import Tensor

from panther_pipeline.baselines.candidates import FIRST_CANDIDATE
from panther_pipeline.cache.deviation import Forecasts, forecast
from panther_pipeline.cache.embed import UserEmbeddingConfig
from panther_pipeline.cache.states import iter_state_chunks, token_vectors
from panther_pipeline.cache.tuples import event_vectors
from panther_pipeline.ledger.splits import parse_instant
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.tokenizer.tokenizer import Tokenizer
from panther_pipeline.units import to_us


@dataclass(frozen=True, kw_only=True)
class UserForecasts:
    """Each user's state after the last event before an instant, and what it expects. Users without one are left out."""

    as_of_us: int
    user_ix_U: np.ndarray  # int64 positions in the `user_ids` of the sequences, ascending
    last_row_U: np.ndarray  # int64 rows of those events
    embedding_UD: np.ndarray  # float32
    expected_UD: np.ndarray  # float32: expected vector of the next event, of tokens or of `cache.tuples`
    log_normaliser_U: np.ndarray  # float32, see `deviation.Forecasts`
    likeliest: np.ndarray  # int64 (U, K) token ids, or (U, K, F) attribute ids of a factored backbone
    probs_UK: np.ndarray  # float32


def forecast_users(backbone: Backbone, sequences: TokenSequences, config: UserEmbeddingConfig) -> UserForecasts:
    """What every user is expected to do next, as of an instant.

    Args:
        backbone: the pretrained model.
        sequences: all histories.
        config: the instant and how much is kept.
    """
    as_of_us = to_us(parse_instant(config.as_of)) if config.as_of else int(sequences.time_us_N.max(initial=0)) + 1
    last_U = _last_rows(sequences, as_of_us)
    user_ix_U = np.flatnonzero(last_U >= sequences.offsets_U1[:-1])
    last_U = last_U[user_ix_U]
    chunks = []
    for rows_m, h_mD in iter_state_chunks(backbone, sequences, last_U, config.batch_size):
        with torch.inference_mode():
            expected = forecast(backbone, h_mD)
            likeliest, probs = likeliest_next(backbone, expected, config.num_next_transactions)
        columns = (expected.h_CD, expected.expected_CD, expected.log_normaliser_C, likeliest, probs)
        chunks.append((rows_m, *(column.cpu().numpy() for column in columns)))
    rows, *columns = map(np.concatenate, zip(*chunks, strict=True)) if chunks else _no_columns(backbone)
    order = np.argsort(rows)
    names = ("embedding_UD", "expected_UD", "log_normaliser_U", "likeliest", "probs_UK")
    return UserForecasts(
        as_of_us=as_of_us,
        user_ix_U=user_ix_U,
        last_row_U=last_U,
        **{name: column[order] for name, column in zip(names, columns, strict=True)},
    )


def tabulate_users(
    forecasts: UserForecasts, sequences: TokenSequences, tokenizer: Tokenizer
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The forecasts as two tables.

    Args:
        forecasts: of `forecast_users`.
        sequences: those they were made of.
        tokenizer: names the likeliest next transactions.

    Returns:
        user_embeddings (user_id, as_of, num_events, embedding) and next_transactions (user_id, place, token_id, token,
        prob). With a factored backbone the next transactions are its likeliest tuples: `token` is the tuple's name,
        `token_id` the token it falls to, and several tuples may fall to one.
    """
    user_ids = [sequences.user_ids[u] for u in forecasts.user_ix_U]
    embeddings = pl.DataFrame(
        {
            "user_id": pl.Series(user_ids, dtype=pl.String),
            "as_of": pl.Series([forecasts.as_of_us] * len(user_ids), dtype=pl.Datetime("us", "UTC")),
            "num_events": forecasts.last_row_U - sequences.offsets_U1[forecasts.user_ix_U] + 1,
            "embedding": pl.Series(forecasts.embedding_UD, dtype=pl.Array(pl.Float32, forecasts.embedding_UD.shape[1])),
        }
    )
    return embeddings, _tabulate_next(user_ids, forecasts, tokenizer)


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


def likeliest_next(backbone: Backbone, forecasts: Forecasts, num: int) -> tuple[Tensor, Tensor]:
    """The likeliest next transactions after each state, likeliest first.

    Returns:
        int64 ids, (C, K) of tokens, or (C, K, F) of the attributes of a factored backbone; and float32 (C, K)
        probabilities.
    """
    if backbone.tuple_head is not None:
        ids_CKF, log_prob_CK = backbone.tuple_head.likeliest(forecasts.h_CD, num)
        return ids_CKF, log_prob_CK.exp()
    logits_CV = backbone.next_token_logits(forecasts.h_CD).float()
    # Neither [PAD] nor [UNK] is something a user can do next.
    top = logits_CV[:, FIRST_CANDIDATE:].topk(min(num, backbone.vocab_size - FIRST_CANDIDATE), dim=-1)
    return top.indices + FIRST_CANDIDATE, (top.values - forecasts.log_normaliser_C[:, None]).exp()


def _no_columns(backbone: Backbone) -> list[np.ndarray]:
    wide = np.zeros((0, backbone.config.dim), np.float32)
    likeliest = np.zeros((0, 0, len(backbone.attribute_sizes))[: 2 if backbone.tuple_head is None else 3], np.int64)
    return [np.zeros(0, np.int64), wide, wide, np.zeros(0, np.float32), likeliest, np.zeros((0, 0), np.float32)]


def _tabulate_next(user_ids: list[str], forecasts: UserForecasts, tokenizer: Tokenizer) -> pl.DataFrame:
    schema = {"user_id": pl.String, "place": pl.Int64, "token_id": pl.Int64, "token": pl.String, "prob": pl.Float32}
    num = forecasts.probs_UK.shape[1]
    if not user_ids:
        return pl.DataFrame(schema=schema)
    flat = forecasts.likeliest.reshape(len(user_ids) * num, *forecasts.likeliest.shape[2:])
    token_ids, names = tokenizer.name_likeliest(flat)
    return pl.DataFrame(
        {
            "user_id": np.repeat(np.array(user_ids, dtype=object), num).tolist(),
            "place": np.tile(np.arange(1, num + 1), len(user_ids)),
            "token_id": token_ids,
            "token": names,
            "prob": forecasts.probs_UK.ravel(),
        },
        schema=schema,
    )
