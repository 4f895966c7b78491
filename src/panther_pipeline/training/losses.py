"""What the backbone is trained to do: predict the next transaction, and place similar users side by side.

Shape letters: N positions with a target, B windows, F token attributes, P profile attributes, D width, V vocabulary.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize
from torch.utils.checkpoint import checkpoint

from panther_pipeline.model.tuple_head import TupleHead

MAX_LOGITS = 1 << 24  # 64 MiB of float32 at a time


def next_token_loss(
    h_ND: Tensor,
    targets_N: Tensor,
    logits: Callable[[Tensor], Tensor],
    vocab_size: int,
    max_logits: int = MAX_LOGITS,
) -> Tensor:
    """Mean cross-entropy over the full vocabulary, never holding more than `max_logits` logits.

    Positions are taken in chunks; a chunk's logits are thrown away and computed again on the way back, which
    costs one more product with the token embeddings and saves N·V numbers. A batch that fits one chunk pays
    nothing.

    Args:
        h_ND: states of the positions that have a target.
        targets_N: int64 tokens.
        logits: states (n, D) to scores (n, V).
        vocab_size: V.
        max_logits: largest n·V of one chunk.
    """
    chunk = max(1, max_logits // vocab_size)
    if len(h_ND) <= chunk:
        return cross_entropy(logits(h_ND).float(), targets_N)

    def chunk_loss(h_nD: Tensor, targets_n: Tensor) -> Tensor:
        return cross_entropy(logits(h_nD).float(), targets_n, reduction="sum")

    total = h_ND.new_zeros((), dtype=torch.float32)
    for h_nD, targets_n in zip(h_ND.split(chunk), targets_N.split(chunk), strict=True):
        total = total + checkpoint(chunk_loss, h_nD, targets_n, use_reentrant=False, preserve_rng_state=False)
    return total / len(h_ND)


def next_tuple_loss(h_ND: Tensor, attribute_ids_NF: Tensor, head: TupleHead, max_logits: int = MAX_LOGITS) -> Tensor:
    """Mean of -log p of whole tuples, nats: the sum of the attributes' cross-entropies, each given those before it.

    Args:
        h_ND: states of the positions that have a target.
        attribute_ids_NF: int64 attribute ids of the targets.
        head: gives the scores.
        max_logits: largest n·S of one chunk, see `next_token_loss`.
    """
    losses = [
        next_token_loss(context_ND, attribute_ids_NF[:, f] - 1, partial(head.logits, f), head.sizes[f], max_logits)
        for f, context_ND in enumerate(head.contexts(h_ND, attribute_ids_NF))
    ]
    return torch.stack(losses).sum()


def similar_profiles(profile_ids_BP: Tensor) -> Tensor:
    """bool (B, B): pairs of different windows that agree in all profile attributes but at most one.

    With a single attribute they must agree in it.
    """
    num_equal_BB = (profile_ids_BP[:, None] == profile_ids_BP[None]).sum(-1)
    similar_BB = num_equal_BB >= max(1, profile_ids_BP.shape[1] - 1)
    return similar_BB & ~torch.eye(len(profile_ids_BP), dtype=torch.bool, device=profile_ids_BP.device)


def contrastive_loss(profile_BD: Tensor, profile_ids_BP: Tensor, temperature: float) -> Tensor:
    """InfoNCE on the profile vectors: similar users attract, the others of the batch repel.

    A window without a similar one in its batch is left out; without any, the loss is 0.

    Source: InfoNCE, arXiv 1807.03748 eq. 4, averaged over several positives as in arXiv 2004.11362 eq. 2.
    """
    similar_BB = similar_profiles(profile_ids_BP)
    unit_BD = normalize(profile_BD.float(), dim=-1)
    itself_BB = torch.eye(len(unit_BD), dtype=torch.bool, device=unit_BD.device)
    scores_BB = (unit_BD @ unit_BD.T / temperature).masked_fill(itself_BB, -1e9)
    log_prob_BB = scores_BB.log_softmax(-1)
    num_similar_B = similar_BB.sum(-1)
    loss_B = -(log_prob_BB * similar_BB).sum(-1) / num_similar_B.clamp(min=1)
    return loss_B.sum() / (num_similar_B > 0).sum().clamp(min=1)
