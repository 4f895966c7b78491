"""What is finished stays finished: trained models and their ranks, one folder per variant and seed.

A grid that was killed, or is asked for with more seeds, trains what is missing alone. Every piece carries the
identity of all that it depends on; a piece of another identity is not used, and replaced by the new one.
"""

import hashlib
import json
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from panther_pipeline.errors import ArtifactError
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.publish import is_published, open_published, publish_folder
from panther_pipeline.training.checkpoint import CheckpointFolder

logger = logging.getLogger(__name__)
_CURVES, _RANKS = "curves.parquet", "ranks.parquet"


def identity_of(facts: dict[str, Any]) -> str:
    """SHA-256 of JSON values."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Training:
    """What is kept of a finished training beside the model."""

    record: dict[str, Any]  # JSON values: steps, speed, validation, ...
    curves: pl.DataFrame  # step, metric, value


class RunStore:
    """All runs of the grids of one ledger."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def run(self, variant: str, seed: int) -> "RunFolder":
        return RunFolder(self.path / variant / f"seed_{seed}")


class RunFolder:
    """One run: `backbone/`, `training/` (curves and record), `ranks_<split>/`; `checkpoints/` while it trains."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def checkpoints(self) -> CheckpointFolder:
        return CheckpointFolder(self.path / "checkpoints")

    def load_training(self, identity: str) -> Training | None:
        """Curves and record of a finished training of this identity whose model is whole, or None."""
        found = _open(self.path / "training", identity)
        if found is None or not _is_whole(self.path / "backbone"):
            return None
        folder, facts = found
        return Training(record=facts["record"], curves=pl.read_parquet(folder / _CURVES))

    def load_backbone(self) -> Backbone:
        """The model of the finished training.

        Raises:
            ArtifactError: missing or damaged.
        """
        return Backbone.load(self.path / "backbone")

    def save_training(self, identity: str, backbone: Backbone, training: Training) -> None:
        """Keep model, curves and record; the checkpoints have served and are removed, but for the trunk of longer runs.

        Raises:
            OSError: disk full, read-only, no permission; the checkpoints stay.
        """
        # Removed first and published last: where it is, the model beside it is its own.
        shutil.rmtree(self.path / "training", ignore_errors=True)
        backbone.save(self.path / "backbone")
        publish_folder(
            self.path / "training",
            lambda folder: training.curves.write_parquet(folder / _CURVES),
            facts={"identity": identity, "record": training.record},
        )
        _prune(self.checkpoints)

    def load_ranks(self, split: str, identity: str) -> pl.DataFrame | None:
        """row, user_ix, rank and log_prob of every target of a split, or None where this identity has none."""
        found = _open(self.path / f"ranks_{split}", identity)
        return None if found is None else pl.read_parquet(found[0] / _RANKS)

    def save_ranks(self, split: str, identity: str, ranks: pl.DataFrame) -> None:
        publish_folder(
            self.path / f"ranks_{split}",
            lambda folder: ranks.write_parquet(folder / _RANKS),
            facts={"identity": identity},
        )


def _prune(checkpoints: CheckpointFolder) -> None:
    if not checkpoints.trunk.path.is_dir():
        shutil.rmtree(checkpoints.path, ignore_errors=True)
        return
    for entry in checkpoints.path.iterdir():
        if entry.is_dir() and entry != checkpoints.trunk.path:
            shutil.rmtree(entry, ignore_errors=True)


def _is_whole(path: Path) -> bool:
    try:
        open_published(path)
    except ArtifactError as error:
        logger.warning("%s It is made again.", error)
        return False
    return True


def _open(path: Path, identity: str) -> tuple[Path, dict[str, Any]] | None:
    if not is_published(path) or not _is_whole(path):
        return None
    folder, facts = open_published(path)
    if facts.get("identity") != identity:
        logger.info("%s is of another configuration, data, code or device; it is made again", path)
        return None
    return folder, facts
