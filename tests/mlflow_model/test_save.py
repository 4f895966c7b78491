"""What is saved: inert files, only current generations, versions stated and not guessed."""

import json
import subprocess
from dataclasses import replace

import pytest
from mlflow.models import Model

from panther_pipeline.errors import ArtifactError
from panther_pipeline.mlflow_model.save import copy_artifacts, make_signature, requirements, save_scorer
from panther_pipeline.publish import read_manifest

INERT = {".safetensors", ".json", ".arrow", ".parquet", ".mdb"}
OF_MLFLOW = {"MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt", "model_code.py"}


def test_saved_model_holds_only_inert_files(saved_model):
    files = [path for path in saved_model.rglob("*") if path.is_file()]
    assert {path.name for path in files if path.suffix not in INERT} == OF_MLFLOW
    assert {path.suffix for path in files if (saved_model / "artifacts") in path.parents} == {
        ".json", ".mdb", ".safetensors",
    }  # fmt: skip


def test_requirements_are_stated_and_exact(saved_model):
    stated = (saved_model / "requirements.txt").read_text().split()
    assert stated == requirements()
    assert stated[0].startswith("panther_pipeline==")
    assert all("==" in line and "+" not in line for line in stated)


def test_signature_has_exact_texts_for_amounts_and_instants(saved_model, fake_serving):
    types = Model.load(saved_model).signature.inputs.input_dict()
    assert {name: spec.type.name for name, spec in types.items()} == dict.fromkeys(
        ("user_id", "event_id", "event_time", "amount", "counterparty", "category", "channel"), "string"
    )
    own = make_signature(fake_serving.SCHEMA).inputs.input_dict()
    assert (own["distance"].type.name, own["channel"].type.name) == ("double", "string")
    assert all(spec.required for spec in own.values()), "a misspelt column must not pass for a missing value"


def test_saving_starts_no_process(finished_run, tmp_path, monkeypatch):
    started = []  # MLflow goes on when a process fails, so raising alone would not be noticed

    def refuse(self, args, **kwargs):
        started.append(args)
        raise OSError("no process may be started")

    monkeypatch.setattr(subprocess.Popen, "__init__", refuse)
    save_scorer(finished_run.artifacts, tmp_path / "scorer")
    assert not started
    assert (tmp_path / "scorer" / "input_example.json").is_file()


def test_copies_hold_the_current_generation_alone(finished_run, tmp_path):
    run = finished_run.copy(tmp_path / "run")
    store = run.artifacts.store
    manifest = read_manifest(store)
    (store / "manifest.json").write_text(json.dumps({**manifest, "previous": {**manifest, "generation": "0" * 12}}))
    for stray in ("live/x.mdb", "live.lock", f"{'0' * 12}/records.mdb"):
        (store / stray).parent.mkdir(exist_ok=True)
        (store / stray).write_bytes(b"x")
    copies = copy_artifacts(run.artifacts, tmp_path / "copies")
    found = {str(path.relative_to(copies.store)) for path in copies.store.rglob("*") if path.is_file()}
    assert found == {"manifest.json", f"{manifest['generation']}/records.mdb"}
    assert read_manifest(copies.store)["previous"] is None


def test_copies_are_made_where_files_cannot_be_linked(finished_run, tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError("another file system")

    monkeypatch.setattr("os.link", refuse)
    copies = copy_artifacts(finished_run.artifacts, tmp_path)
    (file,) = copies.head.glob("*/weights.safetensors")
    assert file.read_bytes() == next(finished_run.artifacts.head.glob(f"{file.parent.name}/*")).read_bytes()


def test_artifacts_of_two_runs_are_not_saved(finished_run, tmp_path):
    run = finished_run.copy(tmp_path / "run")
    facts = read_manifest(run.artifacts.store)
    facts["facts"]["backbone_digest"] = "f" * 64
    (run.artifacts.store / "manifest.json").write_text(json.dumps(facts))
    with pytest.raises(ArtifactError, match="different runs"):
        save_scorer(run.artifacts, tmp_path / "scorer")
    assert not (tmp_path / "scorer").exists()


def test_missing_store_is_named(finished_run, tmp_path):
    with pytest.raises(ArtifactError, match="nowhere holds no artifact"):
        save_scorer(replace(finished_run.artifacts, store=tmp_path / "nowhere"), tmp_path / "scorer")
