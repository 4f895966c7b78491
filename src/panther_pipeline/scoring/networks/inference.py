"""The networks as numpy reads them: trained with torch, scored without it.

A decision on one transaction is some forty small operations, each of which torch takes 5 to 10 microseconds to hand out
and numpy one. Batch and online scores are both computed here, so that there is one scoring function; that it is the
network that was trained is a test (tests/scoring/networks/test_inference.py).

Shape letters: R rows, F numbers, K frequencies, W width of one embedded number, D embedding width, N = F + D,
X = F·W + D, L rank, I and O in and out of a layer.
"""

from collections.abc import Callable, Mapping

import numpy as np

from panther_pipeline.scoring.networks.config import NetworkConfig

_TWO_PI = np.float32(2 * np.pi)
Weights = Mapping[str, np.ndarray]
Layer = Callable[[np.ndarray], np.ndarray]


class NumpyNetwork:
    """A trained network, its weights laid out once as the operations take them."""

    def __init__(self, config: NetworkConfig, weights: Weights) -> None:
        """Args: weights: by the names that torch gave them."""
        self._mean_N = np.concatenate([weights["number_mean_F"], weights["embedding_mean_D"]])
        self._std_N = np.concatenate([weights["number_std_F"], weights["embedding_std_D"]])
        self._num_numbers = len(weights["number_mean_F"])
        self._score = _KINDS[config.kind](weights)
        self._log_odds = weights["log_odds"]
        self._knots_K, self._values_K = weights["isotonic_logits_K"], weights["isotonic_values_K"]
        self._slope, self._intercept = float(weights["platt_slope"]), float(weights["platt_intercept"])

    def calibrated(self, numbers_RF: np.ndarray, embedding_RD: np.ndarray) -> np.ndarray:
        """Probabilities, float64 (R,).

        Args:
            numbers_RF: float32, features and surprises.
            embedding_RD: float32.
        """
        inputs_RN = np.concatenate([numbers_RF, embedding_RD], axis=1)
        inputs_RN -= self._mean_N
        inputs_RN /= self._std_N
        np.arcsinh(inputs_RN, out=inputs_RN)
        logit_R = self._score(inputs_RN[:, : self._num_numbers], inputs_RN[:, self._num_numbers :])
        logit_R = (logit_R + self._log_odds).astype(np.float64)
        if len(self._knots_K):
            logit_R = np.interp(logit_R, self._knots_K, self._values_K)
        return _sigmoid(self._slope * logit_R + self._intercept)


class _DeepCross:
    """`deep_cross.DeepCrossNetwork.score`."""

    def __init__(self, weights: Weights) -> None:
        self._embed = _Embedding(weights)
        self._cross = [_cross_map(weights, f"cross.{layer}.map") for layer in range(_count(weights, "cross"))]
        self._hidden, self._out = _hidden(weights), _linear(weights, "out")

    def __call__(self, z_RF: np.ndarray, e_RD: np.ndarray) -> np.ndarray:
        x0_RX = np.concatenate([self._embed(z_RF).reshape(len(z_RF), -1), e_RD], axis=1)
        x_RX = x0_RX
        for cross in self._cross:
            crossed_RX = cross(x_RX)
            crossed_RX *= x0_RX
            crossed_RX += x_RX
            x_RX = crossed_RX
        return self._out(np.concatenate([x_RX, self._hidden(x0_RX)], axis=1))[:, 0]


class _DeepFm:
    """`deep_fm.DeepFactorizationMachine.score`."""

    def __init__(self, weights: Weights) -> None:
        self._embed = _Embedding(weights)
        self._sequence, self._line = _linear(weights, "sequence"), _linear(weights, "line")
        self._hidden, self._out = _hidden(weights), _linear(weights, "out")

    def __call__(self, z_RF: np.ndarray, e_RD: np.ndarray) -> np.ndarray:
        fields_RFW = np.concatenate([self._embed(z_RF), self._sequence(e_RD)[:, None]], axis=1)
        line_R = self._line(np.concatenate([z_RF, e_RD], axis=1))[:, 0]
        pairs_R = (np.square(fields_RFW.sum(axis=1)) - np.square(fields_RFW).sum(axis=1)).sum(axis=1) / np.float32(2)
        pairs_R = pairs_R / np.float32(fields_RFW.shape[1])
        return line_R + pairs_R + self._out(self._hidden(fields_RFW.reshape(len(z_RF), -1)))[:, 0]


class _Logistic:
    """`logistic.LogisticNetwork.score`."""

    def __init__(self, weights: Weights) -> None:
        self._out = _linear(weights, "out")

    def __call__(self, z_RF: np.ndarray, e_RD: np.ndarray) -> np.ndarray:
        return self._out(np.concatenate([z_RF, e_RD], axis=1))[:, 0]


_KINDS = {"dcn": _DeepCross, "deep_fm": _DeepFm, "logistic": _Logistic}


class _Embedding:
    """`numbers.PeriodicEmbedding.forward`: (R, F) → (R, F, W)."""

    def __init__(self, weights: Weights) -> None:
        self._angle_F1K = _TWO_PI * weights["numbers.frequency_FK"][:, None]
        self._weight_FKW, self._bias_F1W = weights["numbers.weight_FKW"], weights["numbers.bias_FW"][:, None]

    def __call__(self, z_RF: np.ndarray) -> np.ndarray:
        angle_FRK = z_RF.T[:, :, None] * self._angle_F1K
        wave_FRK = np.concatenate([np.sin(angle_FRK), np.cos(angle_FRK)], axis=2)
        embedded_FRW = wave_FRK @ self._weight_FKW
        embedded_FRW += self._bias_F1W
        return np.maximum(embedded_FRW, 0, out=embedded_FRW).transpose(1, 0, 2)


def _cross_map(weights: Weights, name: str) -> Layer:
    if f"{name}.weight" in weights:  # full rank
        return _linear(weights, name)
    down_XL, up = weights[f"{name}.0.weight"].T, _linear(weights, f"{name}.1")
    return lambda x_RX: up(x_RX @ down_XL)


def _hidden(weights: Weights) -> Layer:
    """`base.hidden_layers`: a linear map, ReLU and dropout each, three entries of the sequence."""
    layers = [_linear(weights, f"deep.{3 * layer}") for layer in range(_count(weights, "deep"))]

    def hidden(x_RX: np.ndarray) -> np.ndarray:
        for layer in layers:
            x_RX = layer(x_RX)
            np.maximum(x_RX, 0, out=x_RX)
        return x_RX

    return hidden


def _linear(weights: Weights, name: str) -> Layer:
    weight_IO, bias_O = weights[f"{name}.weight"].T, weights[f"{name}.bias"]

    def linear(x_RI: np.ndarray) -> np.ndarray:
        y_RO = x_RI @ weight_IO
        y_RO += bias_O
        return y_RO

    return linear


def _count(weights: Weights, name: str) -> int:
    """How many layers a list of them has."""
    return len({key.split(".")[1] for key in weights if key.startswith(f"{name}.")})


def _sigmoid(x_R: np.ndarray) -> np.ndarray:
    """1 / (1 + e^-x) without overflow."""
    return np.exp(-np.logaddexp(0.0, -x_R))
