"""P02: training that is restored at any step sees the batches it would have seen, in order.

50 trials: a run is killed at a random step and restored by the real loop from its real checkpoint; the windows of its
next 200 batches, past several epoch borders, are those of a run that was never interrupted. The losses are left out:
they are P01's. There are no loader workers: batches are gathered in the training process, from arrays in memory.
"""

import runpy
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from panther_pipeline.training import loop
from panther_pipeline.training.batches import BatchOrder
from panther_pipeline.training.checkpoint import CheckpointFolder
from panther_pipeline.training.config import LossConfig, TrainingConfig

NUM_SEEDS, KILLS_PER_SEED, NUM_BATCHES, LAST_KILL = 5, 10, 200, 120
random_sequences = runpy.run_path(str(Path(__file__).parents[1] / "fixtures" / "histories.py"))["random_sequences"]


class Killed(BaseException):
    """Stands for `kill -9` inside one process."""


class Nothing(torch.nn.Module):
    """A model that is not trained: only the order counts here."""

    vocab_size, max_events = 20, 8

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))


@pytest.fixture
def served(monkeypatch) -> list[np.ndarray]:
    """The windows of each batch that the loop asks for; steps are taken without learning."""
    served, window_ix_at = [], BatchOrder.window_ix_at

    def record(self, step):
        served.append(window_ix_at(self, step))
        return served[-1]

    monkeypatch.setattr(BatchOrder, "window_ix_at", record)
    monkeypatch.setattr(loop, "_train_step", lambda *_: {"loss": 0.0})
    return served


@pytest.fixture(scope="module")
def sequences():
    torch.set_num_threads(1)
    sequences = random_sequences(num_users=60)
    order = BatchOrder(sequences, Nothing.max_events, batch_size=4, seed=0)
    assert order.steps_per_epoch < NUM_BATCHES < 5 * order.steps_per_epoch
    return sequences


def train(sequences, served, seed, max_steps, folder=None, killed_at=None) -> list[np.ndarray]:
    """The windows served by one run: in a folder until it is killed, else to its end; a restored one, 200 batches."""
    served.clear()
    config = TrainingConfig(
        seed=seed, batch_size=4, max_steps=max_steps, warmup_steps=0, log_every=1, eval_every=10**6,
        save_every=7 if killed_at else 10**6,  # no state depends on it, and only the killed run's are read
        num_threads=1, device="cpu", eval_windows=1, schedule="wsd", decay_share=1e-9,
    )  # fmt: skip

    def report(step, values):
        if step == killed_at or (killed_at is None and folder and len(served) == NUM_BATCHES):
            raise Killed

    with suppress(Killed):
        loop.train(Nothing(), sequences, LossConfig(), config, folder and CheckpointFolder(folder), report)
    return list(served)


def num_differences(sequences, served, monkeypatch, folder, seed, kills) -> int:
    """Batches that a restored run sees otherwise than a run in peace, over the kills."""
    monkeypatch.setattr(loop, "evaluate", lambda *_: {})
    length = LAST_KILL + 8 + NUM_BATCHES
    peaceful = train(sequences, served, seed, length)
    differences = 0
    for number, killed_at in enumerate(kills):
        own = folder / f"{seed}-{number}"
        train(sequences, served, seed, length, own, killed_at)
        restored_at = CheckpointFolder(own).latest().step
        assert killed_at - 7 <= restored_at <= killed_at
        restored = train(sequences, served, seed, length, own)
        assert len(restored) == NUM_BATCHES
        expected = peaceful[restored_at : restored_at + NUM_BATCHES]
        differences += sum(not np.array_equal(a, b) for a, b in zip(restored, expected, strict=True))
    return differences


def test_restored_run_sees_the_same_batches_in_order(sequences, served, monkeypatch, tmp_path):
    rng = np.random.default_rng(0)
    differences = sum(
        num_differences(sequences, served, monkeypatch, tmp_path, seed, rng.integers(8, LAST_KILL, KILLS_PER_SEED))
        for seed in range(NUM_SEEDS)
    )
    trials = NUM_SEEDS * KILLS_PER_SEED
    print(f"\nP02 {differences} of {NUM_BATCHES} x {trials} batches after a restore differ / 0")
    assert differences == 0


def test_guard_notices_an_order_that_starts_anew(sequences, served, monkeypatch, tmp_path):
    recorded, calls = BatchOrder.window_ix_at, {}

    def by_counting(self, step):
        calls[id(self)] = calls.get(id(self), -1) + 1
        return recorded(self, calls[id(self)])

    monkeypatch.setattr(BatchOrder, "window_ix_at", by_counting)
    assert num_differences(sequences, served, monkeypatch, tmp_path, seed=0, kills=[50]) > NUM_BATCHES / 2
