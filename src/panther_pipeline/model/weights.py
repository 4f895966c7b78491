"""A saved backbone as it lies on disk: what it is made of and its weights, read without torch.

Who serves scores needs the digest and the token vectors of a backbone, and the backbone itself only when a user's state
is computed anew. Reading it takes milliseconds, torch takes seconds.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from safetensors import SafetensorError, safe_open

from panther_pipeline.errors import ArtifactError
from panther_pipeline.model.config import ModelConfig
from panther_pipeline.publish import open_published
from panther_pipeline.tokenizer.config import TokenizerKind

WEIGHTS_FILE, DESCRIPTION_FILE = "backbone.safetensors", "config.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class BackboneWeights:
    """Description and weights."""

    config: ModelConfig
    description: dict[str, Any]  # the other arguments of `Backbone`
    arrays: dict[str, np.ndarray]  # float32, finite, by the names that torch gave them
    learnt_until: str | None  # see `Backbone.learnt_until`

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read what `Backbone.save` wrote.

        Raises:
            ArtifactError: missing or damaged; a description that is not one; weights that are not finite float32.
        """
        generation, facts = open_published(folder)
        try:
            learnt_until = facts.get("learnt_until")
            if not isinstance(learnt_until, str | None):
                raise ValueError(f"learnt_until is {learnt_until!r}, no text")
            description = json.loads((generation / DESCRIPTION_FILE).read_text(encoding="utf-8"))
            config = ModelConfig.model_validate(description.pop("model"))
            arrays = _read_arrays(generation / WEIGHTS_FILE)
        except (ValueError, TypeError, KeyError, AttributeError, SafetensorError) as error:
            raise not_a_backbone(folder, error) from None
        return cls(config=config, description=description, arrays=arrays, learnt_until=learnt_until)

    @property
    def whole_description(self) -> dict[str, Any]:
        """The description as it is saved."""
        return {"model": self.config.model_dump(), **self.description}

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the description and the weights, name by name."""
        digest = hashlib.sha256(json.dumps(self.whole_description, sort_keys=True).encode())
        for name, array in sorted(self.arrays.items()):
            digest.update(name.encode() + array.tobytes())
        return digest.hexdigest()

    @property
    def tokenizer_digest(self) -> str:
        """Of the tokenizer whose tokens it reads."""
        return str(self.description.get("tokenizer_digest", ""))

    @property
    def tokenizer_kind(self) -> TokenizerKind:
        """The first kind is not written down."""
        return self.description.get("tokenizer_kind", "structured")


def not_a_backbone(folder: Path, reason: Exception) -> ArtifactError:
    """What to raise when a folder holds something else."""
    return ArtifactError(f"{folder} does not hold a backbone: {reason}. Run `kedro run --pipelines=pretrain`.")


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    with safe_open(path, framework="np") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    for name, array in arrays.items():
        if array.dtype != np.float32 or not np.isfinite(array).all():
            raise ValueError(f"weight {name} is not finite float32")
    return arrays
