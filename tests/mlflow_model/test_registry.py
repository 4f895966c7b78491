"""A version per run, and an alias that moves only to what is better; of the champion its tags are read, no more."""

import logging

import mlflow
import pytest
from mlflow.exceptions import MlflowException

from panther_pipeline.mlflow_model import registry
from panther_pipeline.mlflow_model.registry import register_scorer


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A migrated store; creating one takes seconds."""
    folder = tmp_path_factory.mktemp("registry")
    uri = f"sqlite:///{folder}/mlflow.db"
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    mlflow.create_experiment("here", artifact_location=str(folder / "mlruns"))
    yield mlflow.MlflowClient(uri)
    mlflow.set_tracking_uri(before)


@pytest.fixture
def register(store, request, finished_run):
    """Registers the finished run as if it had measured a value; the name is the test's own."""
    here = store.get_experiment_by_name("here").experiment_id  # not set_experiment: other tests have no such experiment

    def run(value: float, digest: str = "d1", **config):
        tags = {"metric": "average_precision", "split": "test", "judged_digest": digest, "judged_events": "9"}
        settings = {
            "enabled": True, "name": request.node.name, "metric": "average_precision", "split": "test",
            "alias": "champion", "min_gain": 0.0, "incomparable": "keep", "versions": "every_run",
        }  # fmt: skip
        candidate = {"registry": settings | config, "tags": tags | {"value": repr(value)}}
        with mlflow.start_run(experiment_id=here) as active:
            return register_scorer(candidate, finished_run.artifacts, active.info.run_id)

    run.client, run.name, run.experiment_id = store, request.node.name, here
    run.champion = lambda: str(store.get_registered_model(request.node.name).aliases.get("champion"))
    run.versions = lambda: len(store.search_model_versions(f"name = '{request.node.name}'"))
    return run


def test_champion_moves_to_what_is_better_and_to_nothing_else(register, caplog):
    caplog.set_level(logging.INFO)
    told = []
    for value, digest in ((0.3, "d1"), (0.2, "d1"), (0.3, "d1"), (0.9, "d2"), (0.4, "d1")):
        register(value, digest)
        told.append(register.champion())
    assert told == ["1", "1", "1", "1", "5"]
    assert register.versions() == 5
    assert "cannot be compared" in caplog.text
    version = register.client.get_model_version(register.name, "5")
    assert float(version.tags["value"]) == 0.4
    assert "better" in version.tags["verdict"]
    assert version.run_id
    loaded = mlflow.pyfunc.load_model(f"models:/{register.name}@champion")
    assert loaded.predict(loaded.input_example)["probability"].between(0, 1).all()


def test_run_that_is_not_better_leaves_no_copy_when_only_better_ones_are_kept(register, monkeypatch):
    register(0.3, versions="better")
    monkeypatch.setattr(registry, "log_scorer", lambda artifacts: pytest.fail("a copy was made"))
    assert not register(0.2, versions="better").moves
    assert (register.versions(), register.champion()) == (1, "1")


def test_champion_is_looked_up_after_saving(register, monkeypatch):
    """Another run may have finished meanwhile."""
    register(0.3)
    own = registry.log_scorer

    def overtaken(artifacts):
        monkeypatch.setattr(registry, "log_scorer", own)
        with mlflow.start_run(experiment_id=register.experiment_id, nested=True):
            made = own(artifacts)
        tags = register.client.get_model_version(register.name, "1").tags | {"value": "0.8"}
        version = register.client.create_model_version(register.name, made.model_uri, tags=tags).version
        register.client.set_registered_model_alias(register.name, "champion", version)
        return own(artifacts)

    monkeypatch.setattr(registry, "log_scorer", overtaken)
    assert not register(0.5).moves
    assert register.champion() == "2"


def test_question_without_answer_is_not_taken_for_no_champion(register, monkeypatch):
    """The registry fails once, at the very question who the champion is."""
    register(0.3)
    ask, make = mlflow.MlflowClient.get_registered_model, mlflow.MlflowClient.create_model_version

    def refuse_once(*args, **kwargs):
        monkeypatch.setattr(mlflow.MlflowClient, "get_registered_model", ask)
        raise MlflowException("no route to host")

    def make_then_fail(*args, **kwargs):
        version = make(*args, **kwargs)
        monkeypatch.setattr(mlflow.MlflowClient, "get_registered_model", refuse_once)
        return version

    monkeypatch.setattr(mlflow.MlflowClient, "create_model_version", make_then_fail)
    with pytest.raises(MlflowException, match="no route"):
        register(0.1)
    assert (register.versions(), register.champion()) == (2, "1")


def test_champion_model_is_never_loaded_back(register, monkeypatch):
    register(0.3)
    monkeypatch.setattr(mlflow.MlflowClient, "download_artifacts", lambda *a, **k: pytest.fail("read back"))
    monkeypatch.setattr("mlflow.artifacts.download_artifacts", lambda *a, **k: pytest.fail("read back"))
    assert register(0.4).moves
