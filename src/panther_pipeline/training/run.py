"""A training run at one moment: what a checkpoint must hold, and nothing else."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import torch
from torch import Tensor

from panther_pipeline.training.batches import TrainingBatch
from panther_pipeline.training.checkpoint import Checkpoint
from panther_pipeline.training.config import TrainingConfig
from panther_pipeline.training.determinism import random_state, restore_random_state
from panther_pipeline.training.objective import Objective
from panther_pipeline.training.optimizer import optimizer_tensors, restore_optimizer
from panther_pipeline.training.world import World

logger = logging.getLogger(__name__)
Report = Callable[[int, dict[str, float]], None]


@dataclass
class Progress:
    """What a checkpoint remembers beside tensors; JSON values only."""

    curves: list[list[Any]] = field(default_factory=list)  # [step, metric, value]
    loss_sums: dict[str, float] = field(default_factory=dict)  # since the last point of the curve
    num_losses: int = 0
    best: float | None = None  # value of `best_metric`
    looks_since_best: int = 0  # while the learning rate falls


@dataclass
class TrainingRun:
    """A training run at one moment."""

    objective: Objective
    optimizer: torch.optim.Optimizer
    device: torch.device
    world: World
    step: int = 0  # optimizer steps done
    progress: Progress = field(default_factory=Progress)
    best: dict[str, Tensor] = field(default_factory=dict)  # weights of the best look at validation

    def add_loss(self, losses: dict[str, float]) -> None:
        sums = self.progress.loss_sums
        for name, value in losses.items():
            sums[name] = sums.get(name, 0.0) + value
        self.progress.num_losses += 1

    def take_losses(self) -> dict[str, float]:
        """Mean losses since the last point of the curve."""
        means = {f"train_{name}": value / self.progress.num_losses for name, value in self.progress.loss_sums.items()}
        self.progress.loss_sums, self.progress.num_losses = {}, 0
        return means

    def log(self, values: dict[str, float], report: Report | None) -> None:
        self.progress.curves.extend([self.step, name, value] for name, value in values.items())
        self.tell(values, report)

    def tell(self, values: dict[str, float], report: Report | None) -> None:
        if report is not None:
            report(self.step, values)

    def last(self, metric: str) -> float:
        """The newest value of a curve."""
        return next(value for _, name, value in reversed(self.progress.curves) if name == metric)

    def note_validation(self, metrics: dict[str, float], config: TrainingConfig, report: Report | None) -> None:
        """Log the metrics; remember the weights if they are the best so far.

        Patience begins with the fall of the learning rate: a plateau at the peak says nothing of what the fall brings.
        """
        if not metrics:
            return
        self.log({f"valid_{name}": value for name, value in metrics.items()}, report)
        logger.info("step %d: validation %s", self.step, ", ".join(f"{k} {v:.4f}" for k, v in metrics.items()))
        value, best = metrics[config.best_metric], self.progress.best
        if best is None or (value < best if config.best_metric == "nll" else value > best):
            self.progress.best, self.progress.looks_since_best = value, 0
            self.best = {name: tensor.detach().clone() for name, tensor in self.objective.state_dict().items()}
        elif self.step > config.decay_begin:
            self.progress.looks_since_best += 1

    def is_finished(self, config: TrainingConfig) -> bool:
        """Whether all steps are done, or validation has not improved for `patience` looks."""
        is_out_of_patience = config.patience is not None and self.progress.looks_since_best >= config.patience
        return self.step >= config.max_steps or is_out_of_patience

    def keep(self, which: Literal["best", "last"]) -> None:
        """Put the best weights into the model, or leave the last; without validation events there are only these."""
        if which == "best" and self.best:
            self.objective.load_state_dict(self.best)

    def checkpoint(self, identity: str) -> Checkpoint:
        tensors = {f"objective.{name}": tensor for name, tensor in self.objective.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        tensors |= optimizer_tensors(self.optimizer) | random_state(self.device, self.world)
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        progress = {f.name: getattr(self.progress, f.name) for f in fields(self.progress)}
        return Checkpoint(step=self.step, identity=identity, tensors=tensors, progress=progress)

    def restore(self, checkpoint: Checkpoint) -> None:
        def part(kind: str) -> dict[str, Tensor]:
            return {k.removeprefix(kind): t for k, t in checkpoint.tensors.items() if k.startswith(kind)}

        self.objective.load_state_dict(part("objective."))
        self.best = {name: tensor.to(self.device) for name, tensor in part("best.").items()}
        restore_optimizer(self.optimizer, checkpoint.tensors)
        restore_random_state(checkpoint.tensors, self.device, self.world)
        self.step, self.progress = checkpoint.step, Progress(**checkpoint.progress)


class Speed:
    """Events read per second since the process started training; for people, so never part of an output.

    The processes take like parts of a batch, so that the first counts for all.
    """

    def __init__(self, num_processes: int) -> None:
        self.num_processes = num_processes
        self.started = time.perf_counter()
        self.num_tokens = 0

    def count(self, batch: TrainingBatch) -> None:
        self.num_tokens += int(batch.events.lengths_B.sum())

    @property
    def tokens_per_s(self) -> float:
        return self.num_processes * self.num_tokens / (time.perf_counter() - self.started)

    def __str__(self) -> str:
        return f"{self.tokens_per_s:,.0f} tokens/s"
