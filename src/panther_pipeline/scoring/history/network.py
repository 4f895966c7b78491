"""A head that reads the history: what a pool makes of it joins the cached embedding in the network of the other heads.

Shape letters: B rows, F numbers, D embedding width, L recent events, X width of an event, P width of the pool.
"""

import torch
from torch import Tensor, nn

from panther_pipeline.scoring.networks.base import HeadNetwork
from panther_pipeline.scoring.networks.build import build_network
from panther_pipeline.scoring.networks.config import NetworkConfig


class HistoryPool(nn.Module):
    """A history → (B, `width`); zeros without events."""

    width: int  # P

    def forward(self, z_BF: Tensor, e_BD: Tensor, history_BLX: Tensor, is_event_BL: Tensor, own_BD: Tensor) -> Tensor:
        """Args: standardised numbers and embedding, then what `Histories.gather` returns."""
        raise NotImplementedError


class HistoryNetwork(HeadNetwork):
    """Pool and fusion are trained together."""

    def __init__(self, num_numbers: int, embedding_dim: int, pool: HistoryPool, config: NetworkConfig) -> None:
        super().__init__(num_numbers, embedding_dim)
        self.pool = pool
        self.fusion = build_network(num_numbers, embedding_dim + pool.width, config)

    def forward(
        self, numbers_BF: Tensor, embedding_BD: Tensor, history_BLX: Tensor, is_event_BL: Tensor, own_BD: Tensor
    ) -> Tensor:
        """Logits (B,) before calibration."""
        z_BF, e_BD = self.standardise(numbers_BF, embedding_BD)
        pooled_BP = self.pool(z_BF, e_BD, history_BLX, is_event_BL, own_BD)
        # Of the fusion only `score`: statistics, prior and calibration are this network's own.
        return self.fusion.score(z_BF, torch.cat([e_BD, pooled_BP], dim=1)) + self.log_odds
