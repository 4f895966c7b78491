"""What the prototypes stand for: which events attend to which (PANTHER, Fig. 3).

Shape letters: B windows, T events, K prototypes, V vocabulary.
"""

import numpy as np
import polars as pl
import torch
from pydantic import Field

from panther_pipeline.config import Config
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.model.batch import EventBatch
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.tokenizer.tokenizer import Tokenizer

SCHEMA = {
    "token_id": pl.Int64,
    "token": pl.String,
    "num_events": pl.Int64,
    "prototype": pl.Int64,
    "weight": pl.Float32,
}


class PrototypeConfig(Config):
    """How much is read to describe the prototypes."""

    num_tokens: int = Field(gt=0)  # rows of the heat map: the tokens seen most often in what was read
    max_users: int = Field(gt=0)  # users read, drawn at random; of each the latest context
    batch_size: int = Field(gt=0)
    seed: int  # of that draw


def tabulate_prototype_weights(
    backbone: Backbone, sequences: TokenSequences, tokenizer: Tokenizer, config: PrototypeConfig
) -> pl.DataFrame:
    """Mean attention of the last block's prototypes over the events of each frequent token.

    Args:
        backbone: in evaluation mode.
        sequences: all histories.
        tokenizer: for the names.
        config: what is read.

    Returns:
        token_id, token, num_events (events the mean is over), prototype (0..K-1), weight (float32; the
        weights of a token sum to 1). No rows when the backbone has no prototypes.
    """
    weights_VK, events_V = _sum_weights(backbone, sequences, config)
    if weights_VK is None:
        return pl.DataFrame(schema=SCHEMA)
    order = np.argsort(-events_V, kind="stable")[: config.num_tokens]
    top = order[events_V[order] > 0]
    num_prototypes = weights_VK.shape[1]
    return pl.DataFrame(
        {
            "token_id": np.repeat(top, num_prototypes),
            "token": np.repeat([tokenizer.names[token] for token in top], num_prototypes),
            "num_events": np.repeat(events_V[top], num_prototypes),
            "prototype": np.tile(np.arange(num_prototypes), len(top)),
            "weight": (weights_VK[top] / events_V[top, None]).ravel(),
        },
        schema=SCHEMA,
    )


def _sum_weights(
    backbone: Backbone, sequences: TokenSequences, config: PrototypeConfig
) -> tuple[np.ndarray | None, np.ndarray]:
    """Summed weights (V, K) and number of events (V,) per token over the latest windows of some users."""
    users = np.flatnonzero(np.diff(sequences.offsets_U1))
    if len(users) > config.max_users:
        users = np.sort(np.random.default_rng(config.seed).choice(users, config.max_users, replace=False))
    stops = sequences.offsets_U1[users + 1]
    starts = np.maximum(sequences.offsets_U1[users], stops - backbone.max_events)
    events_V = np.zeros(sequences.vocab_size, dtype=np.int64)
    total_VK = None
    for first in range(0, len(users), config.batch_size):
        part = slice(first, first + config.batch_size)
        batch = EventBatch.from_windows(sequences, users[part], starts[part], stops[part]).to(backbone.device)
        with torch.inference_mode():
            weights_BTK = backbone.prototype_weights(batch)
        if weights_BTK is None:
            return None, events_V
        is_event_BT = batch.token_ids_BT > 0
        tokens = batch.token_ids_BT[is_event_BT]
        if total_VK is None:
            total_VK = torch.zeros(sequences.vocab_size, weights_BTK.shape[-1], device=backbone.device)
        total_VK.index_add_(0, tokens, weights_BTK[is_event_BT].float())
        events_V += np.bincount(tokens.cpu().numpy(), minlength=sequences.vocab_size)
    return (None if total_VK is None else total_VK.cpu().numpy()), events_V
