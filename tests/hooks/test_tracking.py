"""Tracking: parameters key by key, killed runs end as KILLED, a dead server costs a warning."""

import signal
import subprocess
import sys
import textwrap

import mlflow
import pytest
from mlflow.utils.validation import _validate_metric_name
from pydantic import Field

from panther_pipeline.config import Config
from panther_pipeline.hooks.tracking import TrackingHook, flatten, metric_name


class Inner(Config):
    width: int = 3


class Block(Config):
    inner: Inner = Inner()
    names: list[str] = Field(default=["a"])


def test_typed_parameters_are_logged_key_by_key():
    assert flatten("model", Block()) == {"model.inner.width": 3, "model.names": ["a"]}
    assert flatten("seed", 7) == {"seed": 7}


@pytest.mark.parametrize("metric", ["hr@1", "recall@0.1%", "card_precision@100", "recall_at_fpr=1%"])
def test_metric_names_are_legal_in_mlflow(metric):
    _validate_metric_name(metric_name({"task": "fraud", "model": "trees_both", "metric": metric, "split": "test"}))


def test_unreachable_tracking_does_not_stop_a_run(caplog):
    hook = TrackingHook()  # no context: starting a run must fail inside
    hook.before_pipeline_run(run_params={}, pipeline=None, catalog=None)
    hook.after_pipeline_run(run_params={}, pipeline=None, catalog=None)
    assert sum("goes on untracked" in record.message for record in caplog.records) == 1


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
