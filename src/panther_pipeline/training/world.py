"""The processes that train together, as the loop sees them; one alone needs no torch.distributed.

Every process holds all weights, takes every n-th window of a step's batch and averages gradients with the others
(DistributedDataParallel). Whatever decides the course of a run (losses, validation, patience, random states) is made
the same everywhere, so that all of them end at the same step.
"""

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True, kw_only=True)
class World:
    """How many processes there are and which of them this one is."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process validates, saves and reports."""
        return self.rank == 0

    def seed_own_dropout(self, seed: int) -> None:
        """Let every process draw for itself; one alone keeps the generator it has."""
        if self.size > 1:
            torch.manual_seed(seed + self.rank)

    def share(self, objective: nn.Module) -> nn.Module:
        """The objective, whose gradients are from now on averaged over the processes."""
        if self.size == 1:
            return objective
        # The same parameters take part in every step, which saves the search for those that did not.
        return DistributedDataParallel(objective, forward_sync_buffers=False, static_graph=True)

    def mean(self, values_N: Tensor) -> Tensor:
        """Mean over the processes, the same bits in all of them."""
        if self.size > 1:
            dist.all_reduce(values_N)
            values_N = values_N / self.size
        return values_N

    def from_first(self, values: list[float], device: torch.device) -> list[float]:
        """The first process's values, in all of them; the others bring as many of any kind."""
        if self.size == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64, device=device)
        dist.broadcast(tensor, src=0)
        return tensor.tolist()

    def gather(self, tensor: Tensor, device: torch.device) -> list[Tensor]:
        """Every process's tensor, all of one shape, on the CPU."""
        if self.size == 1:
            return [tensor]
        mine = tensor.to(device)
        all_of_them = [torch.empty_like(mine) for _ in range(self.size)]
        dist.all_gather(all_of_them, mine)
        return [each.cpu() for each in all_of_them]


ALONE = World()
