"""Before anything runs: is every input there, and if not, what makes it?"""

from importlib import import_module
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline

from panther_pipeline.errors import PantherError

PIPELINE_NAMES = (
    "ingest",
    "validate",
    "tokenize",
    "pretrain",
    "embed",
    "finetune",
    "evaluate",
    "ablation",
    "prequential",
)


class MissingInputError(PantherError):
    """A pipeline was asked for before the data it reads exists."""


class GuidanceHook:
    """Stops a run whose inputs do not exist, and names the pipeline that makes them."""

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        missing = sorted(
            name
            for name in pipeline.inputs()
            if not name.startswith("params:") and name != "parameters" and not catalog.exists(name)
        )
        if missing:
            env = run_params.get("env")
            raise MissingInputError("\n".join(_explain(name, catalog, env) for name in missing))


def _explain(name: str, catalog: CatalogProtocol, env: str | None) -> str:
    if name not in catalog:
        return f"Dataset '{name}' is in no catalog file of this environment. Add it to conf/*/catalog."
    place = getattr(catalog.get(name), "_filepath", None)
    where = f" ({_readable(place)})" if place else ""
    if advice := getattr(catalog.get(name), "advice", None):
        return f"Dataset '{name}'{where} does not exist. {advice}"
    producer = _producer_of(name)
    if producer:
        command = f"kedro run --pipelines={producer}" + (f" --env={env}" if env else "")
        return (
            f"Dataset '{name}'{where} does not exist yet. It is made by pipeline '{producer}': run `{command}` first."
        )
    return (
        f"Source '{name}'{where} does not exist. Put the file there, or say where your data are: "
        f"`kedro run{f' --env={env}' if env else ''} --params=data_root=FOLDER`."
    )


def _readable(place: Any) -> str:
    path = Path(str(place))
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _producer_of(dataset: str) -> str | None:
    # Kedro imports only the pipelines asked for, so the producer has to be looked up here.
    for name in PIPELINE_NAMES:
        module = import_module(f"panther_pipeline.pipelines.{name}")
        if dataset in module.create_pipeline().all_outputs():
            return name
    return None
