"""What all kinds of head share: one file of weights holds all that turns raw inputs into a probability.

Shape letters: R rows, F numbers, D embedding width, K knots of the calibration.
"""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from panther_pipeline.scoring.networks.config import CalibrationKind

_UNCALIBRATED = {"platt_slope": 1.0, "platt_intercept": 0.0, "isotonic_logits_K": [], "isotonic_values_K": []}


class HeadNetwork(nn.Module):
    """Standardised inputs → logit, with the statistics of the fit rows and the calibration as buffers."""

    def __init__(self, num_numbers: int, embedding_dim: int) -> None:
        super().__init__()
        self.register_buffer("number_mean_F", torch.zeros(num_numbers))
        self.register_buffer("number_std_F", torch.ones(num_numbers))
        self.register_buffer("embedding_mean_D", torch.zeros(embedding_dim))
        self.register_buffer("embedding_std_D", torch.ones(embedding_dim))
        self.register_buffer("log_odds", torch.zeros(()))  # of fraud; corrected for sampling after training
        self.register_buffer("platt_slope", torch.ones(()))
        self.register_buffer("platt_intercept", torch.zeros(()))
        # Before the line; none where the line is all. In float64, for which IsotonicScaler says the reason.
        self.register_buffer("isotonic_logits_K", torch.zeros(0, dtype=torch.float64))
        self.register_buffer("isotonic_values_K", torch.zeros(0, dtype=torch.float64))

    def score(self, z_RF: Tensor, e_RD: Tensor) -> Tensor:
        """The kind's own part: standardised numbers and embedding → (R,), 0 where nothing is known."""
        raise NotImplementedError

    def standardise(self, numbers_RF: Tensor, embedding_RD: Tensor) -> tuple[Tensor, Tensor]:
        """The inputs of `score`."""
        # asinh: linear near the mean, logarithmic in the tail, so that one huge amount does not rule.
        z_RF = torch.asinh((numbers_RF - self.number_mean_F) / self.number_std_F)
        e_RD = torch.asinh((embedding_RD - self.embedding_mean_D) / self.embedding_std_D)
        return z_RF, e_RD

    def forward(self, numbers_RF: Tensor, embedding_RD: Tensor) -> Tensor:
        """Logits (R,) before calibration."""
        # The prior enters as an offset: weights need not learn that frauds are rare.
        return self.score(*self.standardise(numbers_RF, embedding_RD)) + self.log_odds

    def calibrated(self, numbers_RF: Tensor, embedding_RD: Tensor) -> Tensor:
        """Probabilities (R,), float64."""
        return self.to_probability(self(numbers_RF, embedding_RD))

    def to_probability(self, logit_R: Tensor) -> Tensor:
        """Calibrated, float64: in float32 neighbours would become equal, and a ranking lose their order."""
        straight_R = self._straighten(logit_R.double())
        return torch.sigmoid(self.platt_slope.double() * straight_R + self.platt_intercept.double())

    @property
    def calibration(self) -> CalibrationKind:
        """How its probabilities are made."""
        return "isotonic" if len(self.isotonic_logits_K) else "platt"

    def set_calibration(self, buffers: Mapping[str, np.ndarray]) -> None:
        """Take over the numbers of a fitted scaler, `scoring.calibration`, in place of all earlier ones."""
        for name, values in (_UNCALIBRATED | dict(buffers)).items():
            setattr(self, name, torch.as_tensor(values, dtype=getattr(self, name).dtype))

    def as_arrays(self) -> dict[str, np.ndarray]:
        """A copy of all weights and statistics by their names: what `FraudHead` keeps."""
        return {name: tensor.detach().cpu().numpy().copy() for name, tensor in self.state_dict().items()}

    def _straighten(self, logit_R: Tensor) -> Tensor:
        """Linear between the knots, as numpy.interp; the same where there are none."""
        knots_K, values_K = self.isotonic_logits_K, self.isotonic_values_K
        if not len(knots_K):
            return logit_R
        inside_R = logit_R.clamp(knots_K[0], knots_K[-1])
        right_R = torch.searchsorted(knots_K, inside_R).clamp(min=1)
        left_R = right_R - 1
        slope_R = (values_K[right_R] - values_K[left_R]) / (knots_K[right_R] - knots_K[left_R])
        return values_K[left_R] + slope_R * (inside_R - knots_K[left_R])


def hidden_layers(sizes: list[int], dropout: float) -> nn.Sequential:
    """Linear, ReLU and dropout between each two sizes; nothing for one size."""
    layers = [[nn.Linear(a, b), nn.ReLU(), nn.Dropout(dropout)] for a, b in pairwise(sizes)]
    return nn.Sequential(*[module for layer in layers for module in layer])
