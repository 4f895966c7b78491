"""MLflow as a notebook: every run writes down what it did; nothing is ever read back, no failure stops a run.

The plugin's hook, with four differences: only what a run needs is imported (the original builds every dataset of
the catalog), typed parameters are logged key by key, a run that is interrupted ends as KILLED instead of
FINISHED or RUNNING for ever, and whatever the tracking server does not take costs a warning, not the run.
"""

import atexit
import logging
import re
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import mlflow
import polars as pl
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from mlflow.utils.validation import MAX_PARAM_VAL_LENGTH

from panther_pipeline.cards.numbers import mask_card_numbers
from panther_pipeline.code_version import read_code_version
from panther_pipeline.parameters import flatten, public

# While it is imported, MLflow warns that a class of the plugin's lacks type hints, which no user can answer. A filter
# does not help: MLflow puts "always show once" in front of all filters for exactly this warning. So what is said
# during the import is recorded, and said again without that one.
with warnings.catch_warnings(record=True) as _said:
    from kedro_mlflow.framework.hooks.mlflow_hook import MlflowHook
for _warning in _said:
    if "Add type hints to the `predict` method" not in str(_warning.message):
        warnings.warn_explicit(_warning.message, _warning.category, _warning.filename, _warning.lineno)

logger = logging.getLogger(__name__)

# The plugin sets its own logger to INFO when it is imported, past any logging configuration.
logging.getLogger("kedro_mlflow").setLevel(logging.WARNING)


class TrackingHook(MlflowHook):
    """One MLflow run per `kedro run`: parameters, metrics, artifacts, data fingerprint, code version."""

    def __init__(self) -> None:
        super().__init__()
        self._failed: set[str] = set()  # what could not be written; each is said once
        self._context: KedroContext | None = None
        self._catalog: CatalogProtocol | None = None
        self._candidate: dict[str, Any] = {}  # what the run offers to the registry of models

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        # The store is opened when a run starts: `kedro viz` or `kedro catalog` need none.
        self._context = context

    @hook_impl
    def after_catalog_created(self, catalog: CatalogProtocol) -> None:
        self._catalog = catalog

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        self.run_id, self._failed, self._candidate = None, set(), {}
        try:
            MlflowHook.after_context_created(self, self._context)
            # What it is given becomes tags.
            told = {name: public(value) for name, value in run_params.items()}
            MlflowHook.before_pipeline_run(self, run_params=told, pipeline=pipeline, catalog=catalog)
        except Exception as error:
            if self.run_id is None:
                logger.warning("MLflow does not answer (%s); the run goes on untracked.", _describe(error))
                return
            self._warn("tags of the run", error)
        if self.run_id is not None:  # None: mlflow.yml switches tracking off for this pipeline
            self._end_as_killed_when_interrupted()
            with self._tracked("code version"):
                mlflow.set_tags(read_code_version(self._context.project_path))

    @hook_impl
    def before_node_run(self, node: Node, catalog: CatalogProtocol, inputs: dict[str, Any], is_async: bool) -> None:
        blocks = {name.removeprefix("params:"): value for name, value in inputs.items() if name.startswith("params:")}
        params = public(flatten(blocks))
        if params and self.run_id is not None:
            with self._tracked("parameters"):
                # MLflow refuses longer values, and then all parameters of the call.
                mlflow.log_params({key: str(value)[:MAX_PARAM_VAL_LENGTH] for key, value in params.items()})

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str, data: Any, node: Node) -> None:
        is_source = dataset_name.startswith("raw_") and isinstance(data, pl.DataFrame) and data.width
        if is_source and self.run_id is not None:
            with self._tracked("fingerprint of the source data"):
                mlflow.log_input(mlflow.data.from_polars(_with_shown_names(data), name=dataset_name), context="source")

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any, node: Node) -> None:
        if self.run_id is None:
            return
        if dataset_name == "model_candidate":
            self._candidate = data
        if dataset_name == "metrics":
            with self._tracked("metrics"):
                mlflow.log_metrics({metric_name(record): record["value"] for record in data})
        with self._tracked("artifacts"):
            dataset = self._catalog.get(dataset_name)
            if ((getattr(dataset, "metadata", None) or {}).get("tracking")) == "artifact":
                mlflow.log_artifact(str(dataset._filepath))

    @hook_impl
    def after_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        if self.run_id is not None:
            # Only now is it certain that all parts of the scorer are saved.
            if self._candidate:
                with self._tracked("model"):
                    self._register_model()
            with self._tracked("end of the run"):
                MlflowHook.after_pipeline_run(self, run_params=run_params, pipeline=pipeline, catalog=catalog)

    @hook_impl
    def on_pipeline_error(
        self, error: Exception, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol
    ) -> None:
        if self.run_id is not None:
            with self._tracked("failure of the run"):
                MlflowHook.on_pipeline_error(
                    self, error=error, run_params=run_params, pipeline=pipeline, catalog=catalog
                )

    def _register_model(self) -> None:
        # Slow to import, since it brings the scorer: a command that runs nothing needs none of it.
        from panther_pipeline.mlflow_model.registry import register_scorer
        from panther_pipeline.online.artifacts import CATALOG_ENTRIES, ScorerArtifacts

        paths = {part: self._catalog.get(name)._filepath for part, name in CATALOG_ENTRIES.items()}
        register_scorer(self._candidate, ScorerArtifacts(**paths), self.run_id)

    @contextmanager
    def _tracked(self, what: str) -> Iterator[None]:
        """Turn a failure of the tracking side into one warning that names what is missing from the record."""
        try:
            yield
        except Exception as error:
            self._warn(what, error)

    def _warn(self, what: str, error: Exception) -> None:
        if what not in self._failed:
            self._failed.add(what)
            logger.warning("MLflow did not take the %s (%s); the run goes on.", what, _describe(error))

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


def _with_shown_names(source: pl.DataFrame) -> pl.DataFrame:
    """Column names are written down; a card number in one is not."""
    masked = {name: mask_card_numbers(name) for name in source.columns}
    return source.rename({name: f"{shown} {i}" for i, (name, shown) in enumerate(masked.items()) if shown != name})


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {mask_card_numbers(str(error))}"


def _end_open_run(run_id: str | None) -> None:
    run = mlflow.active_run()
    if run is not None and run.info.run_id == run_id:
        mlflow.end_run("KILLED")


def _exit_on_signal(signum: int, frame: Any) -> None:
    raise SystemExit(128 + signum)
