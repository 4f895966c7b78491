"""Digests of files: of a large one piece by piece, whoever computes them."""

import hashlib
import json

import pytest

from panther_pipeline import digest
from panther_pipeline.digest import begin_digests, file_digest
from panther_pipeline.errors import ArtifactError
from panther_pipeline.publish import digest_ahead, open_published, publish_folder

PIECE = 10
CONTENT = bytes(range(35))  # three pieces and a half


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(digest, "_PIECE_BYTES", PIECE)
    monkeypatch.setattr(digest, "_CHUNK_BYTES", 4)


@pytest.fixture
def file(tmp_path):
    (tmp_path / "x.bin").write_bytes(CONTENT)
    return tmp_path / "x.bin"


@pytest.fixture
def artifact(tmp_path):
    publish_folder(tmp_path / "a", lambda folder: (folder / "x.bin").write_bytes(CONTENT))
    return tmp_path / "a"


@pytest.mark.parametrize("size", [0, 1, PIECE])
def test_small_file_has_the_digest_of_its_bytes(tmp_path, size):
    (tmp_path / "x").write_bytes(CONTENT[:size])
    assert file_digest(tmp_path / "x") == hashlib.sha256(CONTENT[:size]).hexdigest()


@pytest.mark.parametrize("size", [PIECE + 1, 3 * PIECE, 35])
def test_large_file_has_the_digest_of_its_pieces(tmp_path, size):
    (tmp_path / "x").write_bytes(CONTENT[:size])
    pieces = [
        hashlib.sha256(CONTENT[start : start + PIECE][: size - start]).digest() for start in range(0, size, PIECE)
    ]
    assert file_digest(tmp_path / "x") == "pieces-64MiB:" + hashlib.sha256(b"".join(pieces)).hexdigest()


@pytest.mark.parametrize("num_threads", [1, 2, 3, 50])
@pytest.mark.parametrize("is_ahead", [False, True])
def test_digest_is_the_same_however_many_threads_compute_it(file, monkeypatch, num_threads, is_ahead):
    expected = file_digest(file)
    monkeypatch.setattr(digest, "_num_threads", lambda: num_threads)
    if is_ahead:
        begin_digests({file: expected})
    assert file_digest(file) == expected


@pytest.mark.parametrize("is_ahead", [False, True])
@pytest.mark.parametrize("place", [0, 9, 10, 25, 34])
def test_flipped_byte_is_seen_in_any_piece(artifact, place, is_ahead):
    path = next(artifact.glob("*/x.bin"))
    path.write_bytes(CONTENT[:place] + b"\xff" + CONTENT[place + 1 :])
    assert_refused(artifact, is_ahead)


@pytest.mark.parametrize("is_ahead", [False, True])
@pytest.mark.parametrize("content", [b"", CONTENT[:-1], CONTENT[:30], CONTENT[:5], CONTENT + b"\0", CONTENT * 2])
def test_cut_or_lengthened_file_is_seen(artifact, content, is_ahead):
    next(artifact.glob("*/x.bin")).write_bytes(content)
    assert_refused(artifact, is_ahead)


@pytest.mark.parametrize("is_ahead", [False, True])
def test_large_file_digested_whole_is_checked_whole(artifact, is_ahead):
    manifest = json.loads((artifact / "manifest.json").read_text())
    manifest["files"]["x.bin"] = hashlib.sha256(CONTENT).hexdigest()
    (artifact / "manifest.json").write_text(json.dumps(manifest))
    if is_ahead:
        digest_ahead(artifact)
    folder, _ = open_published(artifact)
    (folder / "x.bin").write_bytes(CONTENT[:-1] + b"\0")
    assert_refused(artifact, is_ahead)


def test_file_that_cannot_be_read_is_told_to_who_waits(file, monkeypatch):
    def fail(path, start, length):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(digest, "_digest_part", fail)
    begin_digests({file: "pieces-64MiB:"})
    with pytest.raises(OSError, match="Input/output"):
        file_digest(file)


def assert_refused(artifact, is_ahead: bool) -> None:
    if is_ahead:
        digest_ahead(artifact)
    with pytest.raises(ArtifactError, match=r"x\.bin has changed"):
        open_published(artifact)


def test_digest_is_computed_where_no_thread_can_be_started(file, monkeypatch):
    def refuse(_):
        raise RuntimeError("can't start new thread")

    expected = file_digest(file)
    monkeypatch.setattr(digest.Thread, "start", refuse)
    begin_digests({file: expected})
    assert file_digest(file, like=expected) == expected
    assert file_digest(file) == expected


def test_digest_of_a_missing_file_cannot_be_begun(tmp_path):
    with pytest.raises(FileNotFoundError):
        begin_digests({tmp_path / "x": "0" * 64})
