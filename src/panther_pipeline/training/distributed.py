"""Pretraining in several processes of this machine, told what to do by inert files.

    <folder>/job.json      the configurations
    <folder>/sequences/    the token sequences, an Arrow artifact that all processes map into memory
    <folder>/initial/      the backbone that training begins with, if it has weights from elsewhere
    <folder>/rendezvous    where torch.distributed finds the others: a file, so no port and no host name
    <folder>/backbone/     what the first process leaves, with curves.parquet

The first process writes a JSON line for each point of the curves, so that `report` is called as training goes on, and
whoever fails writes why. Gloo carries the gradients on CPUs, NCCL on GPUs. The processes are started here and not by
torchrun, which imports torch once more (3 s) and ends every failure in pages of its own traceback.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import polars as pl

from panther_pipeline.errors import TrainingError
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.tokenizer.sequences import TokenSequences

JOB, SEQUENCES, RENDEZVOUS, BACKBONE, CURVES = "job.json", "sequences", "rendezvous", "backbone", "curves.parquet"
INITIAL = "initial"
_POLL_S = 0.2


def train_in_processes(
    sequences: TokenSequences,
    job: dict[str, Any],
    num_processes: int,
    report: Callable[[int, dict[str, float]], None] | None,
    initial: Backbone | None = None,
) -> tuple[Backbone, pl.DataFrame]:
    """What `pretrain` gives, from processes of their own.

    Args:
        job: what `panther_pipeline.training.worker` reads, JSON values.
        report: called in this process, as training goes on.
        initial: see `pretrain`.

    Raises:
        TrainingError: what a process says, or that one has died; the others are stopped.
    """
    with tempfile.TemporaryDirectory(prefix="panther-") as scratch:
        folder = Path(scratch)
        sequences.save(folder / SEQUENCES)
        if initial is not None:
            initial.save(folder / INITIAL)
        (folder / JOB).write_text(json.dumps(job), encoding="utf-8")
        with _Workers(folder, num_processes) as workers:
            for line in workers.lines:
                message = json.loads(line)
                if "error" in message:
                    raise TrainingError(message["error"])
                if report is not None:
                    report(message["step"], message["values"])
            workers.check()
        return Backbone.load(folder / BACKBONE), pl.read_parquet(folder / CURVES)


class _Workers:
    """The processes; `lines` is what they write, until the last has ended."""

    def __init__(self, folder: Path, num_processes: int) -> None:
        # Without a number of their own, the processes share the cores.
        threads = str(max(1, (os.cpu_count() or 1) // num_processes))
        env = {"OMP_NUM_THREADS": threads} | os.environ
        command = [sys.executable, "-m", "panther_pipeline.training.worker", str(folder)]
        reading, writing = os.pipe()
        self.lines = os.fdopen(reading, encoding="utf-8")
        self.processes = [
            subprocess.Popen([*command, str(rank)], stdout=writing, env=env) for rank in range(num_processes)
        ]
        os.close(writing)
        self.exit_codes: list[int | None] = []  # when the first of them failed
        self.watcher = threading.Thread(target=self._watch, daemon=True)
        self.watcher.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._kill()
        self.watcher.join()
        self.lines.close()

    def check(self) -> None:
        """Raises:
        TrainingError: one process has died without a word.
        """
        self.watcher.join()
        if not self.exit_codes:
            return
        # A process that lost its partner fails too; the one that a signal ended was first.
        code = min(code for code in self.exit_codes if code)
        who = f"process {self.exit_codes.index(code)} of {len(self.processes)}"
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"failed (exit code {code}), see its output"
        raise TrainingError(
            f"{who} {how}; the others were stopped. Run the same again: it continues at the newest checkpoint. "
            "If memory ran out, lower pretraining.training.num_processes or batch_size."
        )

    def _watch(self) -> None:
        """Once one has failed, stop the others: they would wait for it until torch loses patience."""
        codes: list[int | None] = [None]
        while None in codes:
            time.sleep(_POLL_S)
            codes = [process.poll() for process in self.processes]
            if any(codes) and not self.exit_codes:
                self.exit_codes = codes
                time.sleep(_POLL_S)  # they may be about to say why
                self._kill()

    def _kill(self) -> None:
        for process in self.processes:
            process.kill()
