"""Causal hidden states of chosen events, one forward pass serving many of them.

Shape letters: N events, M chosen events, T context, D width.

A long history does not fit the context at once. It is cut into blocks of half a context, and a block is read together
with the block before it, so each state sees between T/2 and T of the latest events (or all there are). Which events
a state sees is a function of its position alone: whoever recomputes it later, online, gets the same number.
"""

from collections.abc import Iterator

import numpy as np
import torch
from tqdm import tqdm

from panther_pipeline.errors import ArtifactError
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.model.batch import EventBatch
from panther_pipeline.tokenizer.sequences import TokenSequences


def window_start(position: np.ndarray | int, max_events: int) -> np.ndarray | int:
    """First position a state at `position` sees: the start of the block before its own."""
    block = max(1, max_events // 2)
    return np.maximum(0, (position // block - 1) * block)


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
    block = max(1, backbone.config.max_events // 2)
    user_N = sequences.user_ix_N()
    user_start_N = sequences.first_row_N()
    rows_M = np.sort(rows_M)
    position_M = rows_M - user_start_N[rows_M]
    first_M = user_start_N[rows_M] + window_start(position_M, backbone.config.max_events)
    # Rows of one user and block share one window, which ends at the last of them.
    is_new_M = np.ones(len(rows_M), dtype=bool)
    same_user = np.diff(user_start_N[rows_M]) == 0
    is_new_M[1:] = ~(same_user & (np.diff(position_M // block) == 0))
    starts = first_M[is_new_M]
    last_of_window = np.flatnonzero(np.append(is_new_M[1:], True)) if len(rows_M) else np.array([], dtype=np.int64)
    stops = rows_M[last_of_window] + 1
    bounds = np.append(np.flatnonzero(is_new_M), len(rows_M))
    # Windows of similar length go together: little padding.
    order = np.argsort(stops - starts, kind="stable")
    for chunk in np.array_split(order, max(1, -(-len(order) // batch_size))) if len(order) else []:
        batch = EventBatch.from_windows(sequences, user_N[starts[chunk]], starts[chunk], stops[chunk])
        batch = batch.to(backbone.device)
        members = [rows_M[bounds[w] : bounds[w + 1]] for w in chunk]
        rows_m = np.concatenate(members)
        in_batch = np.repeat(np.arange(len(chunk)), [len(m) for m in members])
        with torch.inference_mode():
            h_BTD = backbone(batch)
            h_mD = h_BTD[torch.from_numpy(in_batch), torch.from_numpy(rows_m - starts[chunk][in_batch])]
        yield rows_m, h_mD.float()


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
