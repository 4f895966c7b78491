"""DCN-v2 over periodic embeddings of numbers, joined with the sequence embedding.

Different here: every number passes an embedding of its own before features are crossed.

Shape letters: R rows, F numbers, W width of one embedded number, D embedding width, X = F·W + D.

Source: Wang et al. 2021, "DCN V2" (arXiv 2008.13535), low-rank cross, parallel structure.
"""

import torch
from torch import Tensor, nn

from panther_pipeline.scoring.networks.base import HeadNetwork, hidden_layers
from panther_pipeline.scoring.networks.config import NetworkConfig
from panther_pipeline.scoring.networks.numbers import PeriodicEmbedding


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


class DeepCrossNetwork(HeadNetwork):
    """Cross layers and hidden layers side by side."""

    def __init__(self, num_numbers: int, embedding_dim: int, config: NetworkConfig) -> None:
        super().__init__(num_numbers, embedding_dim)
        width = num_numbers * config.number_width + embedding_dim
        self.numbers = PeriodicEmbedding(num_numbers, config)
        self.cross = nn.ModuleList(CrossLayer(width, config.cross_rank) for _ in range(config.num_cross_layers))
        sizes = [width, *config.deep_widths]
        self.deep = hidden_layers(sizes, config.dropout)
        self.out = nn.Linear(width + sizes[-1], 1)

    def score(self, z_RF: Tensor, e_RD: Tensor) -> Tensor:
        x0_RX = torch.cat([self.numbers(z_RF).flatten(1), e_RD], dim=1)
        x_RX = x0_RX
        for layer in self.cross:
            x_RX = layer(x0_RX, x_RX)
        return self.out(torch.cat([x_RX, self.deep(x0_RX)], dim=1)).squeeze(1)
