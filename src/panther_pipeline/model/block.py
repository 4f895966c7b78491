"""One block: a mixer that reads the events before, then the feed-forward part.

Shape letters: B windows, T events, D width.
"""

from torch import Tensor, nn

from panther_pipeline.model.attention import CausalAttention
from panther_pipeline.model.clock import Clock
from panther_pipeline.model.config import ModelConfig
from panther_pipeline.model.dropout import Dropout
from panther_pipeline.model.hstu import HstuBlock
from panther_pipeline.model.recurrent import RecurrentMixer
from panther_pipeline.model.sprm import PatternRecognition

_ACTIVATIONS = {"gelu": nn.GELU, "relu": nn.ReLU}


def make_block(config: ModelConfig) -> nn.Module:
    """A module that maps (B, T, D) and a clock to (B, T, D), causally."""
    return HstuBlock(config) if config.mixer == "hstu" else Block(config)


class Block(nn.Module):
    """x + merge(attention, SPRM), then x + feed-forward; both read a normed input."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim, hidden = config.dim, config.feed_forward_dim
        mixer = config.mixer
        self.attention = CausalAttention(dim, config.num_heads) if mixer in ("both", "attention") else None
        self.patterns = PatternRecognition(config) if mixer in ("both", "sprm") else None
        self.recurrent = RecurrentMixer(dim) if mixer == "gru" else None
        self.merge_scale = 0.5 if mixer == "both" and config.merge == "mean" else 1.0
        self.mixer_norm = nn.LayerNorm(dim)
        self.feed_forward_norm = nn.LayerNorm(dim)
        self.feed_forward = nn.Sequential(
            nn.Linear(dim, hidden), _ACTIVATIONS[config.activation](), nn.Linear(hidden, dim)
        )
        self.dropout = Dropout(config.dropout)

    def forward(self, x_BTD: Tensor, clock: Clock) -> Tensor:
        normed_BTD = self.mixer_norm(x_BTD)
        parts = []
        if self.attention is not None:
            parts.append(self.attention(normed_BTD, clock))
        if self.patterns is not None:
            parts.append(self.patterns(normed_BTD))
        if self.recurrent is not None:
            parts.append(self.recurrent(normed_BTD))
        x_BTD = x_BTD + self.dropout(sum(parts[1:], parts[0]) * self.merge_scale)
        return x_BTD + self.dropout(self.feed_forward(self.feed_forward_norm(x_BTD)))

    def prototype_weights(self, x_BTD: Tensor) -> Tensor | None:
        """(B, T, K) for the block's input, or None without pattern recognition."""
        return None if self.patterns is None else self.patterns.prototype_weights(self.mixer_norm(x_BTD))
