"""Periodic embeddings of numbers: a threshold ("amount above 220") then costs one layer.

Shape letters: R rows, F numbers, K frequencies, W width of one embedded number.

Source: Gorishniy et al. 2022, "On Embeddings for Numerical Features" (arXiv 2203.05556), PLR.
"""

import math

import torch
from torch import Tensor, nn

from panther_pipeline.scoring.networks.config import NetworkConfig


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
        """(R, F) → (R, F, W)."""
        angle_RFK = 2 * math.pi * x_RF[..., None] * self.frequency_FK
        wave_RFK = torch.cat([angle_RFK.sin(), angle_RFK.cos()], dim=-1)
        return (torch.einsum("rfk,fkw->rfw", wave_RFK, self.weight_FKW) + self.bias_FW).relu()
