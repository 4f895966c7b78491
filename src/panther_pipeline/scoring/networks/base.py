"""What all kinds of head share: one file of weights holds all that turns raw inputs into a probability.

Shape letters: R rows, F numbers, D embedding width.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn


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
        """Probabilities (R,)."""
        return torch.sigmoid(self.platt_slope * self(numbers_RF, embedding_RD) + self.platt_intercept)


def hidden_layers(sizes: list[int], dropout: float) -> nn.Sequential:
    """Linear, ReLU and dropout between each two sizes; nothing for one size."""
    layers = [[nn.Linear(a, b), nn.ReLU(), nn.Dropout(dropout)] for a, b in pairwise(sizes)]
    return nn.Sequential(*[module for layer in layers for module in layer])
