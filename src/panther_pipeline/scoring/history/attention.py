"""Attention from the new transaction over the user's recent events: what of the history matters to this one.

A single query makes it cheap: the key map is applied to the query and the value map to the weighted mean, not to each
of the L events. The result is that of multi-head attention without biases, in 1/D of its time.

Shape letters: B rows, F numbers, D embedding width, L recent events, X width of an event, H heads, V width of a head.

Source: VIRT (arXiv 2112.04195), whose teacher lets two texts attend to each other and whose student encodes them apart;
Vaswani et al. 2017 (arXiv 1706.03762), §3.2, for the attention; Press et al. 2021 (arXiv 2108.12409), for a bias by
distance, here learned for each rank.
"""

import math

import torch
from torch import Tensor, nn

from panther_pipeline.scoring.history.config import AttentionConfig
from panther_pipeline.scoring.history.network import HistoryPool


class RecentAttention(HistoryPool):
    """Weighted means of the history, the weights a question of the new transaction."""

    def __init__(
        self,
        num_numbers: int,
        embedding_dim: int,
        vector_width: int,
        own_width: int,
        num_events: int,
        config: AttentionConfig,
    ) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.query = nn.Sequential(
            nn.Linear(num_numbers + embedding_dim + own_width, config.query_width),
            nn.ReLU(),
            nn.Linear(config.query_width, config.num_heads * vector_width),
        )
        # The newest event has the last rank, however short the history.
        self.rank_bias_HL = nn.Parameter(torch.zeros(config.num_heads, num_events))
        bound = 1 / math.sqrt(vector_width)
        shape = (config.num_heads, vector_width, config.head_width)
        self.value_HXV = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
        self.width = config.num_heads * config.head_width

    def forward(self, z_BF: Tensor, e_BD: Tensor, history_BLX: Tensor, is_event_BL: Tensor, own_BD: Tensor) -> Tensor:
        """(B, H · V)."""
        query_BHX = self.query(torch.cat([z_BF, e_BD, own_BD], dim=1)).unflatten(1, (self.num_heads, -1))
        score_BHL = query_BHX @ history_BLX.transpose(1, 2) / math.sqrt(history_BLX.shape[-1]) + self.rank_bias_HL
        is_event_B1L = is_event_BL[:, None]
        # Not -inf: without any event all weights would be undefined; the product makes them 0.
        weight_BHL = score_BHL.masked_fill(~is_event_B1L, torch.finfo(score_BHL.dtype).min).softmax(-1) * is_event_B1L
        mean_BHX = weight_BHL @ history_BLX
        return torch.einsum("bhx,hxv->bhv", mean_BHX, self.value_HXV).flatten(1)
