"""Speed of pretraining: our step beside Hugging Face GPT-2's, on the same batches in one run.

    kedro run --pipelines=ingest,validate,tokenize      # once, for the size `default`
    kedro run --env=movielens --pipelines=ingest,validate,tokenize --params=data_root=FOLDER     # for the size `films`
    python benchmarks/bench_pretrain.py                 # every size; --size default for one of them

Needs the extra `bench` (pip install -e '.[bench]' -c constraints.txt). Sizes: `default`, model, loss and training as
conf/base configures them on the simulated ledger, 246 tokens; `films`, as conf/movielens configures them on MovieLens,
3,706 tokens; `wide`, width 256 and a vocabulary of 4,096 on random sequences.
Models of one size have equal width, depth, heads, hidden width, context, vocabulary and dropout. They take turns on
every batch, with the same optimizer, clipping, precision and threads, so a busy machine slows all of them.

    panther          the full block (attention and SPRM), attributes, time, profile, and every loss of the configuration
    gpt2             Hugging Face GPT-2 in its fastest form: sdpa without attention dropout, GELU as one operation
    gpt2_released    the same as its own configuration has it: attention dropout, GELU written out
    *_compiled       through torch.compile, with --compile; on a GPU always

Dropout of panther and gpt2 differs in one place: GPT-2 drops the attention's output, panther the sum of both mixers.
What panther does more: attributes, clock and profile of the input, rotary angles, SPRM, further losses. What it does
less: it scores positions with a target only, GPT-2 the padding too.

    ratio_vs_hf_gpt2            tokens per second of panther / of gpt2, the median over batches of both times
    ratio_vs_hf_gpt2_released   likewise
    ratio_low, ratio_high       the quartiles over the batches
    tokens_per_s                events read per second (padding is none), by the median step
    mfu                         FLOPs of the step (model_flops.py) per second / peak of a large matmul, same threads;
                                to be read off a quiet machine only (`load`), null where it came out above 1

Writes benchmarks/results/pretrain_<machine>_<cores>cores.json.
"""

import argparse
import os
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from common import ROOT, write_result
from gpt2_yardstick import Gpt2Objective
from model_flops import gpt2_step_flops, panther_step_flops, peak_flops_per_s
from panther_pipeline.model.config import ModelConfig
from panther_pipeline.settings import CONFIG_LOADER_ARGS, CONFIG_LOADER_CLASS
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.training.batches import IGNORE, BatchOrder, TrainingBatch
from panther_pipeline.training.config import LossConfig, TrainingConfig
from panther_pipeline.training.device import choose_device, uses_bfloat16
from panther_pipeline.training.objective import Objective
from panther_pipeline.training.pretraining import untrained_backbone
from pretraining_data import ledger_sequences, random_sequences
from training_step import TimedStep

ENVIRONMENTS = {"default": "base", "films": "movielens"}
WIDE = {"dim": 256, "num_layers": 4, "num_heads": 4, "feed_forward_dim": 1024, "max_events": 256}
WIDE_VOCAB_SIZE, WIDE_BATCH_SIZE = 4096, 16
_PEAK_SECONDS = 0.2  # of every turn


@dataclass(frozen=True, kw_only=True)
class Size:
    """What is trained, and on what."""

    model: ModelConfig
    loss: LossConfig
    training: TrainingConfig
    sequences: TokenSequences


def make_size(name: str, data: Path) -> Size:
    """`default` and `films` as their environments have them; `wide` with what WIDE changes."""
    env = ENVIRONMENTS.get(name, "base")
    loader = CONFIG_LOADER_CLASS(str(ROOT / "conf"), env=env, **CONFIG_LOADER_ARGS)
    blocks = loader["parameters"]["pretraining"]
    model, training = blocks["model"], blocks["training"]
    if name in ENVIRONMENTS:
        folder = data / "05_model_input" / loader["globals"]["ledger_name"] / "token_sequences"
        sequences = ledger_sequences(folder, env)
    else:
        model, training = {**model, **WIDE}, {**training, "batch_size": WIDE_BATCH_SIZE}
        sequences = random_sequences(WIDE_VOCAB_SIZE, num_users=256, num_events=WIDE["max_events"] + 1)
    return Size(
        model=ModelConfig(**model),
        loss=LossConfig(**blocks["loss"]),
        training=TrainingConfig(**training),
        sequences=sequences,
    )


def make_steps(size: Size, device: torch.device, compiled: bool) -> dict[str, TimedStep]:
    """The contestants by name; each has weights of its own."""
    vocab_size = size.sequences.vocab_size

    def panther() -> Objective:
        backbone = untrained_backbone(size.sequences, size.model, size.training.seed)
        return Objective(backbone, size.loss, size.sequences)

    makers = {
        "panther": panther,
        "gpt2": lambda: Gpt2Objective(size.model, vocab_size, "best"),
        "gpt2_released": lambda: Gpt2Objective(size.model, vocab_size, "released"),
    }
    steps = {name: TimedStep(make(), size.training, device, compiled=False) for name, make in makers.items()}
    if compiled:
        fast = ("panther", "gpt2")
        steps |= {f"{name}_compiled": TimedStep(makers[name](), size.training, device, compiled=True) for name in fast}
    return steps


def measure(size: Size, device: torch.device, num_batches: int, warm_up: int, compiled: bool) -> dict[str, Any]:
    """All contestants on the same batches, taking turns; the first `warm_up` batches do not count."""
    torch.manual_seed(size.training.seed)
    order = BatchOrder(size.sequences, size.model.max_events, size.training.batch_size, size.training.seed)
    steps = make_steps(size, device, compiled)
    dtype = torch.bfloat16 if uses_bfloat16(size.training, device) else torch.float32
    peak = peak_flops_per_s(device, dtype)
    batches = [order.batch_at(step).to(device) for step in range(warm_up + num_batches)]
    for batch in batches:
        for step in steps.values():
            step(batch)
        # Taken again at every turn: a peak from a busy moment would give a utilisation above 1.
        peak = max(peak, peak_flops_per_s(device, dtype, seconds=_PEAK_SECONDS))
    return _summarise(size, steps, batches[warm_up:], peak, warm_up) | {"precision": str(dtype).removeprefix("torch.")}


def _summarise(
    size: Size, steps: dict[str, TimedStep], batches: list[TrainingBatch], peak: float, warm_up: int
) -> dict[str, Any]:
    num_tokens = [int(batch.events.lengths_B.sum()) for batch in batches]
    num_positions = [batch.targets_BT.numel() for batch in batches]
    panther_flops = [_panther_flops(size, batch) for batch in batches]
    gpt2_flops = [_gpt2_flops(size, batch) for batch in batches]
    seconds = {name: step.seconds[warm_up:] for name, step in steps.items()}
    found = {}
    for name, times in seconds.items():
        flops = panther_flops if name.startswith("panther") else gpt2_flops
        found[name] = {
            "tokens_per_s": round(statistics.median(n / s for n, s in zip(num_tokens, times, strict=True))),
            "step_ms": round(1e3 * statistics.median(times), 2),
            "mfu": _utilisation(flops, times, peak),
            "parameters": steps[name].num_parameters,
            "first_step_s": round(steps[name].seconds[0], 1),
        }
    ratios = {
        name: [theirs / ours for ours, theirs in zip(seconds["panther"], times, strict=True)]
        for name, times in seconds.items()
    }
    low, middle, high = statistics.quantiles(ratios["gpt2"], n=4)
    compiled = {}
    if "gpt2_compiled" in seconds:
        pairs = zip(seconds["panther_compiled"], seconds["gpt2_compiled"], strict=True)
        compiled = {"ratio_vs_hf_gpt2_both_compiled": round(statistics.median(g / p for p, g in pairs), 2)}
    return {
        "ratio_vs_hf_gpt2": round(middle, 2),
        "ratio_low": round(low, 2),
        "ratio_high": round(high, 2),
        "ratio_vs_hf_gpt2_released": round(statistics.median(ratios["gpt2_released"]), 2),
        **compiled,
        "mfu": found["panther"]["mfu"],
        "tokens_per_s": found["panther"]["tokens_per_s"],
        "peak_gflops_per_s": round(peak / 1e9, 1),
        "flops_vs_gpt2": round(sum(panther_flops) / sum(gpt2_flops), 2),
        "batches": len(batches),
        "windows_per_batch": size.training.batch_size,
        "padding_share": round(1 - sum(num_tokens) / sum(num_positions), 3),
        "model": {key: getattr(size.model, key) for key in (*WIDE, "mixer", "dropout")},
        "vocab_size": size.sequences.vocab_size,
        **found,
    }


def _utilisation(flops: list[int], seconds: list[float], peak: float) -> float | None:
    """None where it exceeds 1: then the machine was too busy to show its peak, and the figure would mean nothing."""
    share = statistics.median(f / s for f, s in zip(flops, seconds, strict=True)) / peak
    return round(share, 3) if share <= 1 else None


def _panther_flops(size: Size, batch: TrainingBatch) -> int:
    num_windows, num_positions = batch.targets_BT.shape
    return panther_step_flops(
        size.model,
        vocab_size=size.sequences.vocab_size,
        num_attributes=len(size.sequences.attribute_sizes),
        num_profile_attributes=len(size.sequences.profile_sizes),
        num_windows=num_windows,
        num_positions=num_positions,
        num_targets=int((batch.targets_BT != IGNORE).sum()),
    )


def _gpt2_flops(size: Size, batch: TrainingBatch) -> int:
    num_windows, num_positions = batch.targets_BT.shape
    return gpt2_step_flops(
        dim=size.model.dim,
        num_layers=size.model.num_layers,
        hidden_dim=size.model.feed_forward_dim,
        vocab_size=size.sequences.vocab_size,
        num_windows=num_windows,
        num_positions=num_positions,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=[*ENVIRONMENTS, "wide"], action="append", help="default: all")
    parser.add_argument("--batches", type=int, default=40)
    parser.add_argument("--warm-up", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--compile", action="store_true", help="compiled forms too: minutes on a CPU")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], help="default: as training chooses it")
    parser.add_argument("--data", type=Path, default=ROOT / "data", help="where the pipelines wrote")
    parser.add_argument("--name", default="pretrain", help="of the record")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    found = {}
    for name in args.size or [*ENVIRONMENTS, "wide"]:
        size = make_size(name, args.data)
        if args.precision:
            training = size.training.model_copy(update={"precision": args.precision})
            size = Size(model=size.model, loss=size.loss, training=training, sequences=size.sequences)
        device = choose_device(size.training)
        found[name] = measure(size, device, args.batches, args.warm_up, args.compile or device.type == "cuda")
        print(name, found[name], flush=True)
    gpu = {"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}
    load = round(os.getloadavg()[0], 1)
    write_result(args.name, {"threads": args.threads, "load": load, **gpu, **found})


if __name__ == "__main__":
    main()
