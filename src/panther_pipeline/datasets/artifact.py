"""Artifacts of the library: objects that save and load themselves in inert formats."""

import json
import logging
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, Self

from kedro.io import AbstractDataset, DatasetError

from panther_pipeline.not_asked import NotAsked
from panther_pipeline.publish import is_published, publish_json

logger = logging.getLogger(__name__)
_NOTE = "not_asked.json"  # in the folder of an artifact that no run made: which option would


class Artifact(Protocol):
    """What an artifact's class offers; both methods go through `panther_pipeline.publish`."""

    def save(self, path: Path) -> None: ...

    @classmethod
    def load(cls, path: Path) -> Self: ...


# Named here and not in the catalog: a configuration file must not be able to import code.
_CLASSES = {
    "backbone": "panther_pipeline.model.backbone:Backbone",
    "fraud_head": "panther_pipeline.scoring.head:FraudHead",
    "next_value_heads": "panther_pipeline.tasks.next_value.head:NextValueHeads",
    "online_store": "panther_pipeline.online.build:OnlineStore",
    "token_sequences": "panther_pipeline.tokenizer.sequences:TokenSequences",
    "tokenizer": "panther_pipeline.tokenizer.tokenizer:Tokenizer",
}


class ArtifactDataset(AbstractDataset[Artifact | NotAsked, Artifact]):
    """One artifact at one path; its class is imported when it is first loaded.

    Saving `NotAsked` leaves the artifact of an earlier run as it is. Where there is none, a note says which option asks
    for it: it then exists, so that `kedro run --only-missing-outputs` does not look for it for ever, and loading it
    names the option.

    Args:
        filepath: a file (tokenizer) or a folder with a manifest (all others).
        artifact: one of the names listed in the error below when it is wrong.
        metadata: for Kedro-Viz and run tracking.
    """

    def __init__(self, *, filepath: str, artifact: str, metadata: dict[str, Any] | None = None):
        if artifact not in _CLASSES:
            raise DatasetError(f"artifact: '{artifact}' is unknown; allowed: {', '.join(sorted(_CLASSES))}.")
        self._filepath = Path(filepath)
        self._artifact = artifact
        self.metadata = metadata

    def load(self) -> Artifact:
        if not self._is_there() and (option := self._read_note()):
            raise DatasetError(
                f"{self._filepath} holds no {self._artifact}: no run was asked for one. Run the finetune pipeline with "
                f"--params={option}."
            )
        module, _, name = _CLASSES[self._artifact].partition(":")
        return getattr(import_module(module), name).load(self._filepath)

    def save(self, data: Artifact | NotAsked) -> None:
        if not isinstance(data, NotAsked):
            data.save(self._filepath)
            if self._filepath.is_dir():
                (self._filepath / _NOTE).unlink(missing_ok=True)
        elif self._is_there():
            logger.info("%s is left as an earlier run made it: %s was not asked for.", self._filepath, data.option)
        else:
            publish_json(self._filepath / _NOTE, {"option": data.option})

    def _exists(self) -> bool:
        return self._is_there() or self._read_note() is not None

    def _is_there(self) -> bool:
        return self._filepath.is_file() or is_published(self._filepath)

    def _read_note(self) -> str | None:
        """The option that asks for this artifact, where a run without it left a note."""
        try:
            option = json.loads((self._filepath / _NOTE).read_text(encoding="utf-8"))["option"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return option if isinstance(option, str) else None

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath), "artifact": self._artifact}


class SourceArtifactDataset(AbstractDataset[None, Artifact | None]):
    """An artifact that the run of another ledger left, to begin with; None where no ledger is named.

    Args:
        ledger: whose; null = none.
        path: the folder in which every ledger has one of its own.
        name: of the artifact in that one.
        artifact: see `ArtifactDataset`.
        metadata: for Kedro-Viz.
    """

    def __init__(
        self, *, ledger: str | None, path: str, name: str, artifact: str, metadata: dict[str, Any] | None = None
    ):
        self._ledger = ledger
        self._own = ArtifactDataset(filepath=f"{path}/{ledger}/{name}", artifact=artifact)
        self._filepath = Path(f"{path}/{ledger}/{name}") if ledger else None
        self.metadata = metadata

    @property
    def advice(self) -> str:
        """What to do when it does not exist."""
        return (
            f"It is what pretraining of the ledger '{self._ledger}' leaves: run `kedro run --pipelines=ingest,validate,"
            "tokenize,pretrain` for it first (--env= or --params=ledger_name=), or name another source_ledger."
        )

    def load(self) -> Artifact | None:
        return self._own.load() if self._ledger else None

    def save(self, data: None) -> None:
        raise DatasetError(f"{self._filepath} belongs to the ledger '{self._ledger}' and is only read here.")

    def _exists(self) -> bool:
        return self._ledger is None or self._own.exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath), "ledger": self._ledger}


class _FolderDataset(AbstractDataset[None, Any]):
    """A folder that a node reads and writes while it runs, handed to it as the object that knows how."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None):
        self._filepath = Path(filepath)
        self.metadata = metadata

    def save(self, data: None) -> None:
        raise DatasetError(f"{self._filepath} is written while a node runs, never by a node's output.")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class CheckpointDataset(_FolderDataset):
    """The folder a training run keeps its checkpoints in, as a `CheckpointFolder`."""

    def load(self) -> Any:
        from panther_pipeline.training.checkpoint import CheckpointFolder

        return CheckpointFolder(self._filepath)


class RunStoreDataset(_FolderDataset):
    """The folder an ablation keeps its trained models in, as a `RunStore`."""

    def load(self) -> Any:
        from panther_pipeline.ablation.store import RunStore

        return RunStore(self._filepath)
