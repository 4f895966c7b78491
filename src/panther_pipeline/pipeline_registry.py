"""The pipelines of the project; `kedro run` runs those of one model, in the order of the data."""

from kedro.framework.project import find_pipelines
from kedro.pipeline import Pipeline

ONLY_WHEN_ASKED_FOR = ("ablation", "prequential")  # train dozens of models; fit heads at many points in time


def register_pipelines() -> dict[str, Pipeline]:
    """One pipeline per folder of `pipelines/`, and the sum of those that make one model as the default."""
    pipelines = find_pipelines(raise_errors=True)
    by_default = [pipeline for name, pipeline in pipelines.items() if name not in ONLY_WHEN_ASKED_FOR]
    pipelines["__default__"] = sum(by_default, Pipeline([]))
    return pipelines
