"""Fit a head per attribute on states of the frozen backbone; validation events decide when to stop.

Shape letters: N events, M targets, D width, V ids of one attribute.
"""

import copy
import logging
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from panther_pipeline.baselines.candidates import SeenTokens
from panther_pipeline.cache.states import collect_states
from panther_pipeline.errors import TrainingError
from panther_pipeline.ledger.splits import TRAIN, VALID
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.tasks.next_value.config import NextValueConfig
from panther_pipeline.tasks.next_value.head import NextValueHead, NextValueHeads, ValueNetwork
from panther_pipeline.tasks.next_value.values import encode_values
from panther_pipeline.tokenizer.fields import FittedField
from panther_pipeline.tokenizer.sequences import TokenSequences

logger = logging.getLogger(__name__)
_SCORES_AT_ONCE = 1 << 22  # 16 MB of float32: no M x V table of all targets, however many values


@dataclass(frozen=True)
class Targets:
    """Events to forecast, and the state after the event before each."""

    rows_M: np.ndarray
    h_MD: Tensor


def fit_next_value_heads(
    fields: list[FittedField],
    events: pl.LazyFrame,
    sequences: TokenSequences,
    backbone: Backbone,
    config: NextValueConfig,
) -> NextValueHeads:
    """One head per attribute; all of them read the same states of the same drawn events.

    Args:
        fields: from `fit_value_fields`.
        events: `valid_events`; row n is row n of the sequences.
        sequences: all histories.
        backbone: in evaluation mode; its weights stay as they are.
        config: how many events, and how they are trained on.

    Returns:
        The heads; none where no attribute or no training event can be forecast, the latter with a warning.

    Raises:
        TrainingError: the loss is not finite.
    """
    heads: list[NextValueHead] = []
    rows_M = draw_targets(sequences, backbone, TRAIN, config.max_events, config.seed)
    if fields and not len(rows_M):
        logger.warning("No training event has an earlier event of its user: no next value is forecast.")
    elif fields:
        train = _with_states(backbone, sequences, rows_M)
        valid_rows_M = draw_targets(sequences, backbone, VALID, config.max_valid_events, config.seed)
        if not len(valid_rows_M):
            logger.warning(
                "No validation event: the next-value heads are trained for all %d epochs.", config.max_epochs
            )
        valid = _with_states(backbone, sequences, valid_rows_M)
        for field in fields:
            values = encode_values(events, sequences, field)
            heads.append(NextValueHead(field=field, network=_train(values, train, valid, config)))
    return NextValueHeads(heads, dim=backbone.config.dim, backbone_digest=backbone.digest)


def draw_targets(sequences: TokenSequences, backbone: Backbone, split: int, max_events: int, seed: int) -> np.ndarray:
    """Events of a split that have an earlier one of their user; if there are too many, pieces of histories at random.

    A piece is what one forward pass gives the states of, half a context: events drawn one by one from all over the
    ledger would need a pass each.

    Returns:
        int64 (M,), ascending, M <= max_events.
    """
    first_N = sequences.first_row_N()
    rows_M = np.flatnonzero((sequences.split_N == split) & (np.arange(sequences.num_events) > first_N))
    if len(rows_M) <= max_events:
        return rows_M
    block = max(1, backbone.max_events // 2)
    is_new_M = np.ones(len(rows_M), dtype=bool)
    is_new_M[1:] = (np.diff(first_N[rows_M]) != 0) | (np.diff((rows_M - first_N[rows_M] - 1) // block) != 0)
    pieces = np.split(rows_M, np.flatnonzero(is_new_M)[1:])
    order = np.random.default_rng(seed).permutation(len(pieces))
    drawn = np.concatenate([pieces[piece] for piece in order])
    return np.sort(drawn[:max_events])


def _with_states(backbone: Backbone, sequences: TokenSequences, rows_M: np.ndarray) -> Targets:
    return Targets(rows_M, collect_states(backbone, sequences, rows_M - 1))


def _train(values: TokenSequences, train: Targets, valid: Targets, config: NextValueConfig) -> ValueNetwork:
    """The network of the epoch with the lowest loss on the validation events; of the last one without any."""
    seen, generator = SeenTokens(values), torch.Generator().manual_seed(config.seed)
    network = ValueNetwork(train.h_MD.shape[1], values.vocab_size, copy_past=config.copy_past)
    train_ids = values.token_ids_N[values.split_N == TRAIN]
    network.start_from_frequencies(np.bincount(train_ids, minlength=values.vocab_size))
    optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
    best, best_loss, waited = copy.deepcopy(network.state_dict()), float("inf"), 0
    with tqdm(total=config.max_epochs, desc=f"next {values.vocab_size - 2} values", unit="epoch") as bar:
        for _ in range(config.max_epochs):
            for batch in torch.randperm(len(train.rows_M), generator=generator).split(config.batch_size):
                _step(network, optimizer, values, seen, train, batch)
            bar.update()
            loss = _mean_loss(network, values, seen, valid)
            if loss < best_loss or not len(valid.rows_M):
                best, best_loss, waited = copy.deepcopy(network.state_dict()), loss, 0
            elif (waited := waited + 1) >= config.patience:
                break
            bar.set_postfix_str(f"validation {best_loss:.3f} nats")
    network.load_state_dict(best)
    return network


def _step(
    network: ValueNetwork,
    optimizer: torch.optim.Optimizer,
    values: TokenSequences,
    seen: SeenTokens,
    train: Targets,
    batch: Tensor,
) -> None:
    loss = _loss(network, values, seen, train, batch).mean()
    if not torch.isfinite(loss):
        raise TrainingError(
            f"The loss of a next-value head is {loss.item()}: lower finetuning.next_value.learning_rate, or look for "
            "states of the backbone that are not finite."
        )
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def _loss(network: ValueNetwork, values: TokenSequences, seen: SeenTokens, targets: Targets, batch: Tensor) -> Tensor:
    """-log p of the value that came, nats, one per target of the batch."""
    rows = targets.rows_M[batch.numpy()]
    past = seen.counted_pairs(rows) if network.copy_past else None
    true = torch.from_numpy(np.asarray(values.token_ids_N[rows], dtype=np.int64))
    return cross_entropy(network(targets.h_MD[batch], past), true, reduction="none")


def _mean_loss(network: ValueNetwork, values: TokenSequences, seen: SeenTokens, targets: Targets) -> float:
    if not len(targets.rows_M):
        return float("nan")
    step = max(1, _SCORES_AT_ONCE // values.vocab_size)
    with torch.inference_mode():
        losses = [_loss(network, values, seen, targets, part) for part in torch.arange(len(targets.rows_M)).split(step)]
        return torch.cat(losses).mean().item()
