"""Time and memory of a training step against the length of the history: attention, SPRM, both (paper, Table 6).

    python benchmarks/bench_context.py

Every step reads the same number of events, as windows of 256, 512, ... 8192; the model is conf/base's but for the mixer
and the context, on random sequences, with the next-transaction loss alone. Each point is a process of its own, so that
its peak memory is its own; points take turns --repeats times, medians of the seconds count, maxima of the memory.

    step_s            seconds of a step
    step_memory_gb    peak of the process less what it held before the first step
    time_exponent     p of seconds per window ~ T^p, by least squares in logarithms: 1 = linear, 2 = quadratic
    memory_exponent   likewise
    last_doubling     the exponent between the two longest contexts, where the quadratic part weighs most

Writes benchmarks/results/pretrain_context_<machine>_<cores>cores.json.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
from typing import Any

import numpy as np
import torch

from common import ROOT, peak_gb, write_result
from panther_pipeline.model.config import ModelConfig
from panther_pipeline.settings import CONFIG_LOADER_ARGS, CONFIG_LOADER_CLASS
from panther_pipeline.training.batches import BatchOrder
from panther_pipeline.training.config import LossConfig, TrainingConfig
from panther_pipeline.training.objective import Objective
from panther_pipeline.training.pretraining import untrained_backbone
from pretraining_data import random_sequences
from training_step import TimedStep

MIXERS = ("attention", "sprm", "both")
CONTEXTS = (256, 512, 1024, 2048, 4096, 8192)
TOKENS_PER_STEP = max(CONTEXTS)
VOCAB_SIZE = 256
STEPS = 3  # after the first, which also allocates


def measure_point(mixer: str, context: int) -> dict[str, float]:
    """In this process."""
    loader = CONFIG_LOADER_CLASS(str(ROOT / "conf"), env="base", **CONFIG_LOADER_ARGS)
    model = ModelConfig(**loader["parameters"]["pretraining"]["model"] | {"mixer": mixer, "max_events": context})
    training = TrainingConfig(batch_size=TOKENS_PER_STEP // context, device="cpu", precision="float32")
    sequences = random_sequences(VOCAB_SIZE, training.batch_size, context + 1)
    objective = Objective(untrained_backbone(sequences, model, 0), LossConfig(), sequences)
    step = TimedStep(objective, training, torch.device("cpu"), compiled=False)
    batch = BatchOrder(sequences, context, training.batch_size, 0).batch_at(0)
    before_gb = peak_gb()
    for _ in range(1 + STEPS):
        step(batch)
    return {"step_s": statistics.median(step.seconds[1:]), "step_memory_gb": round(peak_gb() - before_gb, 3)}


def exponents(contexts: list[int], values: list[float]) -> dict[str, float]:
    """Of value per window: a step holds tokens / T windows, so a constant value per step is exponent 1."""
    x, y = np.log2(contexts), np.log2(values) + np.log2(contexts)
    return {
        "all": round(float(np.polyfit(x, y, 1)[0]), 2),
        "last_doubling": round(1 + math.log2(values[-1] / values[-2]), 2),
    }


def _run_point(mixer: str, context: int, threads: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--point", mixer, str(context), "--threads", str(threads)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ})
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{result.stdout[-2000:]}{result.stderr[-2000:]}")
    return json.loads(result.stdout.splitlines()[-1])


def compare(contexts: list[int], repeats: int, threads: int) -> dict[str, Any]:
    """All points, taking turns."""
    points: dict[tuple[str, int], list[dict[str, float]]] = {(m, t): [] for t in contexts for m in MIXERS}
    for _ in range(repeats):
        for (mixer, context), runs in points.items():
            runs.append(_run_point(mixer, context, threads))
            print(mixer, context, json.dumps(runs[-1]), flush=True)
    found = {}
    for mixer in MIXERS:
        step_s = [statistics.median(run["step_s"] for run in points[mixer, t]) for t in contexts]
        memory_gb = [max(run["step_memory_gb"] for run in points[mixer, t]) for t in contexts]
        found[mixer] = {
            "step_s": {str(t): round(s, 3) for t, s in zip(contexts, step_s, strict=True)},
            "step_memory_gb": {str(t): gb for t, gb in zip(contexts, memory_gb, strict=True)},
            "time_exponent": exponents(contexts, step_s),
            "memory_exponent": exponents(contexts, memory_gb),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--point", nargs=2, metavar=("MIXER", "CONTEXT"), help="one measurement, printed as JSON")
    parser.add_argument("--contexts", type=int, nargs="+", default=list(CONTEXTS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.point:
        print(json.dumps(measure_point(args.point[0], int(args.point[1]))))
        return
    found = compare(args.contexts, args.repeats, args.threads)
    record = {"tokens_per_step": TOKENS_PER_STEP, "repeats": args.repeats, "threads": args.threads}
    write_result("pretrain_context", {**record, **found})


if __name__ == "__main__":
    main()
