"""Publishing: the old content or the new, never a mixture."""

import json
import os

import pytest

from panther_pipeline import digest
from panther_pipeline.errors import ArtifactError
from panther_pipeline.publish import (
    digest_ahead,
    is_published,
    open_published,
    publish_file,
    publish_folder,
    publish_json,
    read_manifest,
    roll_back,
)


def write_two(first: str, second: str):
    def write(folder):
        (folder / "a.txt").write_text(first)
        (folder / "b.txt").write_text(second)

    return write


def test_file_keeps_old_content_when_writing_fails(tmp_path):
    path = tmp_path / "value.json"
    publish_json(path, {"old": True})

    def fail_half_way(partial):
        partial.write_text('{"new":')
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        publish_file(path, fail_half_way)
    assert json.loads(path.read_text()) == {"old": True}
    assert os.listdir(tmp_path) == ["value.json"]


def test_file_is_synced_before_it_is_renamed(tmp_path, monkeypatch):
    calls = []
    real_fsync, real_replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append("fsync"), real_fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("replace"), real_replace(a, b)))
    publish_json(tmp_path / "value.json", 1)
    assert calls == ["fsync", "replace", "fsync"]


def test_json_refuses_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        publish_json(tmp_path / "value.json", float("nan"))
    assert not (tmp_path / "value.json").exists()


def test_folder_round_trips_with_facts(tmp_path):
    publish_folder(tmp_path / "artifact", write_two("1", "2"), facts={"kind": "test"})
    folder, facts = open_published(tmp_path / "artifact")
    assert ((folder / "a.txt").read_text(), (folder / "b.txt").read_text(), facts) == ("1", "2", {"kind": "test"})


def test_folder_shows_old_generation_when_writing_fails(tmp_path):
    path = tmp_path / "artifact"
    publish_folder(path, write_two("old", "old"))

    def fail_half_way(folder):
        (folder / "a.txt").write_text("new")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        publish_folder(path, fail_half_way)
    folder, _ = open_published(path)
    assert (folder / "a.txt").read_text() == "old"


def test_folder_keeps_the_previous_generation_only(tmp_path):
    path = tmp_path / "artifact"
    for i in range(4):
        publish_folder(path, write_two(str(i), str(i)))
    assert sorted(p.joinpath("a.txt").read_text() for p in path.iterdir() if p.is_dir()) == ["2", "3"]


def test_roll_back_names_the_previous_generation_and_is_undone_by_itself(tmp_path):
    path = tmp_path / "artifact"
    for i in range(3):
        publish_folder(path, write_two(str(i), str(i)), facts={"i": i})
    for i in (1, 2, 1):
        name = roll_back(path)
        folder, facts = open_published(path)
        assert (folder.name, (folder / "a.txt").read_text(), facts) == (name, str(i), {"i": i})
    publish_folder(path, write_two("3", "3"), facts={"i": 3})
    assert sorted(p.joinpath("a.txt").read_text() for p in path.iterdir() if p.is_dir()) == ["1", "3"]


def test_roll_back_refuses_what_it_cannot_read(tmp_path):
    path = tmp_path / "artifact"
    publish_folder(path, write_two("0", "0"))
    with pytest.raises(ArtifactError, match="no generation before"):
        roll_back(path)
    publish_folder(path, write_two("1", "1"))
    current = read_manifest(path)
    (path / current["previous"]["generation"] / "b.txt").write_text("2")
    with pytest.raises(ArtifactError, match=r"b\.txt has changed"):
        roll_back(path)
    assert read_manifest(path) == current


def test_roll_back_refuses_a_hostile_previous_generation(tmp_path):
    path = tmp_path / "artifact"
    publish_folder(path, write_two("0", "0"))
    previous = {"generation": "../x", "files": {}, "facts": {}}
    publish_json(path / "manifest.json", {**read_manifest(path), "previous": previous})
    with pytest.raises(ArtifactError, match="outside its folder"):
        roll_back(path)


@pytest.mark.parametrize("damage", ["flip", "cut", "delete"])
def test_damaged_file_is_refused_by_name(tmp_path, damage):
    path = tmp_path / "artifact"
    publish_folder(path, write_two("hello", "world"))
    folder, _ = open_published(path)
    file = folder / "b.txt"
    if damage == "delete":
        file.unlink()
    else:
        file.write_text("worle" if damage == "flip" else "wor")
    with pytest.raises(ArtifactError, match=r"b\.txt"):
        open_published(path)


@pytest.mark.parametrize(
    "manifest",
    [
        "",
        "[]",
        "{}",
        '{"generation": "g", "files": ["a"], "facts": {}}',
        '{"generation": "g", "files": {}}',
        '{"generation": "../x", "files": {}, "facts": {}}',
        '{"generation": "g", "files": {"../../secret": "0"}, "facts": {}}',
        '{"generation": "g", "files": {"a": 0}, "facts": {}}',
    ],
)
def test_hostile_manifest_is_refused(tmp_path, manifest):
    path = tmp_path / "artifact"
    path.mkdir()
    (path / "manifest.json").write_text(manifest)
    assert is_published(path)
    with pytest.raises(ArtifactError, match="damaged"):
        open_published(path)


@pytest.mark.parametrize("manifest", [b"", b"[]", b"\xff\xfe", b'{"generation": "../x", "files": {}, "facts": {}}'])
def test_damaged_manifest_does_not_stop_saving(tmp_path, manifest, caplog):
    path = tmp_path / "artifact"
    publish_folder(path, write_two("old", "old"))
    (path / "manifest.json").write_bytes(manifest)
    publish_folder(path, write_two("new", "new"), facts={"n": 1})
    folder, facts = open_published(path)
    assert ((folder / "a.txt").read_text(), facts) == ("new", {"n": 1})
    assert "damaged" in caplog.text
    assert "written anew" in caplog.text


def test_missing_artifact_says_what_to_do(tmp_path):
    with pytest.raises(ArtifactError, match="Run the pipeline"):
        open_published(tmp_path / "nothing")


def test_digest_computed_ahead_is_used_once(tmp_path, monkeypatch):
    publish_folder(tmp_path / "a", lambda folder: (folder / "x.bin").write_bytes(b"x" * 100))
    computed = []
    compute = digest._digest_part
    monkeypatch.setattr(digest, "_digest_part", lambda path, *part: computed.append(path.name) or compute(path, *part))
    digest_ahead(tmp_path / "a")
    folder, _ = open_published(tmp_path / "a")
    assert computed == ["x.bin"]
    open_published(tmp_path / "a")
    assert computed == ["x.bin"] * 2
    (folder / "x.bin").write_bytes(b"y" * 100)
    digest_ahead(tmp_path / "a")
    with pytest.raises(ArtifactError, match="has changed"):
        open_published(tmp_path / "a")


def test_file_that_changed_after_its_digest_was_computed_is_refused(tmp_path):
    publish_folder(tmp_path / "a", lambda folder: (folder / "x.bin").write_bytes(b"x" * 100))
    digest_ahead(tmp_path / "a")
    file = next((tmp_path / "a").glob("*/x.bin"))
    file.write_bytes(b"y" * 100)
    with pytest.raises(ArtifactError, match="has changed"):
        open_published(tmp_path / "a")


def test_digest_ahead_of_nothing_is_left_to_who_opens_it(tmp_path):
    digest_ahead(tmp_path / "nothing")
    with pytest.raises(ArtifactError, match=r"manifest\.json is missing"):
        open_published(tmp_path / "nothing")
