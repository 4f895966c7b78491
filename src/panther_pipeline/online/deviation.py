"""`cache.deviation.deviate` for one event and a cached forecast; in numpy, where a token table allows it.

Shape letters: V vocabulary, D width, F token attributes.
"""

from functools import cached_property

import numpy as np

from panther_pipeline.online.history import CachedForecast
from panther_pipeline.online.served_backbone import ServedBackbone

_SMALLEST_NORM = 1e-8  # as torch.cosine_similarity


class EventDeviation:
    """Holds one event against what was expected of its user."""

    def __init__(self, backbone: ServedBackbone) -> None:
        self._backbone = backbone

    def measure(self, cached: CachedForecast, token_id: int, attribute_ids_F: np.ndarray) -> tuple[float, float]:
        """Surprise in nats and cosine, as `deviate` gives them."""
        if self._backbone.is_factored:
            from panther_pipeline.online.recompute import deviate_one

            surprise, cosine = deviate_one(self._backbone.model, cached, token_id, attribute_ids_F)
            return surprise, cosine
        config, unit_D = self._backbone.config, self._unit_VD[token_id]
        if config.score == "cosine":
            score = float(unit_D @ _unit(cached.embedding_D)) / config.score_temperature
        else:
            vector_D, bias_V = self._backbone.token_vectors_VD[token_id], self._backbone.token_bias_V
            score = float(vector_D @ cached.embedding_D) + float(bias_V[token_id])
        return cached.log_normaliser - score, float(unit_D @ _unit(cached.expected_D))

    @cached_property
    def _unit_VD(self) -> np.ndarray:
        vectors_VD = self._backbone.token_vectors_VD
        return vectors_VD / np.maximum(np.linalg.norm(vectors_VD, axis=1, keepdims=True), _SMALLEST_NORM)


def _unit(vector_D: np.ndarray) -> np.ndarray:
    return vector_D / max(float(np.sqrt(vector_D @ vector_D)), _SMALLEST_NORM)
