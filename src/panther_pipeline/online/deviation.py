"""`cache.deviation.deviate` for one event and a cached forecast; in numpy, where a token table allows it.

Shape letters: V vocabulary, D width, F token attributes.
"""

from functools import cached_property

import numpy as np
import torch

from panther_pipeline.cache.deviation import Forecasts, deviate
from panther_pipeline.cache.states import token_vectors
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.online.history import CachedForecast

_SMALLEST_NORM = 1e-8  # as torch.cosine_similarity


class EventDeviation:
    """Holds one event against what was expected of its user."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone

    def measure(self, cached: CachedForecast, token_id: int, attribute_ids_F: np.ndarray) -> tuple[float, float]:
        """Surprise in nats and cosine, as `deviate` gives them."""
        if self._backbone.tuple_head is not None:
            return self._measure_tuple(cached, attribute_ids_F)
        unit_D = self._unit_VD[token_id]
        if self._backbone.config.score == "cosine":
            score = float(unit_D @ _unit(cached.embedding_D)) / self._backbone.config.score_temperature
        else:
            score = float(self._vectors_VD[token_id] @ cached.embedding_D) + float(self._bias_V[token_id])
        return cached.log_normaliser - score, float(unit_D @ _unit(cached.expected_D))

    @cached_property
    def _vectors_VD(self) -> np.ndarray:
        return token_vectors(self._backbone).cpu().numpy()

    @cached_property
    def _unit_VD(self) -> np.ndarray:
        return self._vectors_VD / np.maximum(np.linalg.norm(self._vectors_VD, axis=1, keepdims=True), _SMALLEST_NORM)

    @cached_property
    def _bias_V(self) -> np.ndarray:
        return self._backbone.token_bias_V.detach().cpu().numpy()

    def _measure_tuple(self, cached: CachedForecast, attribute_ids_F: np.ndarray) -> tuple[float, float]:
        one = Forecasts(
            h_CD=torch.from_numpy(np.array(cached.embedding_D))[None],
            expected_CD=torch.from_numpy(np.array(cached.expected_D))[None],
            log_normaliser_C=torch.tensor([cached.log_normaliser]),
        )
        ids_CF = torch.from_numpy(np.asarray(attribute_ids_F, np.int64))[None]
        with torch.inference_mode():
            surprise_C, cosine_C = deviate(self._backbone, one, torch.zeros(1, dtype=torch.int64), ids_CF)
        return float(surprise_C), float(cosine_C)


def _unit(vector_D: np.ndarray) -> np.ndarray:
    return vector_D / max(float(np.sqrt(vector_D @ vector_D)), _SMALLEST_NORM)
