"""What must be pinned for two runs to give the same bits, and put back afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from panther_pipeline.training.world import World

# On one CPU with one thread count, equal inputs give equal bits. On a GPU, sums of gradients into an
# embedding table are taken in no fixed order: a resumed run agrees to about 1e-6 relative, not bit by bit.


@contextmanager
def pinned(seed: int, num_threads: int | None, device: torch.device) -> Iterator[int]:
    """Seed torch and fix the number of CPU threads inside the block; give the number of threads.

    Outside, the caller's random state and thread count are as before.
    """
    threads_before = torch.get_num_threads()
    if num_threads is not None:
        torch.set_num_threads(num_threads)
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            yield torch.get_num_threads()
    finally:
        torch.set_num_threads(threads_before)


def random_state(device: torch.device, world: World) -> dict[str, Tensor]:
    """The state of the generators that dropout draws from, in every process, as uint8 tensors `rng.<kind>.<rank>`."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return {
        f"rng.{kind}.{rank}": own
        for kind, state in states.items()
        for rank, own in enumerate(world.gather(state, device))
    }


def restore_random_state(state: dict[str, Tensor], device: torch.device, world: World) -> None:
    """Put back what `random_state` gave."""
    torch.set_rng_state(state[f"rng.cpu.{world.rank}"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state[f"rng.cuda.{world.rank}"], device)
