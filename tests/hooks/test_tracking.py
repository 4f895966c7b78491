"""Tracking: parameters key by key, killed runs end as KILLED, a dead server costs a warning."""

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import mlflow
import polars as pl
import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro_mlflow.framework.hooks.mlflow_hook import MlflowHook
from mlflow.utils.validation import _validate_metric_name
from pydantic import Field

from panther_pipeline.config import Config
from panther_pipeline.datasets import TableDataset
from panther_pipeline.hooks.tracking import TrackingHook, metric_name
from panther_pipeline.mlflow_model import registry
from panther_pipeline.parameters import flatten


class Inner(Config):
    width: int = 3


class Block(Config):
    inner: Inner = Inner()
    names: list[str] = Field(default=["a"])


def test_typed_parameters_are_logged_key_by_key():
    assert flatten({"model": Block()}) == {"model.inner.width": 3, "model.names": ["a"]}
    assert flatten({"seed": 7}) == {"seed": 7}


CANDIDATE = {"registry": {"name": "m"}, "tags": {"value": "0.5"}}
PARTS = {"backbone": "backbone", "tokenizer": "tokenizer", "head": "fraud_head", "store": "online_store"}


def save_candidate(hook, candidate):
    parts = {name: TableDataset(filepath=f"data/{name}") for name in PARTS.values()}
    hook.after_catalog_created(DataCatalog({"model_candidate": MemoryDataset(), **parts}))
    hook.after_dataset_saved("model_candidate", candidate, None)


def finish_with_candidate(hook, candidate):
    save_candidate(hook, candidate)
    hook.after_pipeline_run(run_params={}, pipeline=None, catalog=None)


def test_scorer_is_registered_before_the_run_ends(started, monkeypatch):
    hook, status = started
    told = []

    def register(candidate, artifacts, run_id):
        told.append((candidate, {part: str(path) for part, path in vars(artifacts).items()}, run_id, status()))

    monkeypatch.setattr(registry, "register_scorer", register)
    finish_with_candidate(hook, CANDIDATE)
    paths = {part: f"data/{name}" for part, name in PARTS.items()}
    assert told == [(CANDIDATE, paths, hook.run_id, "RUNNING")]
    assert status() == "FINISHED"


def test_run_without_candidate_registers_nothing(started, monkeypatch):
    hook, status = started
    monkeypatch.setattr(registry, "register_scorer", lambda *arguments: pytest.fail("registered"))
    finish_with_candidate(hook, {})
    assert status() == "FINISHED"


def test_refused_model_costs_a_warning_and_the_run_finishes(started, monkeypatch, caplog):
    hook, status = started
    monkeypatch.setattr(registry, "register_scorer", refuse)
    finish_with_candidate(hook, CANDIDATE)
    assert status() == "FINISHED"
    assert [r.message for r in caplog.records if r.levelname == "WARNING"] == [
        "MLflow did not take the model (RuntimeError: no route to host); the run goes on."
    ]


def test_candidate_of_an_earlier_run_is_not_registered_again(started, monkeypatch):
    hook, _ = started
    monkeypatch.setattr(registry, "register_scorer", lambda *arguments: pytest.fail("registered"))
    run_id = hook.run_id
    save_candidate(hook, CANDIDATE)
    monkeypatch.setattr(MlflowHook, "after_context_created", lambda self, context: None)
    monkeypatch.setattr(MlflowHook, "before_pipeline_run", lambda self, **_: setattr(self, "run_id", run_id))
    monkeypatch.setattr("panther_pipeline.hooks.tracking.read_code_version", lambda path: {})
    hook._context = type("Context", (), {"project_path": Path()})()
    hook.before_pipeline_run(run_params={}, pipeline=None, catalog=None)
    hook.after_pipeline_run(run_params={}, pipeline=None, catalog=None)


@pytest.mark.parametrize("metric", ["hr@1", "recall@0.1%", "card_precision@100", "recall_at_fpr=1%"])
def test_metric_names_are_legal_in_mlflow(metric):
    _validate_metric_name(metric_name({"task": "fraud", "model": "trees_both", "metric": metric, "split": "test"}))


def test_unreachable_tracking_does_not_stop_a_run(caplog):
    hook = TrackingHook()  # no context: starting a run must fail inside
    hook.before_pipeline_run(run_params={}, pipeline=None, catalog=None)
    hook.after_pipeline_run(run_params={}, pipeline=None, catalog=None)
    assert sum("goes on untracked" in record.message for record in caplog.records) == 1


def refuse(*args, **kwargs):
    raise RuntimeError("no route to host")


def test_nothing_is_attempted_when_starting_fails(monkeypatch, caplog):
    hook = TrackingHook()
    hook.before_pipeline_run(run_params={}, pipeline=None, catalog=None)
    for name in ("log_params", "log_input", "log_metrics", "log_artifact", "end_run"):
        monkeypatch.setattr(mlflow, name, refuse)
    run_everything(hook)
    hook.after_pipeline_run(run_params={}, pipeline=None, catalog=None)
    hook.on_pipeline_error(error=ValueError(), run_params={}, pipeline=None, catalog=None)
    assert len(caplog.records) == 1


def run_everything(hook):
    hook.after_catalog_created(DataCatalog({"metrics": MemoryDataset(), "raw_events": MemoryDataset()}))
    for width in (1, 2):
        hook.before_node_run(node=None, catalog=None, inputs={"params:model": {"width": width}}, is_async=False)
    hook.after_dataset_loaded("raw_events", pl.DataFrame({"a": [1]}), None)
    record = {"task": "fraud", "model": "m", "metric": "ap", "split": "test", "value": 0.5}
    hook.after_dataset_saved("metrics", [record], None)


@pytest.fixture
def started(store, monkeypatch):
    """A hook in the middle of a run, and a function that reads the status of that run."""
    monkeypatch.setattr("atexit.register", lambda *arguments: None)
    mlflow.set_tracking_uri(store)
    hook = TrackingHook()
    hook._already_active_mlflow = False
    hook.run_id = mlflow.start_run().info.run_id
    yield hook, lambda: mlflow.MlflowClient(store).get_run(hook.run_id).info.status
    mlflow.end_run()


def test_refused_log_call_leaves_the_run_finished(started, monkeypatch, caplog):
    hook, status = started
    for name in ("log_params", "log_metrics"):
        monkeypatch.setattr(mlflow, name, refuse)
    logged = []
    monkeypatch.setattr(mlflow, "log_input", lambda *args, **kwargs: logged.append(args))
    run_everything(hook)
    hook.after_pipeline_run(run_params={}, pipeline=None, catalog=None)
    assert status() == "FINISHED"
    assert len(logged) == 1, "what comes after a refused call is still logged"
    messages = [record.message for record in caplog.records]
    assert [m.split(" (")[0] for m in messages] == [
        "MLflow did not take the parameters",  # once, although two nodes have some
        "MLflow did not take the metrics",
    ]


def test_column_named_by_a_card_number_is_masked_in_the_fingerprint(started, monkeypatch):
    hook, _ = started
    logged = []
    monkeypatch.setattr(mlflow, "log_input", lambda dataset, **kwargs: logged.append(dataset))
    table = pl.DataFrame({"user": ["a"], "4111111111111111": [1], "card 5500 0000 0000 0004": [2]})
    hook.after_dataset_loaded("raw_transactions", table, None)
    assert logged[0].df.columns == ["user", "[card number] 1", "card [card number] 2"]
    assert table.columns[1] == "4111111111111111"


def test_refused_log_call_leaves_the_run_failed_on_error(started, monkeypatch):
    hook, status = started
    monkeypatch.setattr(mlflow, "log_params", refuse)
    run_everything(hook)
    hook.on_pipeline_error(error=ValueError(), run_params={}, pipeline=None, catalog=None)
    assert status() == "FAILED"


def test_run_whose_tags_are_refused_is_still_tracked(monkeypatch, caplog):
    def start_and_fail(self, **kwargs):
        self.run_id = "abc"
        refuse()

    ends = []
    monkeypatch.setattr(MlflowHook, "after_context_created", lambda self, context: None)
    monkeypatch.setattr(MlflowHook, "before_pipeline_run", start_and_fail)
    monkeypatch.setattr(MlflowHook, "after_pipeline_run", lambda self, **kwargs: ends.append(self.run_id))
    monkeypatch.setattr(TrackingHook, "_end_as_killed_when_interrupted", lambda self: None)
    hook = TrackingHook()
    hook.before_pipeline_run(run_params={}, pipeline=None, catalog=None)
    hook.after_pipeline_run(run_params={}, pipeline=None, catalog=None)
    assert ends == ["abc"]
    assert "tags of the run" in caplog.text


def test_long_parameter_is_cut_to_what_mlflow_takes(started, monkeypatch):
    hook, _ = started
    logged = {}
    monkeypatch.setattr(mlflow, "log_params", logged.update)
    hook.before_node_run(node=None, catalog=None, inputs={"params:names": ["x" * 7000], "data": "y"}, is_async=False)
    assert list(logged) == ["names"]
    assert len(logged["names"]) == 6000


def test_person_named_in_parameters_stays_out_of_the_record(started, monkeypatch):
    hook, _ = started
    logged, seen = {}, {}
    monkeypatch.setattr(mlflow, "log_params", logged.update)
    block = {"enabled": True, "user_id": "4711"}
    hook.before_node_run(node=None, catalog=None, inputs={"params:evaluation.timeline": block}, is_async=False)
    assert logged == {"evaluation.timeline.enabled": "True"}

    monkeypatch.setattr(MlflowHook, "after_context_created", lambda self, context: None)
    monkeypatch.setattr(MlflowHook, "before_pipeline_run", lambda self, run_params, **_: seen.update(run_params))
    stated = {"env": "base", "runtime_params": {"evaluation": {"timeline": block}}}
    TrackingHook().before_pipeline_run(run_params=stated, pipeline=None, catalog=None)
    assert seen == {"env": "base", "runtime_params": {"evaluation": {"timeline": {"enabled": True}}}}


def test_starting_kedro_says_nothing_about_type_hints():
    # Kedro's command line, since the plain import of the hook never showed the warning.
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "kedro", "run", "--help"]
    said = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert "type hints" not in said.stdout + said.stderr


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A migrated tracking store: creating one takes seconds, so both signals share it."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('tracking')}/mlflow.db"
    mlflow.MlflowClient(uri).search_experiments()
    return uri


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT], ids=["terminated", "interrupted"])
def test_stopped_run_ends_as_killed(store, tmp_path, sent):
    script = textwrap.dedent("""
        import sys, time, mlflow
        from panther_pipeline.hooks.tracking import TrackingHook
        mlflow.set_tracking_uri(sys.argv[1])
        hook = TrackingHook()
        hook.run_id = mlflow.start_run().info.run_id
        hook._end_as_killed_when_interrupted()
        print("RUN", hook.run_id, flush=True)
        time.sleep(60)
    """)
    command = [sys.executable, "-c", script, store]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    run_id = next(line.split()[1] for line in process.stdout if line.startswith("RUN "))
    process.send_signal(sent)
    process.communicate(timeout=30)
    assert mlflow.MlflowClient(store).get_run(run_id).info.status == "KILLED"
