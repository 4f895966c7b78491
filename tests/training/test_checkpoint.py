"""P04 in small: whatever happens to the newest snapshot, a damaged one is never used."""

import random
import shutil

import pytest
import torch

from panther_pipeline.publish import MANIFEST
from panther_pipeline.training.checkpoint import Checkpoint, CheckpointFolder


def A(step):
    return "a"


def B(step):
    return "b"


def snapshot(step, identity="a"):
    tensors = {"model.weight": torch.full((20,), float(step))}
    progress = {"curves": [[step, "loss", 0.1 + step]], "best": None}
    return Checkpoint(step=step, identity=identity, tensors=tensors, progress=progress)


@pytest.fixture
def folder(tmp_path):
    folder = CheckpointFolder(tmp_path / "checkpoints")
    folder.save(snapshot(1))
    folder.save(snapshot(2))
    return folder


def newest_file(folder, name):
    newest = max(folder.path.rglob("checkpoint.json"), key=lambda p: '"step": 2' in p.read_text())
    return newest.parent / name


def test_latest_is_the_newest_snapshot_whole(folder):
    latest = folder.latest(A)
    assert (latest.step, latest.progress) == (2, snapshot(2).progress)
    assert torch.equal(latest.tensors["model.weight"], snapshot(2).tensors["model.weight"])


def test_snapshot_of_another_identity_is_passed_over(folder, caplog):
    with caplog.at_level("INFO"):
        assert folder.latest(B) is None
    assert "another configuration" in caplog.text


@pytest.mark.parametrize("name", ["state.safetensors", "checkpoint.json"])
def test_every_flipped_bit_is_detected_and_the_previous_used(name, folder, caplog):
    file = newest_file(folder, name)
    content = file.read_bytes()
    rng = random.Random(0)
    for _ in range(60):
        damaged = bytearray(content)
        damaged[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        file.write_bytes(damaged)
        caplog.clear()
        assert folder.latest(A).step == 1
        assert str(file) in caplog.text


@pytest.mark.parametrize("name", ["state.safetensors", "checkpoint.json"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_cut_file_is_detected_and_the_previous_used(name, share, folder):
    file = newest_file(folder, name)
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    assert folder.latest(A).step == 1


def test_damaged_manifest_stops_neither_reading_nor_writing(folder):
    manifest = folder.path / MANIFEST
    content = manifest.read_bytes()
    rng = random.Random(0)
    for _ in range(40):
        damaged = bytearray(content)
        damaged[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        manifest.write_bytes(damaged)
        assert folder.latest(A).step == 2
    manifest.write_text("{")
    folder.save(snapshot(3))
    assert folder.latest(A).step == 3


def test_snapshot_without_its_state_is_passed_over(folder):
    newest_file(folder, "state.safetensors").unlink()
    assert folder.latest(A).step == 1


def test_unfinished_save_is_not_seen_and_swept_by_the_next(folder):
    newest = newest_file(folder, "checkpoint.json").parent
    shutil.copytree(newest, folder.path / ".0123456789ab.partial")
    shutil.rmtree(newest)
    assert folder.latest(A).step == 1
    folder.save(snapshot(3))
    assert not (folder.path / ".0123456789ab.partial").exists()


def test_failing_save_leaves_the_older_snapshots(folder, monkeypatch):
    def full(tensors, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("panther_pipeline.training.checkpoint.save_file", full)
    with pytest.raises(OSError, match="No space left"):
        folder.save(snapshot(3))
    assert folder.latest(A).step == 2


def test_folder_that_does_not_exist_has_no_snapshot(tmp_path):
    assert CheckpointFolder(tmp_path / "none").latest() is None
