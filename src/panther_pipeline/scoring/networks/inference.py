"""The networks as numpy reads them: trained with torch, scored without it.

A decision on one transaction is some forty small operations, each of which torch takes 5 to 10 microseconds to hand out
and numpy one. Batch and online scores are both computed here, so that there is one scoring function; that it is the
network that was trained is a test (tests/scoring/networks/test_inference.py).

Shape letters: R rows, F numbers, K frequencies, W width of one embedded number, D embedding width, X = F·W + D, H
hidden width.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from panther_pipeline.scoring.networks.config import NetworkConfig

_TWO_PI = np.float32(2 * np.pi)
Weights = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class NumpyNetwork:
    """A trained network: its weights by the names that torch gave them."""

    config: NetworkConfig
    weights: Weights

    def calibrated(self, numbers_RF: np.ndarray, embedding_RD: np.ndarray) -> np.ndarray:
        """Probabilities, float64 (R,).

        Args:
            numbers_RF: float32, features and surprises.
            embedding_RD: float32.
        """
        w = self.weights
        z_RF = np.arcsinh((numbers_RF - w["number_mean_F"]) / w["number_std_F"])
        e_RD = np.arcsinh((embedding_RD - w["embedding_mean_D"]) / w["embedding_std_D"])
        logit_R = (_KINDS[self.config.kind](w, z_RF, e_RD) + w["log_odds"]).astype(np.float64)
        if len(w["isotonic_logits_K"]):
            logit_R = np.interp(logit_R, w["isotonic_logits_K"], w["isotonic_values_K"])
        return _sigmoid(float(w["platt_slope"]) * logit_R + float(w["platt_intercept"]))


def _deep_cross(w: Weights, z_RF: np.ndarray, e_RD: np.ndarray) -> np.ndarray:
    """`deep_cross.DeepCrossNetwork.score`."""
    x0_RX = np.concatenate([_embed_numbers(w, z_RF).reshape(len(z_RF), -1), e_RD], axis=1)
    x_RX = x0_RX
    for layer in range(_count(w, "cross")):
        x_RX = x0_RX * _cross_map(w, f"cross.{layer}.map", x_RX) + x_RX
    return _linear(w, "out", np.concatenate([x_RX, _hidden(w, x0_RX)], axis=1))[:, 0]


def _deep_fm(w: Weights, z_RF: np.ndarray, e_RD: np.ndarray) -> np.ndarray:
    """`deep_fm.DeepFactorizationMachine.score`."""
    fields_RFW = np.concatenate([_embed_numbers(w, z_RF), _linear(w, "sequence", e_RD)[:, None]], axis=1)
    line_R = _linear(w, "line", np.concatenate([z_RF, e_RD], axis=1))[:, 0]
    pairs_R = (np.square(fields_RFW.sum(axis=1)) - np.square(fields_RFW).sum(axis=1)).sum(axis=1) / np.float32(2)
    pairs_R = pairs_R / np.float32(fields_RFW.shape[1])
    return line_R + pairs_R + _linear(w, "out", _hidden(w, fields_RFW.reshape(len(z_RF), -1)))[:, 0]


def _logistic(w: Weights, z_RF: np.ndarray, e_RD: np.ndarray) -> np.ndarray:
    """`logistic.LogisticNetwork.score`."""
    return _linear(w, "out", np.concatenate([z_RF, e_RD], axis=1))[:, 0]


_KINDS: dict[str, Callable[[Weights, np.ndarray, np.ndarray], np.ndarray]] = {
    "dcn": _deep_cross,
    "deep_fm": _deep_fm,
    "logistic": _logistic,
}


def _embed_numbers(w: Weights, z_RF: np.ndarray) -> np.ndarray:
    """`numbers.PeriodicEmbedding.forward`: (R, F, W)."""
    angle_FRK = (_TWO_PI * z_RF.T)[:, :, None] * w["numbers.frequency_FK"][:, None]
    wave_FRK = np.concatenate([np.sin(angle_FRK), np.cos(angle_FRK)], axis=2)
    embedded_FRW = wave_FRK @ w["numbers.weight_FKW"] + w["numbers.bias_FW"][:, None]
    return np.maximum(embedded_FRW, 0).transpose(1, 0, 2)


def _cross_map(w: Weights, name: str, x_RX: np.ndarray) -> np.ndarray:
    if f"{name}.weight" in w:  # full rank
        return _linear(w, name, x_RX)
    return _linear(w, f"{name}.1", x_RX @ w[f"{name}.0.weight"].T)


def _hidden(w: Weights, x_RX: np.ndarray) -> np.ndarray:
    """`base.hidden_layers`: a linear map, ReLU and dropout each, three entries of the sequence."""
    for layer in range(_count(w, "deep")):
        x_RX = np.maximum(_linear(w, f"deep.{3 * layer}", x_RX), 0)
    return x_RX


def _linear(w: Weights, name: str, x_RX: np.ndarray) -> np.ndarray:
    return x_RX @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def _count(w: Weights, name: str) -> int:
    """How many layers a list of them has."""
    return len({key.split(".")[1] for key in w if key.startswith(f"{name}.")})


def _sigmoid(x_R: np.ndarray) -> np.ndarray:
    """1 / (1 + e^-x) without overflow."""
    small_R = np.exp(-np.abs(x_R))
    return np.where(x_R >= 0, 1.0, small_R) / (1.0 + small_R)
