"""P04: whatever happens to a snapshot, what is read is whole.

200 kills: a child process saves one snapshot after the other and is killed with SIGKILL; the newest readable snapshot
is whole and no older than the last that was told to be saved. The children are forked by a process that has imported
torch and runs no thread of it. 200 damages: random bits of published files are flipped, files are cut; each is
detected by its digest, the snapshot before is used, and a warning names the file.
"""

import json
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch

from panther_pipeline.training import checkpoint
from panther_pipeline.training.checkpoint import Checkpoint, CheckpointFolder

NUM_KILLS, NUM_DAMAGES = 200, 200


def snapshot(step: int) -> Checkpoint:
    """A snapshot in which every number is its step."""
    tensors = {f"objective.{i}": torch.full((4096,), float(step)) for i in range(8)}
    return Checkpoint(step=step, identity="a", tensors=tensors, progress={"curves": [[step, "train_loss", step]] * 50})


def is_whole(found: Checkpoint) -> bool:
    return found.progress == snapshot(found.step).progress and all(
        bool((tensor == found.step).all()) for tensor in found.tensors.values()
    )


def kill_inside_save(folder: CheckpointFolder, first: int, delay_s: float) -> int:
    """Save from step `first` on in a forked child, SIGKILL it; the last step it told to be saved."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            for step in range(first, first + 10_000):
                os.write(writing, b"%d\n" % (step - 1))
                folder.save(snapshot(step))
        finally:
            os._exit(1)
    os.close(writing)
    select.select([reading], [], [], 10)  # it is about to save
    time.sleep(delay_s)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with os.fdopen(reading) as told:
        return int(told.read().split()[-1])


def kill_often(path: Path) -> dict[str, int]:
    torch.set_num_threads(1)
    folder, rng = CheckpointFolder(path), random.Random(3)
    folder.save(snapshot(1))
    accepted_corrupt = lost = inside = 0
    for _ in range(NUM_KILLS):
        before = set(path.glob(".*.partial"))
        told = kill_inside_save(folder, folder.latest().step + 1, rng.uniform(0, 0.008))
        inside += bool(set(path.glob(".*.partial")) - before)
        found = folder.latest()
        accepted_corrupt += not is_whole(found)
        lost += found.step < told
    return {"corrupt": accepted_corrupt, "lost": lost, "inside": inside}


def test_killed_save_leaves_whole_snapshots(tmp_path):
    command = [sys.executable, str(Path(__file__).resolve()), str(tmp_path)]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=env)
    assert result.returncode == 0, result.stderr[-2000:]
    counts = json.loads(result.stdout)
    print(
        f"\nP04 {counts['corrupt']} corrupt snapshots accepted, {counts['lost']} lost, in {NUM_KILLS} kills, "
        f"{counts['inside']} with a save cut short / 0"
    )
    assert counts["corrupt"] == counts["lost"] == 0
    assert counts["inside"] > NUM_KILLS / 4


def num_accepted(folder: CheckpointFolder, caplog) -> tuple[int, int]:
    """Damage the newest snapshot in many ways: how often it was used all the same, how often a file was not named."""
    rng = random.Random(0)
    files = sorted(path for path in folder.path.rglob("*") if path.is_file() and is_of_step(path, 2))
    assert [file.name for file in files] == ["checkpoint.json", "state.safetensors"]
    accepted = unnamed = 0
    for _ in range(NUM_DAMAGES):
        file = rng.choice(files)
        content = file.read_bytes()
        damaged = bytearray(content)
        if rng.random() < 0.5:
            damaged[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        else:
            del damaged[rng.randrange(len(content)) :]
        file.write_bytes(damaged)
        caplog.clear()
        try:
            found = folder.latest()
            accepted += found.step != 1 or not is_whole(found)
        except Exception:  # what a reader without digests runs into
            accepted += 1
        unnamed += str(file) not in caplog.text
        file.write_bytes(content)
    assert folder.latest().step == 2
    return accepted, unnamed


def is_of_step(path: Path, step: int) -> bool:
    description = path.parent / "checkpoint.json"
    return description.is_file() and json.loads(description.read_text())["step"] == step


@pytest.fixture
def folder(tmp_path) -> CheckpointFolder:
    folder = CheckpointFolder(tmp_path)
    for step in (1, 2):
        folder.save(snapshot(step))
    return folder


def test_every_damage_is_detected_and_named(folder, caplog):
    accepted, unnamed = num_accepted(folder, caplog)
    detected = NUM_DAMAGES - max(accepted, unnamed)
    print(
        f"\nP04 {detected} of {NUM_DAMAGES} damages detected, the file named, the snapshot before used / {NUM_DAMAGES}"
    )
    assert (accepted, unnamed) == (0, 0)


def test_guard_notices_a_digest_that_is_not_checked(folder, caplog, monkeypatch):
    def believe(path, like=None):
        return json.loads((path.parent / "checkpoint.json").read_text())["state_sha256"]

    monkeypatch.setattr(checkpoint, "file_digest", believe)
    accepted, unnamed = num_accepted(folder, caplog)
    assert accepted > 0
    assert unnamed > 0


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1]) as scratch:
        print(json.dumps(kill_often(Path(scratch))))
