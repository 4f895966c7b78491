"""AdamW and the learning rate of each step."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from panther_pipeline.training.config import TrainingConfig


def make_optimizer(model: nn.Module, config: TrainingConfig, device: torch.device) -> torch.optim.AdamW:
    """AdamW; vectors (norms, biases) are not decayed. One fused kernel updates everything."""
    groups = decay_groups([p for p in model.parameters() if p.requires_grad], config.weight_decay)
    betas = (config.betas[0], config.betas[1])
    return torch.optim.AdamW(groups, lr=config.peak_lr, betas=betas, fused=device.type in ("cpu", "cuda") or None)


def decay_groups(parameters: Iterable[nn.Parameter], weight_decay: float, **options: float) -> list[dict[str, Any]]:
    """Parameter groups of an optimizer: matrices are decayed, vectors are not; `options` (such as lr) go to both."""
    parameters = list(parameters)
    return [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": weight_decay, **options},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0, **options},
    ]


def learning_rate(step: int, config: TrainingConfig) -> float:
    """Rate of a step, counted from 0: linear warm-up to the peak, then what `schedule` says.

    "cosine" falls from the end of the warm-up to `lr_floor` of the peak at `max_steps`. "wsd" stays at the peak,
    then falls over the last `decay_share` of the steps as 1 - √progress to the same floor: until then no rate depends
    on `max_steps`, so that a longer run can take up where a shorter one began to fall.

    Source: cosine, arXiv 1608.03983 eq. 5; warm-up, stable, decay: arXiv 2404.06395 §4.2, its fall as 1 - √progress:
    arXiv 2405.18392 eq. 2.
    """
    if step < config.warmup_steps:
        return config.peak_lr * (step + 1) / config.warmup_steps
    begin = config.decay_begin
    if step < begin:
        return config.peak_lr
    progress = (step - begin) / (config.max_steps - begin)
    height = 1 - math.sqrt(progress) if config.schedule == "wsd" else 0.5 * (1 + math.cos(math.pi * progress))
    return config.peak_lr * (config.lr_floor + (1 - config.lr_floor) * height)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's moments and counters as a flat dictionary, `optimizer.<parameter>.<name>`."""
    state = optimizer.state_dict()["state"]
    return {f"optimizer.{ix}.{name}": tensor for ix, values in state.items() for name, tensor in values.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave; the learning rate is set at every step anyway."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        kind, *rest = key.split(".")
        if kind == "optimizer":
            state.setdefault(int(rest[0]), {})[rest[1]] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
