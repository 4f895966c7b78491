"""Where the parts of a scorer lie; by itself, since it is known before anything large is imported."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

# What the project's catalog calls each part.
CATALOG_ENTRIES = {"backbone": "backbone", "tokenizer": "tokenizer", "head": "fraud_head", "store": "online_store"}


@dataclass(frozen=True, kw_only=True)
class ScorerArtifacts:
    """Where the parts of a scorer lie."""

    backbone: Path
    tokenizer: Path
    head: Path
    store: Path

    @classmethod
    def of_ledger(cls, data: Path, ledger: str) -> Self:
        """Those that a run of the project leaves in its data folder."""
        return cls(
            backbone=data / "06_models" / ledger / "backbone",
            tokenizer=data / "04_feature" / ledger / "tokenizer.json",
            head=data / "07_model_output" / ledger / "fraud_head",
            store=data / "07_model_output" / ledger / "online_store",
        )
