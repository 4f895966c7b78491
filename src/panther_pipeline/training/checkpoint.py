"""Snapshots of a training run that survive `kill -9` and flipped bits.

A snapshot is one folder with two inert files: `state.safetensors` (weights, best weights, optimizer, random
state) and `checkpoint.json` (step, identity, progress, and the SHA-256 of both). It appears whole or not at
all (`publish_folder`), and the one before it is kept: when the newest is damaged, the previous one is used.

    <folder>/<generation>/          the newest snapshot and the one before it
    <folder>/trunk/<generation>/    where the rate of schedule "wsd" began to fall: a longer run continues there
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from panther_pipeline.digest import file_digest
from panther_pipeline.errors import ArtifactError
from panther_pipeline.publish import is_generation, publish_folder

logger = logging.getLogger(__name__)
_STATE, _DESCRIPTION = "state.safetensors", "checkpoint.json"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """All that a run needs to continue as if nothing had happened."""

    step: int  # optimizer steps done
    identity: str  # digest of what this state depends on, see `RunIdentity`
    tensors: dict[str, Tensor]
    progress: dict[str, Any]  # JSON values


class CheckpointFolder:
    """Where the snapshots of one training run live."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    @property
    def trunk(self) -> "CheckpointFolder":
        """The snapshots that later saves do not replace."""
        return CheckpointFolder(self.path / "trunk")

    def save(self, checkpoint: Checkpoint) -> None:
        """Publish a snapshot; the one before it stays as a way back.

        Raises:
            OSError: disk full, read-only, no permission; the older snapshots stay.
        """

        def write(folder: Path) -> None:
            save_file(checkpoint.tensors, folder / _STATE)
            description = {
                "step": checkpoint.step,
                "identity": checkpoint.identity,
                "progress": checkpoint.progress,
                "state_sha256": file_digest(folder / _STATE),
            }
            text = json.dumps(description | {"sha256": _digest(description)}, indent=1, allow_nan=False)
            (folder / _DESCRIPTION).write_text(text, encoding="utf-8")

        publish_folder(self.path, write, facts={"step": checkpoint.step, "identity": checkpoint.identity})

    def latest(self, identity_at: Callable[[int], str] | None = None) -> Checkpoint | None:
        """The newest snapshot that is whole, of the trunk or not, or None.

        Every snapshot carries its own digests, so the previous one can be verified as well as the current
        one. Damaged ones are named in a warning; whole ones of another identity in a log line; both are
        passed over.

        Args:
            identity_at: the identity that a snapshot of a step must have; None = any.
        """
        found = []
        for folder in self._snapshots():
            try:
                found.append((_read_description(folder), folder))
            except ArtifactError as error:
                logger.warning("%s Looking for the snapshot before it.", error)
        for description, folder in sorted(found, key=lambda pair: pair[0]["step"], reverse=True):
            if identity_at is not None and description["identity"] != identity_at(description["step"]):
                logger.info(
                    "checkpoint %s is of another configuration, data, code, device or thread count; not used",
                    folder,
                )
                continue
            return Checkpoint(
                step=description["step"],
                identity=description["identity"],
                tensors=load_file(folder / _STATE),
                progress=description["progress"],
            )
        return None

    def _snapshots(self) -> Iterator[Path]:
        for path in (self.path, self.trunk.path):
            for folder in sorted(path.iterdir()) if path.is_dir() else []:
                if is_generation(folder) and not folder.name.startswith("."):
                    yield folder


def _read_description(folder: Path) -> dict[str, Any]:
    """The description of a snapshot, once its own digest and that of the tensors agree.

    Raises:
        ArtifactError: naming the damaged or missing file.
    """
    try:
        description = json.loads((folder / _DESCRIPTION).read_text(encoding="utf-8"))
        recorded = description.pop("sha256")
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise ArtifactError(f"checkpoint file {folder / _DESCRIPTION} is damaged ({type(error).__name__}).") from None
    if recorded != _digest(description):
        raise ArtifactError(f"checkpoint file {folder / _DESCRIPTION} has changed since it was written.")
    state_digest = description["state_sha256"]
    if not (folder / _STATE).is_file() or file_digest(folder / _STATE, like=state_digest) != state_digest:
        raise ArtifactError(f"checkpoint file {folder / _STATE} is missing or has changed since it was written.")
    return description


def _digest(description: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()
