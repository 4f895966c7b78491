"""What the prototypes stand for: which events attend to which (PANTHER, Fig. 3).

A pattern is a token, a motif (`report.motifs`), or every event there is; its row is the mean attention of the events
at which it ends. The model has read the events before, so the end of a motif knows the motif.

Shape letters: B windows, T events, n events of a batch, G patterns, K prototypes, M motifs of one length, L its length.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl
import torch
from pydantic import Field

from panther_pipeline.config import Config
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.model.batch import EventBatch
from panther_pipeline.report.motifs import motif_keys
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.tokenizer.tokenizer import Tokenizer

SCHEMA = {
    "length": pl.Int8,  # tokens of the pattern: 1 a token, 2 or 3 a motif, 0 every event
    "pattern": pl.String,
    "last_token_id": pl.Int64,
    "lift": pl.Float64,
    "num_events": pl.Int64,
    "prototype": pl.Int64,
    "weight": pl.Float32,
    "deviation": pl.Float32,
}
EVERY_EVENT = "every event"


class PrototypeConfig(Config):
    """How much is read to describe the prototypes."""

    num_tokens: int = Field(gt=0)  # rows of the heat map of tokens: those seen most often in what was read
    num_nearest: int = Field(gt=0)  # tokens, and motifs, named as nearest to each prototype
    min_events: int = Field(gt=0)  # tokens and motifs seen in fewer events of what was read are left out
    max_windows: int = Field(gt=0)  # pieces of history read, each at most the model's context, drawn at random
    batch_size: int = Field(gt=0)
    seed: int  # of that draw


def tabulate_prototype_weights(
    backbone: Backbone, sequences: TokenSequences, tokenizer: Tokenizer, motifs: pl.DataFrame, config: PrototypeConfig
) -> pl.DataFrame:
    """Mean attention of the last block's prototypes over the events of each token and at the end of each motif.

    Args:
        backbone: in evaluation mode.
        sequences: all histories.
        tokenizer: for the names.
        motifs: from `find_motifs`.
        config: what is read.

    Returns:
        For each pattern and prototype: length (tokens of the pattern, 0 = every event), pattern (its name),
        last_token_id (null of every event), lift (of a motif, else null), num_events (events the mean is over),
        prototype (0 to K - 1), weight (float32 mean; those of a pattern sum to 1), deviation (float32 standard
        deviation over the events). Every event comes first, then tokens, the most frequent first, then motifs in their
        order. No rows when the backbone has no prototypes.
    """
    sums = _AttentionSums(sequences.vocab_size, motifs)
    for batch in _draw_windows(backbone.max_events, sequences, config):
        with torch.inference_mode():
            weights_BTK = backbone.prototype_weights(batch.to(backbone.device))
        if weights_BTK is None:
            break
        sums.add(batch.token_ids_BT.numpy(), weights_BTK)
    return sums.tabulate(tokenizer, config.min_events)


def _draw_windows(max_events: int, sequences: TokenSequences, config: PrototypeConfig) -> Iterator[EventBatch]:
    """Some of the windows into which the histories are cut, without overlap, from the newest event backwards."""
    num_windows_U = -(-np.diff(sequences.offsets_U1) // max_events)
    users = np.repeat(np.arange(sequences.num_users), num_windows_U)
    last_U = np.cumsum(num_windows_U) - 1
    stops = sequences.offsets_U1[users + 1] - (last_U[users] - np.arange(len(users))) * max_events
    starts = np.maximum(sequences.offsets_U1[users], stops - max_events)
    chosen = np.arange(len(users))
    if len(chosen) > config.max_windows:
        chosen = np.sort(np.random.default_rng(config.seed).choice(chosen, config.max_windows, replace=False))
    for first in range(0, len(chosen), config.batch_size):
        part = chosen[first : first + config.batch_size]
        yield EventBatch.from_windows(sequences, users[part], starts[part], stops[part])


class _AttentionSums:
    """Sums of attention per pattern: row 0 every event, then the tokens by id, then the motifs."""

    def __init__(self, vocab_size: int, motifs: pl.DataFrame) -> None:
        self.first_motif, self.motifs = 1 + vocab_size, motifs
        self.num_events_G = np.zeros(self.first_motif + len(motifs), dtype=np.int64)
        self.sum_GK: torch.Tensor | None = None
        self.square_GK: torch.Tensor | None = None
        lengths_G = motifs["tokens"].list.len().to_numpy()
        # For each length the sorted keys of its motifs, and which pattern each is.
        self.keys: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        for length in np.unique(lengths_G).tolist():
            at_M = np.flatnonzero(lengths_G == length)
            tokens_ML = np.array(motifs["tokens"].gather(at_M).to_list())
            keys_M = motif_keys(tokens_ML, length)[:, 0]
            order = np.argsort(keys_M)
            self.keys[length] = keys_M[order], self.first_motif + at_M[order]

    def add(self, token_ids_BT: np.ndarray, weights_BTK: torch.Tensor) -> None:
        """Count a batch of windows; padding is token 0."""
        weights_EK = weights_BTK.flatten(0, 1).double()
        if self.sum_GK is None:
            self.sum_GK = weights_EK.new_zeros(len(self.num_events_G), weights_EK.shape[1])
            self.square_GK = torch.zeros_like(self.sum_GK)
        for pattern_n, event_n in self._patterns(token_ids_BT):
            into = torch.from_numpy(pattern_n).to(weights_EK.device)
            weights_nK = weights_EK[torch.from_numpy(event_n).to(weights_EK.device)]
            self.sum_GK.index_add_(0, into, weights_nK)
            self.square_GK.index_add_(0, into, weights_nK.square())
            self.num_events_G += np.bincount(pattern_n, minlength=len(self.num_events_G))

    def _patterns(self, token_ids_BT: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Pairs of a pattern and an event (its place in the flattened batch) that ends it."""
        num_events = token_ids_BT.shape[1]
        event_n = np.flatnonzero(token_ids_BT)
        yield np.zeros(len(event_n), np.int64), event_n
        yield 1 + token_ids_BT.ravel()[event_n], event_n
        for length, (keys_M, pattern_M) in self.keys.items():
            window_b, start_t = np.nonzero((keys := motif_keys(token_ids_BT, length)) >= 0)
            found_n = keys[window_b, start_t]
            at_n = np.minimum(np.searchsorted(keys_M, found_n), len(keys_M) - 1)
            is_motif_n = keys_M[at_n] == found_n
            event_n = window_b * num_events + start_t + length - 1
            yield pattern_M[at_n[is_motif_n]], event_n[is_motif_n]

    def tabulate(self, tokenizer: Tokenizer, min_events: int) -> pl.DataFrame:
        """Means and deviations of the patterns that were seen often enough."""
        if self.sum_GK is None:
            return pl.DataFrame(schema=SCHEMA)
        order_V = 1 + np.argsort(-self.num_events_G[1 : self.first_motif], kind="stable")
        order_G = np.concatenate([[0], order_V, np.arange(self.first_motif, len(self.num_events_G))])
        shown = order_G[(self.num_events_G[order_G] >= min_events) | (order_G == 0)]
        num_G1 = self.num_events_G[shown, None]
        mean_GK = self.sum_GK.cpu().numpy()[shown] / num_G1
        variance_GK = self.square_GK.cpu().numpy()[shown] / num_G1 - mean_GK**2
        num_prototypes = mean_GK.shape[1]
        names = [EVERY_EVENT, *tokenizer.names, *self.motifs["name"]]
        lengths = np.concatenate([[0], np.ones(self.first_motif - 1), self.motifs["tokens"].list.len()])
        lasts = [None, *range(self.first_motif - 1), *self.motifs["tokens"].list.last()]
        lifts = [None] * self.first_motif + self.motifs["lift"].to_list()
        columns = {
            "length": np.repeat(lengths[shown], num_prototypes),
            "pattern": [names[g] for g in shown for _ in range(num_prototypes)],
            "last_token_id": [lasts[g] for g in shown for _ in range(num_prototypes)],
            "lift": [lifts[g] for g in shown for _ in range(num_prototypes)],
            "num_events": np.repeat(self.num_events_G[shown], num_prototypes),
            "prototype": np.tile(np.arange(num_prototypes), len(shown)),
            "weight": mean_GK.ravel(),
            "deviation": np.sqrt(np.maximum(variance_GK, 0)).ravel(),
        }
        return pl.DataFrame(columns, schema_overrides={"lift": pl.Float64}).cast(SCHEMA)
