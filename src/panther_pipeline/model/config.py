"""What the backbone is made of; one field per decision of design §5.

PANTHER and its peers are points of one family: the same inputs, loss, data path and training, another mixer or
encoding. `conf/base/parameters/ablation.yml` names them.
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from panther_pipeline.config import Config


class ModelConfig(Config):
    """Shape and variants of the causal backbone."""

    dim: int = Field(default=64, ge=4)  # width D; a multiple of num_heads
    num_layers: int = Field(default=2, ge=1)
    num_heads: int = Field(default=2, ge=1)
    feed_forward_dim: int = Field(default=256, ge=1)  # hidden width of the feed-forward part
    max_events: int = Field(default=128, ge=2)  # context length T: longest history read, the newest is kept
    inputs: Literal["token_and_attributes", "token"] = "token_and_attributes"  # what of an event is read
    attribute_dim: int = Field(default=16, ge=1)  # width of each attribute and profile embedding
    # both = attention and SPRM side by side; hstu is a block of its own, without a feed-forward part
    mixer: Literal["both", "attention", "sprm", "gru", "hstu"] = "both"
    merge: Literal["sum", "mean"] = "sum"  # how attention and SPRM join: paper, released code
    num_prototypes: int = Field(default=64, ge=1)  # behaviour prototypes K of the pattern recognition module
    convolution: Literal["dilated", "dense"] = "dilated"  # paper: depthwise; released code: one, mixing channels
    kernel_size: int = Field(default=3, ge=1)  # events one convolution sees
    dilations: list[int] = Field(default=[1, 2], min_length=1)  # strides between them, one dilated convolution each
    activation: Literal["gelu", "relu"] = "gelu"  # of the feed-forward part
    # Where order enters: attention turned by it, or a learned vector per position. hstu has relative biases instead of
    # turning, for order and (with time_encoding rotary) for time.
    position: Literal["rotary", "learned"] = "rotary"
    time_encoding: Literal["none", "gap_calendar", "rotary"] = "rotary"  # "none" still knows the order
    profile: Literal["none", "first_token", "positional"] = "positional"
    profile_weight: float = Field(default=0.1, ge=0, le=1)  # a of (1-a)·x + a·p_u
    score: Literal["dot", "cosine"] = "cosine"  # of a token: product with its vector plus bias, or cosine / temperature
    score_temperature: float = Field(default=0.1, gt=0)
    dropout: float = Field(default=0.1, ge=0, lt=1)

    @property
    def turns_attention(self) -> bool:
        """Whether queries and keys are turned by angles."""
        return self.mixer in ("both", "attention") and "rotary" in (self.position, self.time_encoding)

    @property
    def _channels_turned(self) -> int:
        # Channels are turned in pairs; where order and time both turn, each takes half of the pairs.
        return 4 if self.position == self.time_encoding == "rotary" else 2

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems = []
        if self.dim % self.num_heads:
            problems.append(f"dim must be a multiple of num_heads; got {self.dim} and {self.num_heads}")
        elif self.turns_attention and (self.dim // self.num_heads) % self._channels_turned:
            problems.append(
                f"dim / num_heads must be a multiple of {self._channels_turned}; got {self.dim // self.num_heads}"
            )
        if min(self.dilations) < 1:
            problems.append(f"every dilation must be at least 1; got {self.dilations}")
        if problems:
            raise ValueError("; ".join(problems))
        return self
