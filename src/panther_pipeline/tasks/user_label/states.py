"""What the backbone knew of a user on a date.

Shape letters: L labels, D width, N events.
"""

import numpy as np
import polars as pl

from panther_pipeline.cache.embed import EventEmbeddingConfig
from panther_pipeline.cache.states import as_of_states
from panther_pipeline.errors import ConfigurationError
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.units import epoch_us


def embed_histories(
    labels: pl.DataFrame,
    sequences: TokenSequences,
    backbone: Backbone,
    surprises: pl.DataFrame,
    config: EventEmbeddingConfig,
) -> pl.DataFrame:
    """The backbone's state after the last event strictly before each date, and how surprising the user had been.

    Args:
        labels: user_id and as_of; every user is one of `sequences`.
        sequences: all histories.
        backbone: the pretrained model.
        surprises: of all events, from `measure_surprises`.
        config: windows per forward pass.

    Returns:
        Row l = row l of `labels`: user_id, as_of, embedding (Array(Float32, D)), surprise_mean and surprise_std
        (float32, nats, of the events before), has_history (bool). Without events before the date all numbers are 0.

    Raises:
        ConfigurationError: a user is none of `sequences`, or `surprises` are of another ledger.
        ArtifactError: the backbone was trained on another tokenizer's tokens.
    """
    if surprises.height != sequences.num_events:
        raise ConfigurationError(
            f"event_surprises ({surprises.height} rows) do not belong to token_sequences ({sequences.num_events} "
            "events). Run the embed pipeline again."
        )
    first_L, stop_L = past_rows(labels, sequences)
    surprise_N = surprises["surprise"].to_numpy()
    pasts = [surprise_N[first:stop] for first, stop in zip(first_L, stop_L, strict=True)]
    last_L = np.where(stop_L > first_L, stop_L - 1, -1)
    states_LD = as_of_states(backbone, sequences, last_L, config.batch_size, "embed user labels")
    return labels.select("user_id", "as_of").with_columns(
        pl.Series("embedding", states_LD, dtype=pl.Array(pl.Float32, backbone.config.dim)),
        pl.Series("surprise_mean", [past.mean(dtype=np.float64) if len(past) else 0.0 for past in pasts], pl.Float32),
        pl.Series("surprise_std", [past.std(dtype=np.float64) if len(past) else 0.0 for past in pasts], pl.Float32),
        pl.Series("has_history", stop_L > first_L),
    )


def past_rows(labels: pl.DataFrame, sequences: TokenSequences) -> tuple[np.ndarray, np.ndarray]:
    """Of each label the rows of its user's events strictly before its date.

    Returns:
        first_L, stop_L: int64, the rows are first:stop; equal where there is none.

    Raises:
        ConfigurationError: a user is none of `sequences`.
    """
    position = {user_id: ix for ix, user_id in enumerate(sequences.user_ids)}
    strangers = labels.filter(~pl.col("user_id").is_in(list(position)))
    if strangers.height:
        raise ConfigurationError(
            f"{strangers.height} of {labels.height} user labels belong to users without token sequences. Run the "
            "pipelines from tokenize again, so that both are of the same ledger."
        )
    user_L = np.array([position[user_id] for user_id in labels["user_id"]], dtype=np.int64)
    first_L, end_L = sequences.offsets_U1[user_L], sequences.offsets_U1[user_L + 1]
    stop_L = [
        first + np.searchsorted(sequences.time_us_N[first:end], as_of_us, side="left")
        for first, end, as_of_us in zip(first_L, end_L, epoch_us(labels["as_of"]), strict=True)
    ]
    return first_L, np.array(stop_L, dtype=np.int64)
