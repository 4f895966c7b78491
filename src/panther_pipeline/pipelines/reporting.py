"""Live curves: a plain callable the training loop reports to, writing to the active MLflow run."""

import logging
import time
from collections.abc import Callable

import mlflow
from mlflow.entities import Metric

logger = logging.getLogger(__name__)


def mlflow_reporter(prefix: str) -> Callable[[int, dict[str, float]], None]:
    """A `report(step, metrics)` that logs `prefix/name` curves; without an active run it does nothing.

    A tracking server that fails costs one warning, never the training.
    """
    run = mlflow.active_run()
    if run is None:
        return _discard
    client, run_id = mlflow.MlflowClient(), run.info.run_id
    works = True

    def report(step: int, metrics: dict[str, float]) -> None:
        nonlocal works
        if not works:
            return
        now_ms = int(time.time() * 1000)
        points = [
            Metric(f"{prefix}/{name}".replace("@", "_at_"), value, now_ms, step) for name, value in metrics.items()
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
