"""Why a training stops before its end, in sentences that say where and what to change."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from panther_pipeline.errors import TrainingError
from panther_pipeline.training.batches import TrainingBatch

# The CPU's allocator raises a plain RuntimeError (Linux, Windows), libraries of the GPU another one.
_ALLOCATOR_SAYS = ("can't allocate memory", "not enough memory", "ALLOC_FAILED")


@contextmanager
def memory_failures_explained(device: torch.device, step: int, num_windows: int, num_events: int) -> Iterator[None]:
    """Turn exhausted memory inside the block into a sentence; other errors pass.

    Raises:
        TrainingError: naming the device, the step, the size of the batch and the two parameters to lower.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
        is_known = isinstance(error, (torch.OutOfMemoryError, MemoryError))
        if not is_known and not any(text in str(error) for text in _ALLOCATOR_SAYS):
            raise
        raise TrainingError(
            f"memory on {device} ran out at step {step}, with {num_windows} windows of {num_events} events. "
            "Lower pretraining.training.batch_size or pretraining.model.max_events."
        ) from error


def refuse_not_finite(step: int, batch: TrainingBatch, losses: dict[str, float], gradient_norm: float) -> None:
    """Stop before a loss or gradient that is no number reaches the weights.

    A finite loss can have a gradient that is not (a root at zero, an overflow on the way back). Clipping multiplies
    by 1 / norm: an infinite norm stops all other weights and makes this one NaN, a NaN reaches them all.

    Raises:
        TrainingError: naming the step, the losses and the users of the batch.
    """
    if math.isfinite(losses["loss"]) and math.isfinite(gradient_norm):
        return
    what = "gradient" if math.isfinite(losses["loss"]) else "loss"
    parts = ", ".join(f"{name} {value}" for name, value in losses.items())
    users = ", ".join(map(str, batch.step_user_ix_A[:5]))
    raise TrainingError(
        f"the {what} of step {step} is not finite ({parts}). The batch holds {len(batch.step_user_ix_A)} windows, "
        f"of the users at positions {users}, ... of token_sequences. The weights are as before this step. "
        "Lower peak_lr or grad_clip, or train with precision: float32."
    )


def refuse_not_finite_metrics(step: int, metrics: dict[str, float]) -> None:
    """Stop when validation gives what is no number: no look could be the best one any more.

    Raises:
        TrainingError: naming the step and the metrics.
    """
    if not all(map(math.isfinite, metrics.values())):
        parts = ", ".join(f"{name} {value}" for name, value in metrics.items())
        raise TrainingError(
            f"validation after {step} steps is not finite ({parts}). Lower peak_lr, or train with precision: float32."
        )
