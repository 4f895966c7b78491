"""The main loss: -log p of what came next.

Shape letters: N positions with a target, n those of one chunk, F token attributes, D width, V vocabulary.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from panther_pipeline.model.tuple_head import TupleHead
from panther_pipeline.training.losses.chunks import MAX_LOGITS, at_least_float32, mean_in_chunks


def next_token_loss(
    h_ND: Tensor,
    targets_N: Tensor,
    logits: Callable[[Tensor], Tensor],
    vocab_size: int,
    max_logits: int = MAX_LOGITS,
) -> Tensor:
    """Mean cross-entropy over the full vocabulary, nats.

    Args:
        h_ND: states of the positions that have a target.
        targets_N: int64 tokens.
        logits: states (n, D) to scores (n, V).
        vocab_size: V.
        max_logits: largest n·V of one chunk, see `mean_in_chunks`.
    """

    def loss_sum(h_nD: Tensor, targets_n: Tensor) -> Tensor:
        return cross_entropy(at_least_float32(logits(h_nD)), targets_n, reduction="sum")

    return mean_in_chunks(loss_sum, (h_ND, targets_N), vocab_size, max_logits)


def next_tuple_loss(h_ND: Tensor, attribute_ids_NF: Tensor, head: TupleHead, max_logits: int = MAX_LOGITS) -> Tensor:
    """Mean of -log p of whole tuples, nats: the sum of the attributes' cross-entropies, each given those before it.

    Args:
        h_ND: states of the positions that have a target.
        attribute_ids_NF: int64 attribute ids of the targets.
        head: gives the scores.
        max_logits: largest n·S of one chunk, see `mean_in_chunks`.
    """
    losses = [
        next_token_loss(context_ND, attribute_ids_NF[:, f] - 1, partial(head.logits, f), head.sizes[f], max_logits)
        for f, context_ND in enumerate(head.contexts(h_ND, attribute_ids_NF))
    ]
    return torch.stack(losses).sum()
