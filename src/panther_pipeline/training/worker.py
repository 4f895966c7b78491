"""One of the processes that pretrain together: `python -m panther_pipeline.training.worker FOLDER RANK`.

Started by `distributed`, which describes the folder. Standard output belongs to the messages; whatever else prints is
sent to standard error.
"""

import json
import logging
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any, TextIO

import torch
import torch.distributed as dist

from panther_pipeline.errors import PantherError, TrainingError
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.model.config import ModelConfig
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.training.checkpoint import CheckpointFolder
from panther_pipeline.training.config import LossConfig, TrainingConfig
from panther_pipeline.training.device import choose_device
from panther_pipeline.training.distributed import BACKBONE, CURVES, INITIAL, JOB, RENDEZVOUS, SEQUENCES
from panther_pipeline.training.pretraining import pretrain_here
from panther_pipeline.training.world import World

_PATIENCE = timedelta(hours=1)  # the others wait while the first validates and saves


def main(folder: Path, rank: int, messages: TextIO) -> None:
    """Pretrain with the others; the first process leaves backbone and curves.

    Raises:
        TrainingError: see `pretrain`; fewer GPUs than processes.
    """

    def report(step: int, values: dict[str, float]) -> None:
        _tell(messages, {"step": step, "values": values})

    job = json.loads((folder / JOB).read_text(encoding="utf-8"))
    training = TrainingConfig(**job["training"])
    world = World(rank=rank, size=training.num_processes)
    logging.basicConfig(level=job["log_level"] if world.is_first else logging.WARNING, format="%(message)s")
    _join(world, training, folder / RENDEZVOUS)
    try:
        backbone, curves = pretrain_here(
            TokenSequences.load(folder / SEQUENCES),
            ModelConfig(**job["model"]),
            LossConfig(**job["loss"]),
            training,
            CheckpointFolder(job["checkpoints"]) if job["checkpoints"] else None,
            report if world.is_first else None,
            job["tokenizer_kind"],
            world,
            Backbone.load(folder / INITIAL) if (folder / INITIAL).exists() else None,
        )
        if world.is_first:
            backbone.save(folder / BACKBONE)
            curves.write_parquet(folder / CURVES)
    finally:
        dist.destroy_process_group()


def _join(world: World, training: TrainingConfig, rendezvous: Path) -> None:
    device = choose_device(training)
    if device.type == "cuda":
        if world.size > torch.cuda.device_count():
            raise TrainingError(
                f"num_processes: {world.size}, but torch finds {torch.cuda.device_count()} GPUs; each needs its own."
            )
        torch.cuda.set_device(world.rank)
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        init_method=rendezvous.absolute().as_uri(),
        rank=world.rank,
        world_size=world.size,
        timeout=_PATIENCE,
    )


def _tell(messages: TextIO, message: dict[str, Any]) -> None:
    # One write per line: the processes share the pipe.
    messages.write(json.dumps(message) + "\n")
    messages.flush()


if __name__ == "__main__":
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as messages:
        os.dup2(2, 1)
        try:
            main(Path(sys.argv[1]), int(sys.argv[2]), messages)
        except PantherError as error:
            _tell(messages, {"error": str(error)})
            sys.exit(1)
