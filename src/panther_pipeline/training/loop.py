"""The training loop: one function to read from top to bottom; everything it calls is a function of its arguments.

Shape letters: B windows, T positions, N positions with a target, D width.
"""

import hashlib
import json
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import polars as pl
import torch
from torch import Tensor, nn
from tqdm import tqdm

from panther_pipeline.errors import TrainingError
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.training.batches import IGNORE, BatchOrder, TrainingBatch, validation_windows
from panther_pipeline.training.checkpoint import Checkpoint, CheckpointFolder
from panther_pipeline.training.config import TrainingConfig
from panther_pipeline.training.determinism import pinned, random_state, restore_random_state
from panther_pipeline.training.evaluation import evaluate
from panther_pipeline.training.losses import contrastive_loss, next_token_loss
from panther_pipeline.training.optimizer import learning_rate, make_optimizer, optimizer_tensors, restore_optimizer

logger = logging.getLogger(__name__)
Report = Callable[[int, dict[str, float]], None]
_CURVE_SCHEMA = {"step": pl.Int64, "metric": pl.Utf8, "value": pl.Float64}


def train(
    model: nn.Module,
    sequences: TokenSequences,
    config: TrainingConfig,
    checkpoints: CheckpointFolder | None = None,
    report: Report | None = None,
) -> pl.DataFrame:
    """Train `model` in place on the training events; it ends with the weights that did best on validation.

    With `checkpoints`, a run that was killed continues bit by bit where its newest checkpoint stands, on the same
    device and thread count; a finished run leaves none behind.

    Args:
        model: a `NextTokenModel`.
        sequences: all users' histories; only the split "train" is learnt from, only "valid" is looked at.
        report: called with (step, values) at every point of the curves, and with the speed in tokens per second.

    Returns:
        The curves: step, metric, value; a function of the inputs alone, so without speeds.

    Raises:
        TrainingError: nothing to train on; a loss that is not finite; memory exhausted.
    """
    device = choose_device(config)
    model.to(device)
    with pinned(config.seed, config.num_threads, device) as num_threads:
        order = BatchOrder(sequences, model.max_events, config.batch_size, config.seed)
        windows = validation_windows(sequences, model.max_events, config.eval_windows, config.seed)
        run = _Run(model, make_optimizer(model, config, device), device)
        identity = run_identity(model, sequences, config, device, num_threads)
        if checkpoints is not None and (checkpoint := checkpoints.latest(identity)) is not None:
            run.restore(checkpoint)
            logger.info("continuing at step %d of %d from %s", run.step, config.max_steps, checkpoints.path)

        model.train()
        with tqdm(initial=run.step, total=config.max_steps, desc="pretrain", unit="step", disable=None) as bar:
            while run.step < config.max_steps and not run.should_stop(config.patience):
                batch = order.batch_at(run.step).to(device)
                run.add_loss(_train_step(run, batch, config))
                run.step += 1
                _show(bar, run, batch)
                if run.step % config.log_every == 0 or run.step == config.max_steps:
                    run.log(run.take_losses() | {"learning_rate": learning_rate(run.step - 1, config)}, report)
                    _report_speed(bar, run, report)
                if run.step % config.eval_every == 0 or run.step == config.max_steps:
                    run.note_validation(evaluate(model, sequences, windows, config.batch_size, device), report)
                if checkpoints is not None and run.step % config.save_every == 0:
                    checkpoints.save(run.checkpoint(identity))
        run.keep_best()
    if checkpoints is not None:
        checkpoints.clear()
    model.eval()
    return pl.DataFrame(run.progress.curves, schema=_CURVE_SCHEMA, orient="row")


def _train_step(run: "_Run", batch: TrainingBatch, config: TrainingConfig) -> dict[str, float]:
    """One optimizer step; the losses it was taken on.

    Raises:
        TrainingError: see `train`.
    """
    for group in run.optimizer.param_groups:
        group["lr"] = learning_rate(run.step, config)
    try:
        with torch.autocast(run.device.type, torch.bfloat16, enabled=uses_bfloat16(config, run.device)):
            losses = compute_losses(run.model, batch, config)
        total = losses["loss"]
        values = dict(zip(losses, torch.stack([x.detach() for x in losses.values()]).tolist(), strict=True))
        if not math.isfinite(values["loss"]):
            raise TrainingError(_not_finite(run.step, batch, values))
        run.optimizer.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(run.model.parameters(), config.grad_clip)
        run.optimizer.step()
    except RuntimeError as error:  # torch.OutOfMemoryError is one; the CPU allocator raises a plain one
        if isinstance(error, torch.OutOfMemoryError) or "not enough memory" in str(error) or "allocate" in str(error):
            raise TrainingError(_out_of_memory(run, batch)) from error
        raise
    return values


def compute_losses(model: nn.Module, batch: TrainingBatch, config: TrainingConfig) -> dict[str, Tensor]:
    """The loss that is descended ("loss") and its parts, scalars."""
    is_target_BT = batch.targets_BT != IGNORE
    h_ND = model(batch.events)[is_target_BT]
    generation = next_token_loss(h_ND, batch.targets_BT[is_target_BT], model.next_token_logits, model.vocab_size)
    profile_vector = getattr(model, "profile_vector", None)
    profile_BD = profile_vector(batch.events.profile_ids_BP) if profile_vector and config.contrastive_weight else None
    if profile_BD is None:
        return {"loss": generation, "next_token_loss": generation}
    contrastive = contrastive_loss(profile_BD, batch.events.profile_ids_BP, config.contrastive_temperature)
    total = generation + config.contrastive_weight * contrastive
    return {"loss": total, "next_token_loss": generation, "contrastive_loss": contrastive}


@dataclass
class _Progress:
    """What a checkpoint remembers beside tensors; JSON values only."""

    curves: list[list[Any]] = field(default_factory=list)  # [step, metric, value]
    loss_sums: dict[str, float] = field(default_factory=dict)  # since the last point of the curve
    num_losses: int = 0
    best_nll: float | None = None
    looks_since_best: int = 0


@dataclass
class _Run:
    """A training run at one moment."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    device: torch.device
    step: int = 0
    progress: _Progress = field(default_factory=_Progress)
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
        if report is not None and values:
            report(self.step, values)

    def note_validation(self, metrics: dict[str, float], report: Report | None) -> None:
        """Log the metrics; remember the weights if they are the best so far."""
        if not metrics:
            return
        self.log({f"valid_{name}": value for name, value in metrics.items()}, report)
        logger.info("step %d: validation %s", self.step, ", ".join(f"{k} {v:.4f}" for k, v in metrics.items()))
        if self.progress.best_nll is None or metrics["nll"] < self.progress.best_nll:
            self.progress.best_nll, self.progress.looks_since_best = metrics["nll"], 0
            self.best = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
        else:
            self.progress.looks_since_best += 1

    def should_stop(self, patience: int | None) -> bool:
        return patience is not None and self.progress.looks_since_best >= patience

    def keep_best(self) -> None:
        """Put the best weights into the model; without validation events the last ones stay."""
        if self.best:
            self.model.load_state_dict(self.best)

    def checkpoint(self, identity: str) -> Checkpoint:
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        tensors |= optimizer_tensors(self.optimizer) | random_state(self.device)
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        progress = {f.name: getattr(self.progress, f.name) for f in fields(self.progress)}
        return Checkpoint(step=self.step, identity=identity, tensors=tensors, progress=progress)

    def restore(self, checkpoint: Checkpoint) -> None:
        def part(kind: str) -> dict[str, Tensor]:
            return {k.removeprefix(kind): t for k, t in checkpoint.tensors.items() if k.startswith(kind)}

        self.model.load_state_dict(part("model."))
        self.best = {name: tensor.to(self.device) for name, tensor in part("best.").items()}
        restore_optimizer(self.optimizer, checkpoint.tensors)
        restore_random_state(checkpoint.tensors, self.device)
        self.step, self.progress = checkpoint.step, _Progress(**checkpoint.progress)


def choose_device(config: TrainingConfig) -> torch.device:
    """The device of the configuration; "auto" is a GPU when there is one."""
    if config.device == "cuda" and not torch.cuda.is_available():
        raise TrainingError("device: cuda, but torch finds no GPU. Use device: auto or cpu, or install torch for CUDA.")
    if config.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(config.device)


def uses_bfloat16(config: TrainingConfig, device: torch.device) -> bool:
    """Whether products are taken in bfloat16; weights, sums and losses stay float32."""
    return config.precision == "bfloat16" or (config.precision == "auto" and device.type == "cuda")


def run_identity(
    model: nn.Module, sequences: TokenSequences, config: TrainingConfig, device: torch.device, num_threads: int
) -> str:
    """Digest of everything the final weights depend on: a checkpoint of another identity must not be continued."""
    digest = hashlib.sha256()
    facts = [config.model_dump(), str(model), device.type, num_threads, torch.__version__, sequences.tokenizer_digest]
    digest.update(json.dumps(facts, sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    for array in (
        sequences.offsets_U1, sequences.token_ids_N, sequences.attribute_ids_NF,
        sequences.time_us_N, sequences.split_N, sequences.profile_ids_UP,
    ):  # fmt: skip
        digest.update(memoryview(array.ravel()))
    return digest.hexdigest()


def _show(bar: tqdm, run: _Run, batch: TrainingBatch) -> None:
    """Advance the bar; tokens are counted on it so that a resumed run shows its own speed."""
    bar.num_tokens = getattr(bar, "num_tokens", 0) + int(batch.events.lengths_B.sum())
    bar.update()


def _report_speed(bar: tqdm, run: _Run, report: Report | None) -> None:
    elapsed_s = bar.format_dict["elapsed"]
    tokens_per_s = bar.num_tokens / elapsed_s if elapsed_s else 0.0
    loss = next((value for _, name, value in reversed(run.progress.curves) if name == "train_loss"), math.nan)
    bar.set_postfix_str(f"loss {loss:.3f}, {tokens_per_s:,.0f} tokens/s", refresh=False)
    if report is not None:
        report(run.step, {"tokens_per_s": tokens_per_s})


def _not_finite(step: int, batch: TrainingBatch, values: dict[str, float]) -> str:
    parts = ", ".join(f"{name} {value}" for name, value in values.items())
    users = ", ".join(map(str, batch.user_ix_B[:5]))
    return (
        f"the loss of step {step} is not finite ({parts}); the batch holds {len(batch.user_ix_B)} windows, of the users "
        f"at positions {users}, ... of token_sequences. Lower peak_lr or grad_clip, or train with precision: float32."
    )


def _out_of_memory(run: _Run, batch: TrainingBatch) -> str:
    num_windows, num_events = batch.targets_BT.shape
    return (
        f"memory on {run.device} ran out at step {run.step} with {num_windows} windows of {num_events} events. "
        "Lower pretraining.training.batch_size or pretraining.model.max_events."
    )
