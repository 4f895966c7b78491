"""A mean over many rows without holding the scores of all of them.

Shape letters: N rows, n rows of one chunk.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

MAX_LOGITS = 1 << 24  # 64 MiB of float32 at a time


def mean_in_chunks(
    loss_sum: Callable[..., Tensor], tensors: tuple[Tensor, ...], width: int, max_logits: int = MAX_LOGITS
) -> Tensor:
    """`loss_sum` of all rows / N, with never more than `max_logits` scores at once.

    A chunk's scores are thrown away and computed again on the way back, which costs one more product with the
    output vectors and saves N · width numbers. Rows that fit one chunk pay nothing.

    Args:
        loss_sum: the summed loss of some rows; draws no random numbers.
        tensors: its arguments, each with N rows.
        width: scores of one row.
        max_logits: largest n · width.
    """
    num_rows, chunk = len(tensors[0]), max(1, max_logits // width)
    if num_rows <= chunk:
        return loss_sum(*tensors) / num_rows
    parts = zip(*(tensor.split(chunk) for tensor in tensors), strict=True)
    sums = [checkpoint(loss_sum, *part, use_reentrant=False, preserve_rng_state=False) for part in parts]
    return torch.stack(sums).sum() / num_rows


def at_least_float32(x: Tensor) -> Tensor:
    """Half precision is too short to sum exponentials in."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
