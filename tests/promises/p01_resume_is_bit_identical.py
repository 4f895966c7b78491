"""P01: pretraining that was killed resumes to bit-identical weights and optimizer state.

A child process trains; this one kills it with SIGKILL at random moments, some of them inside a save, starts
it again in the same folder until it is done, and compares the digest with that of a child left in peace.
Importing torch takes longer than all the training here, so the next children import it while one is training.
"""

import hashlib
import os
import random
import runpy
import subprocess
import sys
import time
from pathlib import Path

import pytest

NUM_KILLS = 8
NUM_STEPS, SAVE_EVERY = 120, 3


def child(folder: Path, forget_random_state: bool) -> None:
    """Train in `folder`; print a line per step and, at the end, the digest of all that was learnt."""
    import torch

    from panther_pipeline.model.config import ModelConfig
    from panther_pipeline.training import loop, run
    from panther_pipeline.training.checkpoint import CheckpointFolder
    from panther_pipeline.training.config import LossConfig, TrainingConfig
    from panther_pipeline.training.optimizer import optimizer_tensors
    from panther_pipeline.training.pretraining import pretrain

    torch.set_num_threads(1)
    if forget_random_state:
        run.restore_random_state = lambda *_: None
    random_sequences = runpy.run_path(str(Path(__file__).parents[1] / "fixtures" / "histories.py"))["random_sequences"]
    optimizers = []
    original = loop.make_optimizer
    loop.make_optimizer = lambda *arguments: optimizers.append(original(*arguments)) or optimizers[-1]
    model = ModelConfig(dim=32, num_layers=2, num_heads=2, max_events=16, num_prototypes=8, dropout=0.2)
    training = TrainingConfig(
        max_steps=NUM_STEPS, warmup_steps=10, batch_size=8, log_every=1, eval_every=20, save_every=SAVE_EVERY,
        num_threads=1, device="cpu", seed=5,
    )  # fmt: skip
    sequences = random_sequences(num_users=40)
    backbone, curves = pretrain(
        sequences,
        model,
        LossConfig(),
        training,
        CheckpointFolder(folder),
        lambda step, _: print("STEP", step, flush=True),
    )
    digest = hashlib.sha256(curves.write_csv().encode())
    for tensors in (backbone.state_dict(), optimizer_tensors(optimizers[0])):
        for name, tensor in sorted(tensors.items()):
            digest.update(name.encode() + tensor.numpy().tobytes())
    print("DIGEST", digest.hexdigest(), flush=True)


def wait_for_work() -> None:
    """Import all that training needs, then train in the folder named on stdin."""
    import torch

    import panther_pipeline.training.pretraining  # noqa: F401

    torch.optim.AdamW([torch.zeros(1, requires_grad=True)]).zero_grad()  # imports the half of torch that is lazy
    line = sys.stdin.readline()
    if line:  # nothing: the test is over, this one was not needed
        folder, forget_random_state = line.rstrip("\n").split("\t")
        child(Path(folder), forget_random_state == "True")


class Trainer:
    """Starts children, one at a time, and hears what they say. Never forks: thread pools do not survive that."""

    def __init__(self) -> None:
        self.spares = [self._spawn() for _ in range(2)]
        self.child = None

    def _spawn(self) -> subprocess.Popen:
        env = os.environ | {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
        command = [sys.executable, str(Path(__file__).resolve())]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)

    def start(self, folder: Path, forget_random_state: bool = False) -> None:
        self.child = self.spares.pop(0)
        self.spares.append(self._spawn())
        self.child.stdin.write(f"{folder}\t{forget_random_state}\n")
        self.child.stdin.close()

    def hear(self, word: str) -> str:
        """What follows the next line that begins with `word`."""
        for line in self.child.stdout:
            first, _, rest = line.rstrip("\n").partition(" ")
            if first == word:
                return rest
        raise AssertionError("the child ended without a word; see stderr")

    def end(self) -> None:
        self.child.wait(timeout=60)
        self.child.stdout.close()

    def finish(self, folder: Path, forget_random_state: bool = False) -> str:
        """Train to the end; the digest."""
        self.start(folder, forget_random_state)
        digest = self.hear("DIGEST")
        self.end()
        return digest

    def kill_once(self, folder: Path, rng: random.Random, inside_save: bool) -> tuple[int, bool]:
        """Train for some steps, then SIGKILL; the last step it told of, and whether a save was cut short."""
        before = partials(folder)
        self.start(folder)
        # A step is told twice: its losses and its speed.
        last_step = [int(self.hear("STEP")) for _ in range(2 * rng.randrange(4, 14))][-1]
        if inside_save:
            deadline = time.monotonic() + 10
            while not partials(folder) - before and time.monotonic() < deadline:
                pass
        else:
            time.sleep(rng.uniform(0, 0.03))
        self.child.kill()
        self.end()
        return last_step, bool(partials(folder) - before)

    def close(self) -> None:
        for spare in self.spares:
            spare.stdin.close()
            spare.wait(timeout=60)
            spare.stdout.close()


def partials(folder: Path) -> set[Path]:
    """Saves that are not finished: each has a random name of its own."""
    return set(folder.glob(".*.partial"))


@pytest.fixture(scope="module")
def trainer():
    trainer = Trainer()
    yield trainer
    trainer.close()


@pytest.fixture(scope="module")
def uninterrupted(trainer, tmp_path_factory) -> str:
    return trainer.finish(tmp_path_factory.mktemp("uninterrupted"))


def survive(trainer, uninterrupted, folder: Path, num_kills: int, seed: int) -> None:
    """Kill, again and again, then train to the end and compare; prints the figure."""
    rng = random.Random(seed)
    kills = [trainer.kill_once(folder, rng, inside_save=k % 2 == 1) for k in range(num_kills)]
    steps, num_inside = [step for step, _ in kills], sum(inside for _, inside in kills)
    equal = trainer.finish(folder) == uninterrupted
    survived = num_kills if equal else 0
    print(f"\nP01 {survived}/{num_kills} kills survived, {num_inside} inside a save / {num_kills}")
    assert equal
    assert num_inside >= 1
    assert steps[0] < steps[-1] < NUM_STEPS, "a run must get ahead between kills, and be killed before it ends"


def test_killed_pretraining_ends_bit_identical(trainer, uninterrupted, tmp_path):
    survive(trainer, uninterrupted, tmp_path, NUM_KILLS, seed=1)


@pytest.mark.slow
def test_pretraining_survives_twelve_more_kills(trainer, uninterrupted, tmp_path):
    survive(trainer, uninterrupted, tmp_path, 12, seed=6)


def test_guard_notices_a_forgotten_random_state(trainer, uninterrupted, tmp_path):
    trainer.kill_once(tmp_path, random.Random(2), inside_save=False)
    assert trainer.finish(tmp_path, forget_random_state=True) != uninterrupted


if __name__ == "__main__":
    wait_for_work()
