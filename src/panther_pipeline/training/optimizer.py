"""AdamW and the learning rate of each step."""

import math

import torch
from torch import Tensor, nn

from panther_pipeline.training.config import TrainingConfig

_FLOOR = 0.1  # the cosine ends at this share of the peak


def make_optimizer(model: nn.Module, config: TrainingConfig, device: torch.device) -> torch.optim.AdamW:
    """AdamW; vectors (norms, biases) are not decayed. On a GPU one fused kernel updates everything."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    betas = (config.betas[0], config.betas[1])
    return torch.optim.AdamW(groups, lr=config.peak_lr, betas=betas, fused=device.type == "cuda" or None)


def learning_rate(step: int, config: TrainingConfig) -> float:
    """Linear warm-up over `warmup_steps`, then a cosine to 10 % of the peak at `max_steps`; from step 0."""
    if step < config.warmup_steps:
        return config.peak_lr * (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / (config.max_steps - config.warmup_steps)
    return config.peak_lr * (_FLOOR + (1 - _FLOOR) * 0.5 * (1 + math.cos(math.pi * done)))


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
