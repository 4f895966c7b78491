"""HSTU's block: attention without a softmax, gated, no feed-forward part (arXiv 2402.17152 §3.2).

Shape letters: B windows, T events, D width, H heads, C channels of a head.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, silu

from panther_pipeline.model.attention import join_heads, split_heads
from panther_pipeline.model.clock import NUM_GAP_BUCKETS, Clock
from panther_pipeline.model.config import ModelConfig
from panther_pipeline.model.dropout import Dropout


class HstuBlock(nn.Module):
    """x + f2(norm(A V) · U), where A = SiLU(Q Kᵀ + bias) / max_events over the events up to each.

    Weights are not normalised over the history, so that how much there is of a kind stays visible. The bias holds one
    number per distance in order and, with time_encoding rotary, one per bucket of elapsed time.

    Source: arXiv 2402.17152 eqs. 1-3; released code for the bias and the division by the longest history.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim = config.dim
        self.num_heads = config.num_heads
        self.max_events = config.max_events
        self.norm = nn.LayerNorm(dim)
        self.gate_value_query_key = nn.Linear(dim, 4 * dim, bias=False)
        # One place more than events: the profile may stand before the first one.
        self.order_bias = nn.Parameter(torch.empty(config.max_events + 1))
        self.time_bias = nn.Parameter(torch.empty(NUM_GAP_BUCKETS)) if config.time_encoding == "rotary" else None
        for bias in (self.order_bias, self.time_bias):
            if bias is not None:
                nn.init.normal_(bias, std=0.02)
        self.output = nn.Linear(dim, dim)
        self.dropout = Dropout(config.dropout)

    def forward(self, x_BTD: Tensor, clock: Clock) -> Tensor:
        gate_BTD, *value_query_key = silu(self.gate_value_query_key(self.norm(x_BTD))).chunk(4, -1)
        v_BHTC, q_BHTC, k_BHTC = (split_heads(part, self.num_heads) for part in value_query_key)
        scores_BHTT = q_BHTC @ k_BHTC.transpose(-1, -2) + self._bias(clock)[:, None]
        mixed_BHTC = (silu(scores_BHTT).tril() / self.max_events) @ v_BHTC
        mixed_BTD = layer_norm(join_heads(mixed_BHTC), x_BTD.shape[-1:], eps=1e-6)
        return x_BTD + self.output(self.dropout(mixed_BTD * gate_BTD))

    def prototype_weights(self, x_BTD: Tensor) -> None:
        """There are no prototypes."""

    def _bias(self, clock: Clock) -> Tensor:
        """(B or 1, T, T)."""
        order_T = torch.arange(clock.time_us_BT.shape[1], device=self.order_bias.device)
        bias = self.order_bias[(order_T[:, None] - order_T).clamp(min=0)][None]
        if self.time_bias is not None:
            bias = bias + self.time_bias[clock.gap_buckets_BTT]
        return bias
