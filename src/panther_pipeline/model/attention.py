"""Causal self-attention over the user's events.

Shape letters: B windows, T events, D width, H heads, X = 2·H, C channels of a head.
"""

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from panther_pipeline.model.clock import Clock
from panther_pipeline.model.rotary import turn


class CausalAttention(nn.Module):
    """Multi-head attention in which event i reads events up to i."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query_key_value = nn.Linear(dim, 3 * dim, bias=False)
        self.output = nn.Linear(dim, dim, bias=False)

    def forward(self, x_BTD: Tensor, clock: Clock) -> Tensor:
        width = x_BTD.shape[-1]
        query_key, value = self.query_key_value(x_BTD).split([2 * width, width], dim=-1)
        query_key_BTXC = query_key.unflatten(-1, (2 * self.num_heads, -1))
        if clock.rotation_BT1R is not None:
            query_key_BTXC = turn(query_key_BTXC, clock.rotation_BT1R)
        q_BHTC, k_BHTC = query_key_BTXC.transpose(1, 2).chunk(2, dim=1)
        v_BHTC = split_heads(value, self.num_heads)
        # Padding is on the right, so the causal mask hides it: no second mask is needed.
        return self.output(join_heads(scaled_dot_product_attention(q_BHTC, k_BHTC, v_BHTC, is_causal=True)))


def split_heads(x_BTD: Tensor, num_heads: int) -> Tensor:
    """(B, T, D) to (B, H, T, C)."""
    return x_BTD.unflatten(-1, (num_heads, -1)).transpose(-3, -2)


def join_heads(x_BHTC: Tensor) -> Tensor:
    """(B, H, T, C) to (B, T, D)."""
    return x_BHTC.transpose(-3, -2).flatten(-2)
