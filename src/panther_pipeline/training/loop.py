"""The training loop: one function to read from top to bottom."""

import hashlib
import json
import logging
import math
import sys
from pathlib import Path

import polars as pl
import torch
from torch import nn
from tqdm import tqdm

from panther_pipeline.errors import TrainingError
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.training.batches import BatchOrder, TrainingBatch, validation_windows
from panther_pipeline.training.checkpoint import CheckpointFolder
from panther_pipeline.training.config import LossConfig, TrainingConfig
from panther_pipeline.training.determinism import pinned
from panther_pipeline.training.evaluation import evaluate
from panther_pipeline.training.objective import Objective
from panther_pipeline.training.optimizer import learning_rate, make_optimizer
from panther_pipeline.training.run import Report, Speed, TrainingRun

logger = logging.getLogger(__name__)
# What the weights depend on beside the data: how batches, losses and steps are made, and the layers.
_CODE_FOLDERS = (Path(__file__).parent, Path(__file__).parents[1] / "model")
_CURVE_SCHEMA = {"step": pl.Int64, "metric": pl.Utf8, "value": pl.Float64}


def train(
    model: nn.Module,
    sequences: TokenSequences,
    loss_config: LossConfig,
    config: TrainingConfig,
    checkpoints: CheckpointFolder | None = None,
    report: Report | None = None,
) -> pl.DataFrame:
    """Train `model` in place on the training events; it ends with the weights that did best on validation.

    With `checkpoints`, a run that was killed continues bit by bit where its newest checkpoint stands, on the
    same device and thread count. The last checkpoint of a finished run stays: whoever is killed before the weights
    are saved, or asks again for the same training, gets the finished model at once.

    Args:
        model: a `NextTokenModel`.
        sequences: all users' histories; only the split "train" is learnt from, only "valid" is looked at.
        report: called with (step, values) at every point of the curves, and with the speed.

    Returns:
        The curves: step, metric, value; a function of the inputs alone, so without speeds.

    Raises:
        TrainingError: nothing to train on; a loss that is not finite; memory exhausted.
    """
    device = choose_device(config)
    with pinned(config.seed, config.num_threads, device) as num_threads:
        order = BatchOrder(sequences, model.max_events, config.batch_size, config.seed)
        windows = validation_windows(sequences, model.max_events, config.eval_windows, config.seed)
        objective = Objective(model, loss_config, sequences).to(device)
        run = TrainingRun(objective, make_optimizer(objective, config, device), device)
        identity = run_identity(objective, sequences, config, device, num_threads)
        if checkpoints is not None and (checkpoint := checkpoints.latest(identity)) is not None:
            run.restore(checkpoint)
            _tell_where_it_continues(run, config, checkpoints)

        objective.train()
        speed = Speed()
        bar = tqdm(initial=run.step, total=config.max_steps, desc="pretrain", unit="step", disable=None)
        with bar:
            while not run.is_finished(config.max_steps, config.patience):
                batch = order.batch_at(run.step).to(device)
                run.add_loss(_train_step(run, batch, config))
                run.step += 1
                speed.count(batch)
                bar.update()
                if run.step % config.log_every == 0 or run.step == config.max_steps:
                    rate = learning_rate(run.step - 1, config)
                    run.log(run.take_losses() | {"learning_rate": rate}, report)
                    bar.set_postfix_str(f"loss {run.last('train_loss'):.3f}, {speed}", refresh=False)
                    run.tell({"tokens_per_s": speed.tokens_per_s}, report)
                if run.step % config.eval_every == 0 or run.step == config.max_steps:
                    metrics = evaluate(model, sequences, windows, config.batch_size, device)
                    run.note_validation(metrics, report)
                is_last = run.is_finished(config.max_steps, config.patience)
                if checkpoints is not None and (run.step % config.save_every == 0 or is_last):
                    checkpoints.save(run.checkpoint(identity))
        run.keep_best()
    model.eval()
    return pl.DataFrame(run.progress.curves, schema=_CURVE_SCHEMA, orient="row")


def _tell_where_it_continues(run: TrainingRun, config: TrainingConfig, checkpoints: CheckpointFolder) -> None:
    if run.is_finished(config.max_steps, config.patience):
        logger.info(
            "this training was finished before, at step %d: its result is used, since training again would give the "
            "same weights, bit by bit. To start afresh all the same, delete the folder %s",
            run.step,
            checkpoints.path,
        )
    else:
        logger.info("continuing at step %d of %d from %s", run.step, config.max_steps, checkpoints.path)


def _train_step(run: TrainingRun, batch: TrainingBatch, config: TrainingConfig) -> dict[str, float]:
    """One optimizer step; the losses it was taken on.

    Raises:
        TrainingError: see `train`.
    """
    for group in run.optimizer.param_groups:
        group["lr"] = learning_rate(run.step, config)
    try:
        with torch.autocast(run.device.type, torch.bfloat16, enabled=uses_bfloat16(config, run.device)):
            losses = run.model(batch)
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
    objective: Objective,
    sequences: TokenSequences,
    config: TrainingConfig,
    device: torch.device,
    num_threads: int,
) -> str:
    """Digest of all that the final weights depend on; a checkpoint of another identity is not continued."""
    digest = hashlib.sha256()
    # str(objective) names the layers; what is no layer (how they are merged, say) stands in the model's config.
    description = [str(objective), repr(getattr(objective.model, "config", None))]
    facts = [
        objective.config.model_dump(),
        config.model_dump(),
        description,
        device.type,
        num_threads,
        torch.__version__,
        sequences.tokenizer_digest,
        # A finished training is not repeated, so a change of its code must be as visible as one of a parameter.
        source_digest([*_CODE_FOLDERS, *_own_file(objective.model)]),
    ]
    digest.update(json.dumps(facts, sort_keys=True).encode())
    for name, tensor in sorted(objective.state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    for array in (
        sequences.offsets_U1, sequences.token_ids_N, sequences.attribute_ids_NF,
        sequences.time_us_N, sequences.split_N, sequences.profile_ids_UP,
    ):  # fmt: skip
        digest.update(memoryview(array.ravel()))
    return digest.hexdigest()


def source_digest(places: list[Path]) -> str:
    """SHA-256 of the Python sources in these folders (and of these files), names and contents."""
    digest = hashlib.sha256()
    for place in places:
        for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(file.name.encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _own_file(model: nn.Module) -> list[Path]:
    # A class typed into a notebook has none.
    file = getattr(sys.modules.get(type(model).__module__), "__file__", None)
    return [Path(file)] if file else []


def _not_finite(step: int, batch: TrainingBatch, values: dict[str, float]) -> str:
    parts = ", ".join(f"{name} {value}" for name, value in values.items())
    users = ", ".join(map(str, batch.user_ix_B[:5]))
    return (
        f"the loss of step {step} is not finite ({parts}). The batch holds {len(batch.user_ix_B)} windows, "
        f"of the users at positions {users}, ... of token_sequences. "
        "Lower peak_lr or grad_clip, or train with precision: float32."
    )


def _out_of_memory(run: TrainingRun, batch: TrainingBatch) -> str:
    num_windows, num_events = batch.targets_BT.shape
    return (
        f"memory on {run.device} ran out at step {run.step}, "
        f"with {num_windows} windows of {num_events} events. "
        "Lower pretraining.training.batch_size or pretraining.model.max_events."
    )
