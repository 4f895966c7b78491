"""From the artifacts of a run to a model that MLflow keeps: copies, signature, example, requirements; no pickle."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
from mlflow.environment_variables import MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR
from mlflow.models import ModelSignature
from mlflow.models.model import ModelInfo
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import Array, Object, Property

from panther_pipeline.mlflow_model.frames import columns_of, example_frame
from panther_pipeline.mlflow_model.model import open_scorer, score_frame
from panther_pipeline.online.artifacts import ScorerArtifacts
from panther_pipeline.online.schema import EventSchema
from panther_pipeline.publish import MANIFEST, check_files, read_manifest

MODEL_NAME = "scorer"
_CODE = Path(__file__).with_name("model_code.py")
# What a model needs at load; MLflow would find out by running it in a process of its own.
_PACKAGES = (
    "panther_pipeline", "mlflow", "lmdb", "numpy", "pandas", "polars", "pyarrow", "pydantic", "safetensors", "torch",
)  # fmt: skip


def log_scorer(artifacts: ScorerArtifacts) -> ModelInfo:
    """Log the scorer of a run to the active MLflow run, once its copy has scored the example.

    Args:
        artifacts: of one run; only their current generations are copied, and no live records.

    Raises:
        ArtifactError: one is missing, damaged, or of another run.
        ConfigurationError: the head is untrained, or an attribute is named as another column.
        MlflowException: MLflow does not take it.
    """
    with _prepared(artifacts) as arguments, _without_progress_bars():
        return mlflow.pyfunc.log_model(name=MODEL_NAME, **arguments)


def save_scorer(artifacts: ScorerArtifacts, folder: Path) -> None:
    """The same into a folder of its own, which must not exist; no MLflow run is needed.

    Raises: as `log_scorer`.
    """
    with _prepared(artifacts) as arguments, _without_progress_bars():
        mlflow.pyfunc.save_model(path=str(folder), **arguments)


def requirements() -> list[str]:
    """What must be installed where the model is loaded, at the versions of here."""
    return [f"{name}=={version(name).partition('+')[0]}" for name in _PACKAGES]


def make_signature(schema: EventSchema) -> ModelSignature:
    """Columns of input and output: texts, and doubles for numeric attributes.

    Every column must be there, so that a misspelt one is not taken for a missing value; most cells may be null.
    """
    numbers = {attribute.name for attribute in schema.attributes if attribute.kind == "number"}
    inputs = [
        ColSpec(DataType.double if name in numbers else DataType.string, name=name) for name in columns_of(schema)
    ]
    kinds = {"event_id": DataType.string}
    kinds |= dict.fromkeys(("probability", "surprise", "surprise_z", "cosine"), DataType.double)
    kinds |= {"history_length": DataType.long, "is_new_user": DataType.boolean, "token": DataType.string}
    explanations = {"expected": {"token": DataType.string, "prob": DataType.double}}
    explanations["reasons"] = {"what": DataType.string, "effect": DataType.double}
    outputs = [ColSpec(kind, name=name) for name, kind in kinds.items()]
    outputs += [
        ColSpec(Array(Object([Property(*inner) for inner in parts.items()])), name=name, required=False)
        for name, parts in explanations.items()
    ]
    params = ParamSchema([ParamSpec("explain", DataType.boolean, default=False)])
    return ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs), params=params)


@contextmanager
def _prepared(artifacts: ScorerArtifacts) -> Iterator[dict[str, Any]]:
    """What MLflow is given to save, from copies that have been opened and have scored the example."""
    with tempfile.TemporaryDirectory(prefix="panther-model-") as folder:
        copies = copy_artifacts(artifacts, Path(folder))
        scorer = open_scorer(copies)
        try:
            example = example_frame(scorer.schema, scorer.facts.as_of_us)
            score_frame(scorer, example)
            signature = make_signature(scorer.schema)
        finally:
            scorer.close()
        yield {
            "python_model": str(_CODE),
            "artifacts": {name: str(path) for name, path in vars(copies).items()},
            "signature": signature,
            "input_example": example,
            "pip_requirements": requirements(),
        }


@contextmanager
def _without_progress_bars() -> Iterator[None]:
    """MLflow draws one per artifact although nothing is downloaded; whoever set the variable is obeyed."""
    if MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.is_set():
        yield
        return
    MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.set(False)
    try:
        yield
    finally:
        MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.unset()


def copy_artifacts(artifacts: ScorerArtifacts, folder: Path) -> ScorerArtifacts:
    """Copies of the current generations: no earlier ones, no live records, no locks.

    Files of a generation never change, so they are linked where the file system can.

    Raises:
        ArtifactError: one is missing or damaged.
    """
    for name in ("backbone", "head", "store"):
        _copy_published(getattr(artifacts, name), folder / name)
    tokenizer = folder / "tokenizer.json"
    shutil.copyfile(artifacts.tokenizer, tokenizer)
    return ScorerArtifacts(
        backbone=folder / "backbone", tokenizer=tokenizer, head=folder / "head", store=folder / "store"
    )


def _copy_published(artifact: Path, target: Path) -> None:
    manifest = read_manifest(artifact)
    generation = check_files(artifact, manifest)
    (target / generation.name).mkdir(parents=True)
    for name in manifest["files"]:
        _link_or_copy(generation / name, target / generation.name / name)
    text = json.dumps({**manifest, "previous": None}, indent=2, ensure_ascii=False)
    (target / MANIFEST).write_text(text + "\n", encoding="utf-8")


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)
