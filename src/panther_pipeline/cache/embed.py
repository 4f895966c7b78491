"""As-of embeddings: what was known about a user just before an event, or at an instant.

Shape letters: N events, M chosen events, U users, D width, V vocabulary.
"""

from typing import Literal

import numpy as np
import polars as pl
import torch
from pydantic import Field
from tqdm import tqdm

from panther_pipeline.cache.as_of import REFRESH_US, boundary_us
from panther_pipeline.cache.deviation import deviate, forecast
from panther_pipeline.cache.states import as_of_states, iter_state_chunks
from panther_pipeline.cache.surprises import log_share, standardise_by_past
from panther_pipeline.config import Config
from panther_pipeline.ledger.splits import UNUSED, Instant, parse_instant
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.units import to_us

_LOGITS_PER_STEP = 1 << 24  # 64 MiB of float32 at once, however large the vocabulary


class EventEmbeddingConfig(Config):
    """Which events get an embedding and how fresh the cache was when they happened."""

    since: Instant | None  # ISO instant; events before it get none (null = all events of the splits)
    refresh: Literal[
        "each_event", "hourly", "daily", "weekly"
    ]  # how often the cache is renewed; serving must do the same
    batch_size: int = Field(gt=0)  # windows per forward pass


class UserEmbeddingConfig(Config):
    """The instant the users are embedded for."""

    as_of: Instant | None  # ISO instant; only events before it are read (null = the end of the ledger)
    num_next_transactions: int = Field(gt=0)  # likeliest next transactions kept per user
    batch_size: int = Field(gt=0)  # windows per forward pass


def as_of_rows(sequences: TokenSequences, refresh: str) -> np.ndarray:
    """The last event the cache had seen when each event happened.

    With `each_event` that is the event before; with `daily` the last event before that day began (UTC), as a
    nightly refresh would have it.

    Returns:
        int64 (N,): a row of the same user and strictly earlier in its order, or -1 when there is none.

    Source: design rule "nothing from the future"; staleness as in PANTHER §3.4 (offline caching).
    """
    first_N = sequences.first_row_N()
    rows_N = np.arange(sequences.num_events)
    boundary_N = boundary_us(sequences.time_us_N, refresh)
    if boundary_N is None:
        last_N = rows_N - 1
    else:
        # One search over all users: a key that grows with the user, then with time.
        time_N = sequences.time_us_N - sequences.time_us_N.min(initial=0)
        boundary_N = boundary_N - sequences.time_us_N.min(initial=0)
        span = int(time_N.max(initial=0)) + REFRESH_US[refresh] + 1
        user_N = sequences.user_ix_N()
        keys_N = user_N * span + time_N
        last_N = np.searchsorted(keys_N, user_N * span + np.maximum(boundary_N, 0), side="left") - 1
    return np.where(last_N >= first_N, last_N, -1)


def measure_surprises(
    backbone: Backbone, sequences: TokenSequences, counts_V: np.ndarray, config: EventEmbeddingConfig
) -> pl.DataFrame:
    """Score every event against what the cache expected when it happened.

    Args:
        backbone: the pretrained model.
        sequences: all histories.
        counts_V: int64, how often each token was seen in training, from the tokenizer: expected without history.
        config: how fresh the cache was.

    Returns:
        One row per event: surprise (float32, -log p in nats of its token, or of its whole tuple if the backbone is
        factored; without history p is the token's share in training) and cosine (float32, between the expected vector
        and that of what came, of tokens or of `cache.tuples`; 0 without history).

    Source: PANTHER Eq. 3, the deviation between x_new and its prediction.
    """
    as_of_N = as_of_rows(sequences, config.refresh)
    surprise_N = -log_share(counts_V)[sequences.token_ids_N]
    cosine_N = np.zeros(sequences.num_events, dtype=np.float32)
    step = max(1, _LOGITS_PER_STEP // _numbers_per_event(backbone))
    # Several events may meet the same cached state: with a daily refresh, all of a user's day.
    events = np.flatnonzero(as_of_N >= 0)
    events = events[np.argsort(as_of_N[events], kind="stable")]
    sorted_as_of = as_of_N[events]
    with tqdm(total=len(events), desc="surprise", unit="event", unit_scale=True) as bar:
        for rows_m, h_mD in iter_state_chunks(backbone, sequences, np.unique(sorted_as_of), config.batch_size):
            first_m = np.searchsorted(sorted_as_of, rows_m, side="left")
            counts_m = np.searchsorted(sorted_as_of, rows_m, side="right") - first_m
            state_n = np.repeat(np.arange(len(rows_m)), counts_m)
            offset_n = np.arange(len(state_n)) - np.repeat(np.cumsum(counts_m) - counts_m, counts_m)
            events_n = events[first_m[state_n] + offset_n]
            for start in range(0, len(events_n), step):
                chosen = slice(start, start + step)
                surprise_c, cosine_c = _deviate(
                    backbone, h_mD[torch.from_numpy(state_n[chosen])], sequences, events_n[chosen]
                )
                surprise_N[events_n[chosen]], cosine_N[events_n[chosen]] = surprise_c, cosine_c
            bar.update(len(events_n))
    return pl.DataFrame({"surprise": surprise_N, "cosine": cosine_N})


def _deviate(
    backbone: Backbone, h_cD: torch.Tensor, sequences: TokenSequences, rows_c: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    token_ids_c, attribute_ids_cF = (
        torch.from_numpy(ids[rows_c].astype(np.int64)).to(h_cD.device)
        for ids in (sequences.token_ids_N, sequences.attribute_ids_NF)
    )
    with torch.inference_mode():
        surprise_c, cosine_c = deviate(backbone, forecast(backbone, h_cD), token_ids_c, attribute_ids_cF)
    return surprise_c.cpu().numpy(), cosine_c.cpu().numpy()


def _numbers_per_event(backbone: Backbone) -> int:
    if backbone.tuple_head is None:
        return backbone.vocab_size
    return sum(backbone.attribute_sizes) + 2 * backbone.config.dim * len(backbone.attribute_sizes)


def embed_events(
    backbone: Backbone, sequences: TokenSequences, surprises: pl.DataFrame, config: EventEmbeddingConfig
) -> pl.DataFrame:
    """The embedding each event of the window would have met in the cache, and how much it deviates from it.

    Args:
        backbone: the pretrained model.
        sequences: all histories.
        surprises: of all events, from `measure_surprises`.
        config: the window and the refresh.

    Returns:
        One row per event of a split and at or after `since`: row (int64, into `sequences`), embedding
        (Array(Float32, D); zeros without history), history_length (int64 events behind the embedding), surprise
        (nats), surprise_z (standard deviations), cosine.

    Source: PANTHER Eq. 3 (Δ between observed and predicted behaviour).
    """
    chosen_N = sequences.split_N != UNUSED
    if config.since is not None:
        chosen_N &= sequences.time_us_N >= to_us(parse_instant(config.since))
    return embed_rows(backbone, sequences, surprises, np.flatnonzero(chosen_N), config)


def embed_rows(
    backbone: Backbone,
    sequences: TokenSequences,
    surprises: pl.DataFrame,
    rows_M: np.ndarray,
    config: EventEmbeddingConfig,
) -> pl.DataFrame:
    """The embedding each chosen event would have met in the cache, whatever split it belongs to.

    Args:
        backbone: the pretrained model.
        sequences: all histories.
        surprises: of all events, from `measure_surprises`.
        rows_M: int64 rows of `sequences`, no duplicates.
        config: the refresh; its `since` is not read.

    Returns:
        One row per chosen event, in the order given, with the columns of `embed_events`.
    """
    as_of_N = as_of_rows(sequences, config.refresh)
    embedding_MD = as_of_states(backbone, sequences, as_of_N[rows_M], config.batch_size, "embed")
    has_history_M = as_of_N[rows_M] >= 0
    first_N = sequences.first_row_N()
    surprise_N = surprises["surprise"].to_numpy()
    z_N = standardise_by_past(surprise_N, sequences.offsets_U1, as_of_N)
    return pl.DataFrame(
        {
            "row": rows_M,
            "embedding": pl.Series(embedding_MD, dtype=pl.Array(pl.Float32, backbone.config.dim)),
            "history_length": np.where(has_history_M, as_of_N[rows_M] - first_N[rows_M] + 1, 0),
            "surprise": surprise_N[rows_M],
            "surprise_z": z_N[rows_M],
            "cosine": surprises["cosine"].to_numpy()[rows_M],
        }
    )
