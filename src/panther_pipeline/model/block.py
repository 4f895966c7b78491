"""One transformer block: attention and pattern recognition in parallel, then the feed-forward part.

Shape letters: B windows, T events, D width.
"""

from torch import Tensor, nn

from panther_pipeline.model.attention import CausalAttention
from panther_pipeline.model.config import ModelConfig
from panther_pipeline.model.sprm import PatternRecognition


class Block(nn.Module):
    """x + merge(attention, SPRM), then x + feed-forward; both read a normed input."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim, hidden = config.dim, config.feed_forward_multiple * config.dim
        self.attention = CausalAttention(dim, config.num_heads) if config.mixer != "sprm" else None
        self.patterns = (
            PatternRecognition(dim, config.num_heads, config.num_prototypes, config.kernel_size, config.dilations)
            if config.mixer != "attention"
            else None
        )
        self.merge_scale = 0.5 if config.mixer == "both" and config.merge == "mean" else 1.0
        self.mixer_norm = nn.LayerNorm(dim)
        self.feed_forward_norm = nn.LayerNorm(dim)
        self.feed_forward = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x_BTD: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        normed_BTD = self.mixer_norm(x_BTD)
        parts = []
        if self.attention is not None:
            parts.append(self.attention(normed_BTD, rotation))
        if self.patterns is not None:
            parts.append(self.patterns(normed_BTD))
        x_BTD = x_BTD + self.dropout(sum(parts[1:], parts[0]) * self.merge_scale)
        return x_BTD + self.dropout(self.feed_forward(self.feed_forward_norm(x_BTD)))

    def prototype_weights(self, x_BTD: Tensor) -> Tensor | None:
        """(B, T, K) for the block's input, or None without pattern recognition."""
        return None if self.patterns is None else self.patterns.prototype_weights(self.mixer_norm(x_BTD))
