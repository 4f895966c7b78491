"""Cross-entropy of scores that are products, without keeping the scores, forth and back in one pass.

The gradient of -log softmax with respect to the scores is p - 1[target]: it is at hand as soon as p is. So each chunk
of rows is scored, turned into its gradient in place and multiplied back before the next one is scored. A chunk's scores
fit a processor's cache and take three products in all, where plain autograd keeps N · V numbers and recomputation takes
a fourth product.

Source: the fusion of the last layer with the loss, Hsu et al., Liger Kernel (arXiv 2410.10989 §3.2), and
Wijmans et al., Cut Your Losses (arXiv 2411.09009).

Shape letters: N rows, n rows of one chunk, D width, V classes.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

MAX_LOGITS = 1 << 24  # 64 MiB of float32 at a time
# Numbers of a chunk on a CPU, 4 MiB of float32, and the rows below which the products get slow. For 6,400 rows of width
# 64 and 3,704 classes on one thread: 0.12 s against 0.33 s of plain autograd.
_CACHED_LOGITS, _FEWEST_ROWS = 1 << 20, 256


def linear_cross_entropy(
    h_ND: Tensor,
    weight_VD: Tensor,
    bias_V: Tensor | None,
    targets_N: Tensor,
    *,
    others_V: Tensor | None = None,
    rows: int | None = None,
) -> Tensor:
    """Mean of -log softmax(h Wᵀ + b)[target], nats; at least float32.

    Under autocast the products are taken in its type, as `torch.nn.functional.linear` takes them; sums and exponentials
    are in float32.

    Args:
        h_ND: float.
        weight_VD: float.
        bias_V: float, or none.
        targets_N: int64, below V.
        others_V: float, added to the scores of all classes but the row's own target; -inf = no other row's negative.
            No gradient flows into it.
        rows: n; by default what suits the device, never more than `MAX_LOGITS` scores.
    """
    if torch.is_autocast_enabled(h_ND.device.type):
        dtype = torch.get_autocast_dtype(h_ND.device.type)
        h_ND, weight_VD = h_ND.to(dtype), weight_VD.to(dtype)
    rows = rows or _rows(len(weight_VD), h_ND.device)
    return _LinearCrossEntropy.apply(h_ND, weight_VD, bias_V, targets_N, others_V, rows) / len(targets_N)


def _rows(num_classes: int, device: torch.device) -> int:
    most = max(1, MAX_LOGITS // num_classes)
    return most if device.type == "cuda" else min(most, max(_FEWEST_ROWS, _CACHED_LOGITS // num_classes))


class _LinearCrossEntropy(torch.autograd.Function):
    """The sum over rows; its gradients are computed with it and handed out later."""

    @staticmethod
    def forward(ctx: Any, h_ND: Tensor, *rest: Any) -> Tensor:
        with torch.autocast(h_ND.device.type, enabled=False):
            total, *gradients = _loss_and_gradients(h_ND, *rest)
        ctx.save_for_backward(*gradients)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        of_h_ND, of_weight_VD, of_bias_V = ctx.saved_tensors
        dtype = of_h_ND.dtype
        of_bias_V = None if of_bias_V is None else gradient * of_bias_V
        return (gradient * of_h_ND).to(dtype), (gradient * of_weight_VD).to(dtype), of_bias_V, None, None, None


def _loss_and_gradients(
    h_ND: Tensor,
    weight_VD: Tensor,
    bias_V: Tensor | None,
    targets_N: Tensor,
    others_V: Tensor | None,
    rows: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    of_h_ND = torch.empty_like(h_ND)
    of_weight_VD = torch.zeros_like(_at_least_float32(weight_VD))
    of_bias_V = None if bias_V is None else torch.zeros_like(bias_V)
    losses = []
    # One place for all chunks: fresh memory would cost more than the products that fill it.
    scores_nV = h_ND.new_empty(min(rows, len(h_ND)), len(weight_VD))
    chunks = zip(h_ND.split(rows), targets_N[:, None].split(rows), of_h_ND.split(rows), strict=True)
    for h_nD, targets_n1, of_h_nD in chunks:
        logits_nV = torch.mm(h_nD, weight_VD.T, out=scores_nV[: len(h_nD)])
        if bias_V is not None:
            logits_nV.add_(bias_V)
        logits_nV = _at_least_float32(logits_nV)
        own_n1 = logits_nV.gather(1, targets_n1)
        if others_V is not None:
            logits_nV.add_(others_V).scatter_(1, targets_n1, own_n1)
        best_n = logits_nV.amax(-1)
        prob_nV = torch.softmax(logits_nV, -1, out=logits_nV)
        # log Σ exp through the likeliest class: its p is at least 1 / V, where the target's may be 0 in float32.
        losses.append((best_n - prob_nV.amax(-1).log() - own_n1[:, 0]).sum())
        of_logits_nV = prob_nV.scatter_add_(1, targets_n1, prob_nV.new_full((len(targets_n1), 1), -1.0))
        if of_bias_V is not None:
            of_bias_V.add_(of_logits_nV.sum(0))
        of_logits_nV = of_logits_nV.to(h_ND.dtype)
        torch.mm(of_logits_nV, weight_VD, out=of_h_nD)
        if of_weight_VD.dtype == h_ND.dtype:
            of_weight_VD.addmm_(of_logits_nV.T, h_nD)
        else:
            of_weight_VD.add_(of_logits_nV.T @ h_nD)
    return torch.stack(losses).sum(), of_h_ND, of_weight_VD, of_bias_V


def _at_least_float32(x: Tensor) -> Tensor:
    """Half precision is too short to sum exponentials in."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
