"""Causal self-attention over the user's events.

Shape letters: B windows, T events, D width, H heads, C channels of a head.
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
        q_BHTC, k_BHTC, v_BHTC = (
            split_heads(part, self.num_heads) for part in self.query_key_value(x_BTD).chunk(3, -1)
        )
        if clock.rotation is not None:
            cos, sin = (part.to(q_BHTC.dtype) for part in clock.rotation)
            q_BHTC, k_BHTC = turn(q_BHTC, cos, sin), turn(k_BHTC, cos, sin)
        # Padding is on the right, so the causal mask hides it: no second mask is needed.
        return self.output(join_heads(scaled_dot_product_attention(q_BHTC, k_BHTC, v_BHTC, is_causal=True)))


def split_heads(x_BTD: Tensor, num_heads: int) -> Tensor:
    """(B, T, D) to (B, H, T, C)."""
    return x_BTD.unflatten(-1, (num_heads, -1)).transpose(-3, -2)


def join_heads(x_BHTC: Tensor) -> Tensor:
    """(B, H, T, C) to (B, T, D)."""
    return x_BHTC.transpose(-3, -2).flatten(-2)
