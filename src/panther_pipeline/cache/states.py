"""Causal hidden states of chosen events, one forward pass serving many of them.

Shape letters: N events, M chosen events, m those of a chunk, W windows, B those of a batch, T context, D width,
R events that need a state, some of them the same one.

A long history does not fit the context at once. It is cut into blocks of half a context, and a block is read together
with the block before it, so each state sees between T/2 and T of the latest events (or all there are). Which events
a state sees is a function of its position alone: whoever recomputes it later, online, gets the same number.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from panther_pipeline.cache.as_of import window_start
from panther_pipeline.errors import ArtifactError
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.model.batch import EventBatch
from panther_pipeline.tokenizer.sequences import TokenSequences


@dataclass(frozen=True, kw_only=True)
class StateWindows:
    """The windows that the states of chosen events are read off, W of them; rows of one user and block share one."""

    rows_M: np.ndarray  # int64, sorted: the chosen rows
    bounds_W1: np.ndarray  # int64: the rows of window w are rows_M[bounds[w]:bounds[w + 1]]
    user_ix_W: np.ndarray  # int64
    starts_W: np.ndarray  # int64 rows of the sequences
    stops_W: np.ndarray  # int64; the row after the last chosen one: nothing later is read

    @property
    def lengths_W(self) -> np.ndarray:
        """Events read."""
        return self.stops_W - self.starts_W

    def rows_of(self, windows_B: np.ndarray) -> np.ndarray:
        """int64 (m,): the chosen rows of some windows, window after window."""
        return np.concatenate([self.rows_M[self.bounds_W1[w] : self.bounds_W1[w + 1]] for w in windows_B])

    def states(self, backbone: Backbone, sequences: TokenSequences, windows_B: np.ndarray) -> torch.Tensor:
        """h_mD of `rows_of(windows_B)`: one forward pass, with gradients where the caller's context allows them."""
        starts_B, stops_B = self.starts_W[windows_B], self.stops_W[windows_B]
        batch = EventBatch.from_windows(sequences, self.user_ix_W[windows_B], starts_B, stops_B).to(backbone.device)
        in_batch_m = np.repeat(np.arange(len(windows_B)), np.diff(self.bounds_W1)[windows_B])
        position_m = self.rows_of(windows_B) - starts_B[in_batch_m]
        return backbone(batch)[torch.from_numpy(in_batch_m), torch.from_numpy(position_m)]


def plan_windows(sequences: TokenSequences, rows_M: np.ndarray, max_events: int) -> StateWindows:
    """Group chosen events by the window that `window_start` gives each of them.

    Args:
        sequences: all histories.
        rows_M: int64 rows of `sequences`, any order, no duplicates.
        max_events: longest history the backbone reads.
    """
    block = max(1, max_events // 2)
    user_start_N = sequences.first_row_N()
    rows_M = np.sort(rows_M)
    position_M = rows_M - user_start_N[rows_M]
    is_new_M = np.ones(len(rows_M), dtype=bool)
    same_user = np.diff(user_start_N[rows_M]) == 0
    is_new_M[1:] = ~(same_user & (np.diff(position_M // block) == 0))
    bounds_W1 = np.append(np.flatnonzero(is_new_M), len(rows_M))
    starts_M = user_start_N[rows_M] + window_start(position_M, max_events)
    return StateWindows(
        rows_M=rows_M,
        bounds_W1=bounds_W1,
        user_ix_W=sequences.user_ix_N()[rows_M[is_new_M]],
        starts_W=starts_M[is_new_M],
        stops_W=rows_M[bounds_W1[1:] - 1] + 1,
    )


def iter_state_chunks(
    backbone: Backbone, sequences: TokenSequences, rows_M: np.ndarray, batch_size: int = 64
) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
    """States after the chosen events, in chunks.

    Args:
        backbone: in evaluation mode; its device is used.
        sequences: all histories.
        rows_M: int64 rows of `sequences`, any order, no duplicates.
        batch_size: windows per forward pass.

    Yields:
        (rows_m, h_mD): some of the rows and, for each, the float32 hidden state after that event. Every row comes once.

    Raises:
        ArtifactError: the backbone was trained on another tokenizer's tokens.
    """
    if backbone.tokenizer_digest != sequences.tokenizer_digest:
        raise ArtifactError(
            f"the backbone was trained with tokenizer {backbone.tokenizer_digest[:12] or 'unknown'}, these sequences "
            f"were encoded with {sequences.tokenizer_digest[:12]}: their token ids mean different things. "
            "Run the pretrain pipeline again."
        )
    windows = plan_windows(sequences, rows_M, backbone.config.max_events)
    # Windows of similar length go together: little padding.
    order = np.argsort(windows.lengths_W, kind="stable")
    for chunk in np.array_split(order, max(1, -(-len(order) // batch_size))) if len(order) else []:
        with torch.inference_mode():
            h_mD = windows.states(backbone, sequences, chunk)
        yield windows.rows_of(chunk), h_mD.float()


def as_of_states(
    backbone: Backbone, sequences: TokenSequences, as_of_R: np.ndarray, batch_size: int, what: str | None
) -> np.ndarray:
    """The embedding each of some events met in the cache.

    Args:
        backbone: in evaluation mode.
        sequences: all histories.
        as_of_R: int64 row of the last event the cache had seen, -1 for none; several events may have the same.
        batch_size: windows per forward pass.
        what: name of the progress bar; None = no bar.

    Returns:
        float32 (R, D); zeros without history.
    """
    has_history_R = as_of_R >= 0
    wanted = np.unique(as_of_R[has_history_R])
    states = np.zeros((len(wanted), backbone.config.dim), dtype=np.float32)
    with tqdm(total=len(wanted), desc=what, unit="event", unit_scale=True, disable=what is None) as bar:
        for rows_m, h_mD in iter_state_chunks(backbone, sequences, wanted, batch_size):
            states[np.searchsorted(wanted, rows_m)] = h_mD.cpu().numpy()
            bar.update(len(rows_m))
    embedding_RD = np.zeros((len(as_of_R), backbone.config.dim), dtype=np.float32)
    embedding_RD[has_history_R] = states[np.searchsorted(wanted, as_of_R[has_history_R])]
    return embedding_RD


def collect_states(
    backbone: Backbone, sequences: TokenSequences, rows_M: np.ndarray, batch_size: int = 64
) -> torch.Tensor:
    """`iter_state_chunks` in one table on the CPU: float32 (M, D), row m for `rows_M[m]`, which must ascend."""
    h_MD = torch.empty(len(rows_M), backbone.config.dim)
    with tqdm(total=len(rows_M), desc="states", unit="event", unit_scale=True) as bar:
        for rows_m, h_mD in iter_state_chunks(backbone, sequences, rows_M, batch_size):
            h_MD[np.searchsorted(rows_M, rows_m)] = h_mD.cpu()
            bar.update(len(rows_m))
    return h_MD


def token_vectors(backbone: Backbone) -> torch.Tensor:
    """The learned vector of every token of a structured backbone, float32 (V, D), without gradient."""
    return backbone.embedding.token.weight.detach().float()
