"""MLflow as a notebook: every run writes down what it did; nothing is ever read back, no failure stops a run.

The plugin's hook, with four differences: only what a run needs is imported (the original builds every dataset of
the catalog), typed parameters are logged key by key, a run that is interrupted ends as KILLED instead of
FINISHED or RUNNING for ever, and an unreachable tracking server costs a warning, not the run.
"""

import atexit
import functools
import logging
import re
import signal
import threading
import warnings
from collections.abc import Callable
from typing import Any

import mlflow
import polars as pl
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from pydantic import BaseModel

from panther_pipeline.code_version import read_code_version

with warnings.catch_warnings():
    # While it is imported, MLflow warns about a class of its own; nothing here could answer that.
    warnings.simplefilter("ignore", UserWarning)
    from kedro_mlflow.framework.hooks.mlflow_hook import MlflowHook

logger = logging.getLogger(__name__)

# The plugin sets its own logger to INFO when it is imported, past any logging configuration.
logging.getLogger("kedro_mlflow").setLevel(logging.WARNING)


def _never_stops_a_run(method: Callable[..., None]) -> Callable[..., None]:
    """Turn any failure of the tracking side into one warning, after which this run is not tracked."""

    @functools.wraps(method)
    def guarded(self: "TrackingHook", *args: Any, **kwargs: Any) -> None:
        if not self._works:
            return
        try:
            method(self, *args, **kwargs)
        except Exception as error:
            self._works = False
            logger.warning("MLflow does not answer (%s: %s); the run goes on untracked.", type(error).__name__, error)

    return guarded


class TrackingHook(MlflowHook):
    """One MLflow run per `kedro run`: parameters, metrics, artifacts, data fingerprint, code version."""

    def __init__(self) -> None:
        super().__init__()
        self._works = True
        self._context: KedroContext | None = None
        self._catalog: CatalogProtocol | None = None

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        # The store is opened when a run starts: `kedro viz` or `kedro catalog` need none.
        self._context = context

    @hook_impl
    def after_catalog_created(self, catalog: CatalogProtocol) -> None:
        self._catalog = catalog

    @hook_impl
    @_never_stops_a_run
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        MlflowHook.after_context_created(self, self._context)
        MlflowHook.before_pipeline_run(self, run_params=run_params, pipeline=pipeline, catalog=catalog)
        mlflow.set_tags(read_code_version(self._context.project_path))
        self._end_as_killed_when_interrupted()

    @hook_impl
    @_never_stops_a_run
    def before_node_run(self, node: Node, catalog: CatalogProtocol, inputs: dict[str, Any], is_async: bool) -> None:
        blocks = {name.removeprefix("params:"): value for name, value in inputs.items() if name.startswith("params:")}
        params = {key: value for name, block in blocks.items() for key, value in flatten(name, block).items()}
        if params:
            mlflow.log_params(params)

    @hook_impl
    @_never_stops_a_run
    def after_dataset_loaded(self, dataset_name: str, data: Any, node: Node) -> None:
        if dataset_name.startswith("raw_") and isinstance(data, pl.DataFrame) and data.width:
            mlflow.log_input(mlflow.data.from_polars(data, name=dataset_name), context="source")

    @hook_impl
    @_never_stops_a_run
    def after_dataset_saved(self, dataset_name: str, data: Any, node: Node) -> None:
        if dataset_name == "metrics":
            mlflow.log_metrics({metric_name(record): record["value"] for record in data})
        dataset = self._catalog.get(dataset_name)
        if ((getattr(dataset, "metadata", None) or {}).get("tracking")) == "artifact":
            mlflow.log_artifact(str(dataset._filepath))

    @hook_impl
    @_never_stops_a_run
    def after_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        MlflowHook.after_pipeline_run(self, run_params=run_params, pipeline=pipeline, catalog=catalog)

    @hook_impl
    @_never_stops_a_run
    def on_pipeline_error(
        self, error: Exception, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol
    ) -> None:
        if self.run_id is not None:
            MlflowHook.on_pipeline_error(self, error=error, run_params=run_params, pipeline=pipeline, catalog=catalog)

    def _end_as_killed_when_interrupted(self) -> None:
        # MLflow registers an exit handler that ends an open run as FINISHED. Ours is registered later, so it runs
        # first, and finds a run still open only when neither the end nor an error of the pipeline was reached.
        atexit.register(_end_open_run, self.run_id)
        in_main_thread = threading.current_thread() is threading.main_thread()
        if in_main_thread and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, _exit_on_signal)


def metric_name(record: dict[str, Any]) -> str:
    """The MLflow name of a metric record: task/model/metric/split, in MLflow's alphabet."""
    name = f"{record['task']}/{record['model']}/{record['metric']}/{record['split']}"
    return re.sub(r"[^\w\-. :/]", "_", name.replace("@", "_at_").replace("%", "pct"))


def flatten(prefix: str, value: Any) -> dict[str, Any]:
    """A parameter block as `block.key.key: value`; lists stay whole."""
    if isinstance(value, BaseModel):
        value = value.model_dump()
    if not isinstance(value, dict):
        return {prefix: value}
    return {key: leaf for name, inner in value.items() for key, leaf in flatten(f"{prefix}.{name}", inner).items()}


def _end_open_run(run_id: str | None) -> None:
    run = mlflow.active_run()
    if run is not None and run.info.run_id == run_id:
        mlflow.end_run("KILLED")


def _exit_on_signal(signum: int, frame: Any) -> None:
    raise SystemExit(128 + signum)
