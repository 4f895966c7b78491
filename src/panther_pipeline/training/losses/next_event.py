"""The main loss: -log p of what came next.

Shape letters: N positions with a target, F token attributes, D width, V vocabulary.
"""

import torch
from torch import Tensor

from panther_pipeline.model.tuple_head import TupleHead
from panther_pipeline.training.losses.linear_cross_entropy import linear_cross_entropy
from panther_pipeline.training.protocol import NextTokenModel


def next_token_loss(h_ND: Tensor, targets_N: Tensor, model: NextTokenModel) -> Tensor:
    """Mean cross-entropy over the full vocabulary, nats.

    Args:
        h_ND: states of the positions that have a target.
        targets_N: int64 tokens.
        model: gives the factors of the scores.
    """
    return linear_cross_entropy(*model.next_token_factors(h_ND), targets_N)


def next_tuple_loss(h_ND: Tensor, attribute_ids_NF: Tensor, head: TupleHead) -> Tensor:
    """Mean of -log p of whole tuples, nats: the sum of the attributes' cross-entropies, each given those before it.

    Args:
        h_ND: states of the positions that have a target.
        attribute_ids_NF: int64 attribute ids of the targets.
        head: gives the factors of the scores.
    """
    losses = [
        linear_cross_entropy(*head.factors(f, context_ND), attribute_ids_NF[:, f] - 1)
        for f, context_ND in enumerate(head.contexts(h_ND, attribute_ids_NF))
    ]
    return torch.stack(losses).sum()
