"""Logistic regression: what a straight line through the same inputs reaches."""

import torch
from torch import Tensor, nn

from panther_pipeline.scoring.networks.base import HeadNetwork


class LogisticNetwork(HeadNetwork):
    """One weight per number and per dimension of the embedding."""

    def __init__(self, num_numbers: int, embedding_dim: int) -> None:
        super().__init__(num_numbers, embedding_dim)
        self.out = nn.Linear(num_numbers + embedding_dim, 1)

    def score(self, z_RF: Tensor, e_RD: Tensor) -> Tensor:
        return self.out(torch.cat([z_RF, e_RD], dim=1)).squeeze(1)
