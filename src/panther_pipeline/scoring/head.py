"""The fraud head as it is saved and served: (features, embedding, surprise) → probability.

Training lives in fit.py: what serves imports none of it, nor torch, which takes seconds to import.

Shape letters: R rows, F features, D embedding width, S = 3 surprise values.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from panther_pipeline.errors import ArtifactError, ConfigurationError
from panther_pipeline.publish import open_published, publish_folder
from panther_pipeline.scoring.identity import IDENTITY_KEYS, UNKNOWN, check_identity, unknown_identity
from panther_pipeline.scoring.networks.config import NetworkConfig
from panther_pipeline.scoring.networks.inference import NumpyNetwork
from panther_pipeline.scoring.networks.shapes import CALIBRATION_KNOTS, weight_shapes

NUM_SURPRISES = 3  # surprise, surprise_z, cosine
_WEIGHTS = "weights.safetensors"
_CHUNK_ROWS = 1024  # fits the caches, bounds memory; a row's score depends on its chunk by 1e-5 at most


@dataclass(frozen=True, kw_only=True)
class AverageInputs:
    """What the head takes for ordinary: the means over the rows it was fitted on."""

    features_F: np.ndarray  # float32
    embedding_D: np.ndarray  # float32
    surprises_S: np.ndarray  # float32


class FraudHead:
    """A trained network with its statistics and calibration; untrained for a ledger without labels."""

    def __init__(
        self,
        feature_names: list[str],
        embedding_dim: int,
        config: NetworkConfig,
        weights: Mapping[str, np.ndarray] | None,
        identity: dict[str, str] | None = None,
    ) -> None:
        """A head.

        Args:
            feature_names: the features it reads, in its order.
            embedding_dim: D.
            config: kind and sizes of the network.
            weights: of the trained network, `HeadNetwork.as_arrays`; None = untrained.
            identity: what it belongs to (see `scoring.identity`); None = unknown.

        Raises:
            ConfigurationError: an identity with other keys than IDENTITY_KEYS.
        """
        self.feature_names = feature_names
        self.embedding_dim = embedding_dim
        self.config = config
        self.identity = check_identity(unknown_identity() if identity is None else identity)
        self.weights = weights

    @property
    def is_trained(self) -> bool:
        return self.weights is not None

    def average_inputs(self) -> AverageInputs:
        """The means of its inputs over the fitted rows.

        Raises:
            ConfigurationError: the head was never trained.
        """
        weights, split = self._trained_weights(), len(self.feature_names)
        numbers_F = weights["number_mean_F"]
        return AverageInputs(
            features_F=numbers_F[:split], embedding_D=weights["embedding_mean_D"], surprises_S=numbers_F[split:]
        )

    def score(self, features_RF: np.ndarray, embeddings_RD: np.ndarray, surprises_RS: np.ndarray) -> np.ndarray:
        """Calibrated probability of fraud, the same offline and online.

        Args:
            features_RF: float32, columns in the order of `feature_names`.
            embeddings_RD: float32 as-of embeddings; zeros for a user without history.
            surprises_RS: float32 surprise (nats), surprise_z (standard deviations), cosine.

        Returns:
            float64 (R,) in [0, 1].

        Raises:
            ConfigurationError: the head was never trained, or a shape does not fit; names what was expected.
        """
        self._trained_weights()
        expected = (len(self.feature_names), self.embedding_dim, NUM_SURPRISES)
        got = (features_RF.shape[1], embeddings_RD.shape[1], surprises_RS.shape[1])
        if got != expected:
            raise ConfigurationError(
                f"The head reads (features, embedding, surprises) of widths {expected}, got {got}. "
                "Head, features and backbone must come from one run."
            )
        numbers_RF = np.concatenate([features_RF, surprises_RS], axis=1).astype(np.float32, copy=False)
        chunks = range(0, len(numbers_RF), _CHUNK_ROWS)
        embeddings_RD = embeddings_RD.astype(np.float32, copy=False)
        scores = [
            self._inference.calibrated(numbers_RF[i : i + _CHUNK_ROWS], embeddings_RD[i : i + _CHUNK_ROWS])
            for i in chunks
        ]
        return np.concatenate(scores) if scores else np.empty(0)

    def _trained_weights(self) -> Mapping[str, np.ndarray]:
        if self.weights is None:
            raise ConfigurationError(
                "This fraud head is untrained: its ledger has no known frauds before the test. "
                "Declare ledger.schema.label, or do not score."
            )
        return self.weights

    @cached_property
    def _inference(self) -> NumpyNetwork:
        return NumpyNetwork(self.config, self._trained_weights())

    def save(self, path: Path) -> None:
        """Publish weights (safetensors) and description (JSON) as one artifact."""
        facts = {
            "feature_names": self.feature_names,
            "embedding_dim": self.embedding_dim,
            "config": self.config.model_dump(),
            "is_trained": self.is_trained,
            **self.identity,
        }
        publish_folder(path, self._write, facts=facts)

    def _write(self, folder: Path) -> None:
        save_file(dict(self.weights or {}), folder / _WEIGHTS)

    @classmethod
    def load(cls, path: Path) -> "FraudHead":
        """Read what `save` wrote, digests checked. Of a head saved before heads had an identity it is unknown.

        Raises:
            ArtifactError: missing, damaged, of another shape, or with weights that are not finite.
        """
        folder, facts = open_published(path)
        try:
            config = NetworkConfig.model_validate(facts["config"])
            names, dim = list(facts["feature_names"]), int(facts["embedding_dim"])
            weights = _load_weights(folder / _WEIGHTS, len(names), dim, config) if facts["is_trained"] else None
            identity = check_identity({key: facts.get(key, UNKNOWN) for key in IDENTITY_KEYS})
        except (KeyError, TypeError, ValueError, SafetensorError) as error:
            raise ArtifactError(f"{path} is not a fraud head of this version ({error}). Run finetune again.") from None
        return cls(names, dim, config, weights, identity)


def _load_weights(file: Path, num_features: int, embedding_dim: int, config: NetworkConfig) -> dict[str, np.ndarray]:
    weights = load_file(file)
    broken = [name for name, array in weights.items() if not np.isfinite(array).all()]
    if broken:
        raise ValueError(f"weights not finite: {', '.join(broken)}")
    num_knots = {weights[name].shape for name in CALIBRATION_KNOTS}
    if len(num_knots) != 1:
        raise ValueError(f"{' and '.join(CALIBRATION_KNOTS)} differ in length")
    expected = weight_shapes(num_features + NUM_SURPRISES, embedding_dim, config) | dict.fromkeys(
        CALIBRATION_KNOTS, *num_knots
    )
    found = {name: array.shape for name, array in weights.items()}
    if found != expected:
        name, shape = sorted(set(found.items()) ^ set(expected.items()))[0]
        raise ValueError(f"weight {name} {shape} is not what the description says, or is missing")
    return weights
