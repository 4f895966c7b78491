"""A loss that is no number and memory that runs out stop training with a sentence and harm nothing."""

import math

import pytest
import torch

from panther_pipeline.errors import TrainingError
from panther_pipeline.training import loop
from panther_pipeline.training.batches import BatchOrder
from panther_pipeline.training.checkpoint import CheckpointFolder
from panther_pipeline.training.failures import memory_failures_explained
from panther_pipeline.training.objective import Objective
from panther_pipeline.training.pretraining import pretrain

CPU_SAYS = RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
GPU_SAYS = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")


class Spoil(torch.autograd.Function):
    """The identity, with a gradient that is not finite."""

    @staticmethod
    def forward(ctx, x, value):
        ctx.value = value
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.value, None


def spoil_losses(monkeypatch, change, from_call):
    """`change` the losses of every call but the first `from_call`."""
    original, calls = Objective.forward, []

    def forward(self, batch):
        calls.append(1)
        losses = original(self, batch)
        return losses | {"loss": change(losses["loss"])} if len(calls) > from_call else losses

    monkeypatch.setattr(Objective, "forward", forward)


def train_until_it_stops(sequences, model_config, loss_config, config, folder, match):
    """The message, and the snapshot left behind."""
    with pytest.raises(TrainingError, match=match) as caught:
        pretrain(sequences, model_config, loss_config, config, folder)
    return str(caught.value), folder.latest()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_loss_that_is_not_finite_stops_at_once(
    value, random_sequences, model_config, loss_config, make_config, monkeypatch, tmp_path
):
    sequences = random_sequences()
    spoil_losses(monkeypatch, lambda loss: loss * value, from_call=5)
    message, left = train_until_it_stops(
        sequences,
        model_config,
        loss_config,
        make_config(),
        CheckpointFolder(tmp_path),
        "the loss of step 5 is not finite",
    )
    users = BatchOrder(sequences, 16, 8, 0).batch_at(5).step_user_ix_A
    assert f"(loss {value}, next_token_loss" in message
    assert f"holds 8 windows, of the users at positions {users[0]}, {users[1]}" in message
    assert "u0" not in message
    assert left.step == 4
    assert all(torch.isfinite(tensor).all() for tensor in left.tensors.values())


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_gradient_that_is_not_finite_stops_before_the_weights(
    value, random_sequences, model_config, loss_config, make_config, monkeypatch, tmp_path
):
    sequences, updated = random_sequences(), []
    step = torch.optim.AdamW.step
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda *a: updated.append(1) or step(*a))
    spoil_losses(monkeypatch, lambda loss: Spoil.apply(loss, value), from_call=5)
    _, left = train_until_it_stops(
        sequences,
        model_config,
        loss_config,
        make_config(),
        CheckpointFolder(tmp_path),
        "the gradient of step 5 is not finite",
    )
    assert left.step == 4
    assert len(updated) == 5


def test_validation_that_is_not_finite_stops(
    random_sequences, model_config, loss_config, make_config, monkeypatch, tmp_path
):
    monkeypatch.setattr(loop, "evaluate", lambda *_: {"nll": math.nan, "hr@1": 0.0, "hr@10": 0.0})
    message, left = train_until_it_stops(
        random_sequences(),
        model_config,
        loss_config,
        make_config(),
        CheckpointFolder(tmp_path),
        "validation after 4 steps",
    )
    assert "nll nan" in message
    assert left.step == 2


@pytest.mark.parametrize("error", [CPU_SAYS, GPU_SAYS, MemoryError("Unable to allocate 9 GiB")])
@pytest.mark.parametrize("where", ["forward", "backward", "optimizer", "validation"])
def test_memory_exhausted_says_what_to_lower(
    error, where, random_sequences, model_config, loss_config, make_config, monkeypatch, tmp_path
):
    def exhaust(*_, **__):
        raise error

    place = {
        "forward": (Objective, "forward"),
        "backward": (torch.Tensor, "backward"),
        "optimizer": (torch.optim.AdamW, "step"),
        "validation": (loop, "evaluate"),
    }[where]
    monkeypatch.setattr(*place, exhaust)
    step = 4 if where == "validation" else 0
    match = rf"memory on cpu ran out at step {step}, with 8 windows of \d+ events.*batch_size.*max_events"
    _, left = train_until_it_stops(
        random_sequences(), model_config, loss_config, make_config(), CheckpointFolder(tmp_path), match
    )
    assert (left and left.step) == (2 if where == "validation" else None)


def test_real_allocation_failure_is_recognised():
    match = r"memory on cpu ran out at step 3, with 8 windows of 9 events"
    with pytest.raises(TrainingError, match=match), memory_failures_explained(torch.device("cpu"), 3, 8, 9):
        torch.empty(1 << 55)


def test_other_errors_pass_unchanged():
    with pytest.raises(RuntimeError, match="must match"), memory_failures_explained(torch.device("cpu"), 3, 8, 9):
        torch.zeros(2) + torch.zeros(3)
