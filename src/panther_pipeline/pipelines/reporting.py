"""Live curves: a plain callable the training loop reports to, writing to an MLflow run.

A tracking server that fails costs one warning, never the training.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from mlflow.utils.validation import MAX_PARAM_VAL_LENGTH

from panther_pipeline.parameters import flatten

logger = logging.getLogger(__name__)
Report = Callable[[int, dict[str, float]], None]


def mlflow_reporter(prefix: str) -> Report:
    """A `report(step, metrics)` that logs `prefix/name` curves; without an active run it does nothing."""
    run = mlflow.active_run()
    return _discard if run is None else _reporter(MlflowClient(), run.info.run_id, f"{prefix}/")


@contextmanager
def mlflow_child_run(name: str, params: dict[str, Any]) -> Iterator[Report]:
    """A run below the active one; gives a `report(step, metrics)` for its curves. Without an active run: nothing.

    It ends as FINISHED, as FAILED when the block raises, as KILLED when the block is interrupted. The active run stays
    the active one.

    Args:
        name: shown in MLflow.
        params: values, or parameter blocks, which are logged key by key.
    """
    parent = mlflow.active_run()
    client, child = MlflowClient(), None
    if parent is not None:
        try:
            child = _start_child(client, parent, name, params)
        except Exception as error:
            logger.warning("MLflow does not answer (%s); %s goes on untracked.", error, name)
    if child is None:
        yield _discard
        return
    status = "KILLED"
    try:
        yield _reporter(client, child.info.run_id, "")
        status = "FINISHED"
    except Exception:
        status = "FAILED"
        raise
    finally:
        try:
            client.set_terminated(child.info.run_id, status)
        except Exception as error:
            logger.warning("MLflow did not take the end of %s (%s).", name, error)


def _start_child(client: MlflowClient, parent: Run, name: str, params: dict[str, Any]) -> Run:
    tags = {MLFLOW_PARENT_RUN_ID: parent.info.run_id}
    child = client.create_run(parent.info.experiment_id, run_name=name, tags=tags)
    flat = flatten(params)
    client.log_batch(
        child.info.run_id, params=[Param(key, str(value)[:MAX_PARAM_VAL_LENGTH]) for key, value in flat.items()]
    )
    return child


def _reporter(client: MlflowClient, run_id: str, prefix: str) -> Report:
    works = True

    def report(step: int, metrics: dict[str, float]) -> None:
        nonlocal works
        if not works:
            return
        now_ms = int(time.time() * 1000)
        points = [
            Metric(f"{prefix}{name}".replace("@", "_at_"), value, now_ms, step) for name, value in metrics.items()
        ]
        try:
            # One request for all values of a step: single calls cost 8 ms each on SQLite.
            client.log_batch(run_id, metrics=points)
        except Exception as error:
            works = False
            logger.warning("MLflow does not answer (%s); training goes on without live curves.", error)

    return report


def _discard(step: int, metrics: dict[str, float]) -> None:
    """Nobody listens."""
