"""The training loop: one function to read from top to bottom."""

import logging

import polars as pl
import torch
from torch import nn
from tqdm import tqdm

from panther_pipeline.errors import TrainingError
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.training.batches import BatchOrder, TrainingBatch, Windows, validation_windows
from panther_pipeline.training.checkpoint import CheckpointFolder
from panther_pipeline.training.config import LossConfig, TrainingConfig
from panther_pipeline.training.determinism import pinned
from panther_pipeline.training.device import choose_device, uses_bfloat16
from panther_pipeline.training.evaluation import METRICS, evaluate
from panther_pipeline.training.failures import (
    memory_failures_explained,
    refuse_not_finite,
    refuse_not_finite_metrics,
)
from panther_pipeline.training.identity import RunIdentity, run_identity
from panther_pipeline.training.objective import Objective
from panther_pipeline.training.optimizer import learning_rate, make_optimizer
from panther_pipeline.training.run import Report, Speed, TrainingRun
from panther_pipeline.training.world import ALONE, World

logger = logging.getLogger(__name__)
_CURVE_SCHEMA = {"step": pl.Int64, "metric": pl.Utf8, "value": pl.Float64}


def train(
    model: nn.Module,
    sequences: TokenSequences,
    loss_config: LossConfig,
    config: TrainingConfig,
    checkpoints: CheckpointFolder | None = None,
    report: Report | None = None,
    world: World = ALONE,
) -> pl.DataFrame:
    """Train `model` in place on the training events; it ends with the weights that did best on validation, or the last.

    With `checkpoints`, a run that was killed continues bit by bit where its newest checkpoint stands, on the
    same device and thread count. The last checkpoint of a finished run stays: whoever is killed before the weights
    are saved, or asks again for the same training, gets the finished model at once. With schedule "wsd", whoever asks
    for more steps continues where the learning rate of the shorter run began to fall, and comes bit by bit to the
    weights of a longer run from the start.

    Args:
        model: a `NextTokenModel`.
        sequences: all users' histories; only the split "train" is learnt from, only "valid" is looked at.
        report: called with (step, values) at every point of the curves, and with the speed.
        world: the processes that train together, `num_processes` of them; the first validates and saves.

    Returns:
        The curves: step, metric, value; a function of the inputs alone, so without speeds.

    Raises:
        TrainingError: nothing to train on; patience without validation events; a loss, gradient or metric that is not
            finite; memory exhausted.
    """
    if world.size != config.num_processes:
        raise TrainingError(f"num_processes: {config.num_processes} is for `pretrain`; `train` is one of {world.size}.")
    device = choose_device(config)
    with pinned(config.seed, config.num_threads, device) as num_threads:
        order = BatchOrder(sequences, model.max_events, config.batch_size, config.seed)
        windows = validation_windows(sequences, model.max_events, config.eval_windows, config.seed)
        if config.patience is not None and not len(windows):
            raise TrainingError(
                f"patience: {config.patience} waits for a better look at validation, and the ledger has no validation "
                "event to look at: training would never stop early. Set patience: null, or dates in ledger.splits that "
                "leave some events to valid."
            )
        objective = Objective(model, loss_config, sequences).to(device)
        run = TrainingRun(objective, make_optimizer(objective, config, device), device, world)
        identity = run_identity(objective, sequences, config, device, num_threads)
        world.seed_own_dropout(config.seed)
        if checkpoints is not None and (checkpoint := checkpoints.latest(identity.at)) is not None:
            run.restore(checkpoint)
            _tell_where_it_continues(run, config, checkpoints)

        shared = world.share(objective).train()
        speed = Speed(world.size)
        hidden = None if world.is_first else True  # None: hidden unless a person is watching
        bar = tqdm(initial=run.step, total=config.max_steps, desc="pretrain", unit="step", disable=hidden)
        with bar:
            while not run.is_finished(config):
                batch = order.batch_at(run.step, world.rank, world.size)
                run.add_loss(_train_step(run, shared, batch, config))
                run.step += 1
                speed.count(batch)
                bar.update()
                if run.step % config.log_every == 0 or run.step == config.max_steps:
                    rate = learning_rate(run.step - 1, config)
                    run.log(run.take_losses() | {"learning_rate": rate}, report)
                    bar.set_postfix_str(f"loss {run.last('train_loss'):.3f}, {speed}", refresh=False)
                    run.tell({"tokens_per_s": speed.tokens_per_s}, report)
                if run.step % config.eval_every == 0 or run.step == config.max_steps:
                    run.note_validation(_validate(run, sequences, windows, config), config, report)
                if checkpoints is not None:
                    _save(run, checkpoints, identity, config)
        run.keep(config.keep)
    model.eval()
    return pl.DataFrame(run.progress.curves, schema=_CURVE_SCHEMA, orient="row")


def _tell_where_it_continues(run: TrainingRun, config: TrainingConfig, checkpoints: CheckpointFolder) -> None:
    if run.is_finished(config):
        logger.info(
            "this training was finished before, at step %d: its result is used, since training again would give the "
            "same weights, bit by bit. To start afresh all the same, delete the folder %s",
            run.step,
            checkpoints.path,
        )
    else:
        logger.info("continuing at step %d of %d from %s", run.step, config.max_steps, checkpoints.path)


def _train_step(run: TrainingRun, shared: nn.Module, batch: TrainingBatch, config: TrainingConfig) -> dict[str, float]:
    """One optimizer step; the losses it was taken on.

    Raises:
        TrainingError: see `train`.
    """
    for group in run.optimizer.param_groups:
        group["lr"] = learning_rate(run.step, config)
    with memory_failures_explained(run.device, run.step, *batch.targets_BT.shape):
        batch = batch.to(run.device)
        with torch.autocast(run.device.type, torch.bfloat16, enabled=uses_bfloat16(config, run.device)):
            losses = shared(batch)
        run.optimizer.zero_grad(set_to_none=True)
        losses["loss"].backward()
        gradient_norm = nn.utils.clip_grad_norm_(run.objective.parameters(), config.grad_clip)
        # The one moment of a step at which the CPU waits for a GPU.
        values = torch.stack([x.detach().float() for x in (*losses.values(), gradient_norm)])
        *values, norm = run.world.mean(values).tolist()
        values = dict(zip(losses, values, strict=True))
        refuse_not_finite(run.step, batch, values, norm)
        run.optimizer.step()
    return values


def _validate(
    run: TrainingRun, sequences: TokenSequences, windows: Windows, config: TrainingConfig
) -> dict[str, float]:
    """Metrics on the validation sample; empty without one.

    Raises:
        TrainingError: see `train`.
    """
    metrics = dict.fromkeys(METRICS if len(windows) else [], 0.0)
    if run.world.is_first:
        with memory_failures_explained(run.device, run.step, config.batch_size, run.objective.model.max_events):
            metrics = evaluate(run.objective.model, sequences, windows, config.batch_size, run.device)
    metrics = dict(zip(metrics, run.world.from_first(list(metrics.values()), run.device), strict=True))
    refuse_not_finite_metrics(run.step, metrics)
    return metrics


def _save(run: TrainingRun, checkpoints: CheckpointFolder, identity: RunIdentity, config: TrainingConfig) -> None:
    """Save a snapshot when one is due; first the trunk's, so that whoever is killed here makes up for it."""
    is_trunk = config.schedule == "wsd" and run.step == config.decay_begin
    is_due = run.step % config.save_every == 0 or run.is_finished(config)
    if not (is_trunk or is_due):
        return
    snapshot = run.checkpoint(identity.at(run.step))  # every process adds its random state
    if is_trunk and run.world.is_first:
        checkpoints.trunk.save(snapshot)
    if is_due and run.world.is_first:
        checkpoints.save(snapshot)
