"""What serving needs of a backbone: its description and token vectors at once, the model itself when it must compute.

A decision on a user whose forecast is cached reads no layer of the model. Only a refresh does, and it needs torch,
which takes seconds to import: a service is ready before that.

Shape letters: V vocabulary, D width.
"""

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from panther_pipeline.model.config import ModelConfig
from panther_pipeline.model.weights import BackboneWeights

if TYPE_CHECKING:
    from panther_pipeline.model.backbone import Backbone


class ServedBackbone:
    """A backbone that was read, and is built when it is first asked to compute. Any thread may ask."""

    def __init__(self, weights: BackboneWeights, folder: Path) -> None:
        """Args: folder: where the weights were read; named in errors, not looked at again."""
        self._weights, self._folder = weights, folder
        self._model: Backbone | None = None
        self._building = threading.Lock()

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `Backbone.save` wrote.

        Raises:
            ArtifactError: missing or damaged, or weights that are not finite.
        """
        return cls(BackboneWeights.read(folder), folder)

    @classmethod
    def of(cls, model: "Backbone") -> Self:
        """One that is there already."""
        served = cls(model.as_weights(), Path())
        served._model = model
        return served

    @property
    def config(self) -> ModelConfig:
        """Of the model."""
        return self._weights.config

    @property
    def digest(self) -> str:
        """That of the model."""
        return self._weights.digest

    @property
    def tokenizer_digest(self) -> str:
        """Of the tokenizer whose tokens it reads."""
        return self._weights.tokenizer_digest

    @property
    def is_factored(self) -> bool:
        """Whether it reads and predicts attributes alone: it has no token vectors then."""
        return self._weights.tokenizer_kind == "factored"

    @property
    def token_vectors_VD(self) -> np.ndarray:
        """The learned vector of every token, float32."""
        return self._weights.arrays["embedding.token.weight"]

    @property
    def token_bias_V(self) -> np.ndarray:
        """Of the score "dot", float32."""
        return self._weights.arrays["token_bias_V"]

    @property
    def model(self) -> "Backbone":
        """The model, in evaluation mode; the first call imports torch and builds it.

        Raises:
            ArtifactError: names or shapes of the weights are not what their description says.
        """
        with self._building:
            if self._model is None:
                from panther_pipeline.model.backbone import Backbone

                self._model = Backbone.restore(self._weights, self._folder)
            return self._model
