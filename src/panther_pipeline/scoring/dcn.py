"""DCN-v2 over periodic embeddings of numbers, joined with the sequence embedding.

Different here: every number passes a periodic-linear-ReLU embedding of its own before features are crossed,
so that a threshold ("amount above 220") costs one layer; and the input statistics and the calibration are
buffers of the network, so that one file holds all that turns raw inputs into a probability.

Shape letters: R rows, F numbers, K frequencies, W width of one embedded number, D embedding width, X = F·W +
D.

Source: Wang et al. 2021, "DCN V2" (arXiv 2008.13535), low-rank cross, parallel structure; Gorishniy et al.
2022, "On Embeddings for Numerical Features" (arXiv 2203.05556), PLR.
"""

import math
from itertools import pairwise

import torch
from pydantic import Field
from torch import Tensor, nn

from panther_pipeline.config import Config


class NetworkConfig(Config):
    """Sizes of the head."""

    num_frequencies: int = Field(gt=0)  # K, learned per number
    frequency_scale: float = Field(gt=0)  # standard deviation of the frequencies at the start
    number_width: int = Field(gt=0)  # W
    num_cross_layers: int = Field(ge=0)
    cross_rank: int | None  # rank of the cross matrices; null = full
    deep_widths: list[int]  # hidden layers beside the cross layers
    dropout: float = Field(ge=0, lt=1)


class PeriodicEmbedding(nn.Module):
    """ReLU(linear([sin 2πcx, cos 2πcx])), with c and the linear map learned for each number."""

    def __init__(self, num_numbers: int, config: NetworkConfig) -> None:
        super().__init__()
        self.frequency_FK = nn.Parameter(torch.randn(num_numbers, config.num_frequencies) * config.frequency_scale)
        bound = 1 / math.sqrt(2 * config.num_frequencies)
        shape = (num_numbers, 2 * config.num_frequencies, config.number_width)
        self.weight_FKW = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
        self.bias_FW = nn.Parameter(torch.zeros(num_numbers, config.number_width))

    def forward(self, x_RF: Tensor) -> Tensor:
        """(R, F) → (R, F·W)."""
        angle_RFK = 2 * math.pi * x_RF[..., None] * self.frequency_FK
        wave_RFK = torch.cat([angle_RFK.sin(), angle_RFK.cos()], dim=-1)
        return (torch.einsum("rfk,fkw->rfw", wave_RFK, self.weight_FKW) + self.bias_FW).relu().flatten(1)


class CrossLayer(nn.Module):
    """x₀ ⊙ (W x + b) + x, with W = U V of low rank."""

    def __init__(self, width: int, rank: int | None) -> None:
        super().__init__()
        if rank is None:
            self.map: nn.Module = nn.Linear(width, width)
        else:
            self.map = nn.Sequential(nn.Linear(width, rank, bias=False), nn.Linear(rank, width))

    def forward(self, x0_RX: Tensor, x_RX: Tensor) -> Tensor:
        return x0_RX * self.map(x_RX) + x_RX


class DeepCrossNetwork(nn.Module):
    """Raw numbers and embedding → logit, with the statistics of the fit rows inside."""

    def __init__(self, num_numbers: int, embedding_dim: int, config: NetworkConfig) -> None:
        super().__init__()
        width = num_numbers * config.number_width + embedding_dim
        self.numbers = PeriodicEmbedding(num_numbers, config)
        self.cross = nn.ModuleList(CrossLayer(width, config.cross_rank) for _ in range(config.num_cross_layers))
        sizes = [width, *config.deep_widths]
        layers = [[nn.Linear(a, b), nn.ReLU(), nn.Dropout(config.dropout)] for a, b in pairwise(sizes)]
        self.deep = nn.Sequential(*[module for layer in layers for module in layer])
        self.out = nn.Linear(width + sizes[-1], 1)
        self.register_buffer("number_mean_F", torch.zeros(num_numbers))
        self.register_buffer("number_std_F", torch.ones(num_numbers))
        self.register_buffer("embedding_mean_D", torch.zeros(embedding_dim))
        self.register_buffer("embedding_std_D", torch.ones(embedding_dim))
        self.register_buffer("log_odds", torch.zeros(()))  # of fraud among the fit rows
        self.register_buffer("platt_slope", torch.ones(()))
        self.register_buffer("platt_intercept", torch.zeros(()))

    def forward(self, numbers_RF: Tensor, embedding_RD: Tensor) -> Tensor:
        """Logits (R,) before calibration."""
        # asinh: linear near the mean, logarithmic in the tail, so that one huge amount does not rule.
        z_RF = torch.asinh((numbers_RF - self.number_mean_F) / self.number_std_F)
        e_RD = torch.asinh((embedding_RD - self.embedding_mean_D) / self.embedding_std_D)
        x0_RX = torch.cat([self.numbers(z_RF), e_RD], dim=1)
        x_RX = x0_RX
        for layer in self.cross:
            x_RX = layer(x0_RX, x_RX)
        # The prior enters as an offset: weights need not learn that frauds are rare.
        return self.out(torch.cat([x_RX, self.deep(x0_RX)], dim=1)).squeeze(1) + self.log_odds

    def calibrated(self, numbers_RF: Tensor, embedding_RD: Tensor) -> Tensor:
        """Probabilities (R,)."""
        return torch.sigmoid(self.platt_slope * self(numbers_RF, embedding_RD) + self.platt_intercept)
