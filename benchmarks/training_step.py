"""The training step that is timed: the same lines for every model."""

import time

import torch
from torch import nn

from model_flops import wait_for
from panther_pipeline.training.batches import TrainingBatch
from panther_pipeline.training.config import TrainingConfig
from panther_pipeline.training.loop import uses_bfloat16
from panther_pipeline.training.optimizer import make_optimizer


class TimedStep:
    """Forward, loss, backward, clip, AdamW, as `training.loop` does them; the seconds of each call are kept."""

    def __init__(self, objective: nn.Module, config: TrainingConfig, device: torch.device, compiled: bool) -> None:
        self.objective = objective.to(device).train()
        self.forward = torch.compile(self.objective) if compiled else self.objective
        self.optimizer = make_optimizer(self.objective, config, device)
        self.grad_clip, self.device, self.bfloat16 = config.grad_clip, device, uses_bfloat16(config, device)
        self.seconds: list[float] = []

    def __call__(self, batch: TrainingBatch) -> None:
        start = time.perf_counter()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            loss = self.forward(batch)["loss"]
        assert bool(torch.isfinite(loss.detach())), "the loss is not finite"
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.objective.parameters(), self.grad_clip)
        self.optimizer.step()
        wait_for(self.device)
        self.seconds.append(time.perf_counter() - start)

    @property
    def num_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.objective.parameters())
