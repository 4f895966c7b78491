"""The `finetuning.tuning` block."""

from typing import Literal

from pydantic import Field

from panther_pipeline.config import Config

Method = Literal["full", "lora"]
MODEL_NAMES: dict[Method, str] = {"full": "head_tuned", "lora": "head_lora"}  # rows of the comparison


class LayerwiseConfig(Config):
    """Full fine-tuning: every weight that the state depends on, deeper blocks by smaller steps."""

    learning_rate: float = Field(gt=0)  # of the last block
    layer_decay: float = Field(gt=0, le=1)  # a block's rate is so many times that of the block after it


class LoraConfig(Config):
    """Low-rank updates beside frozen weights."""

    learning_rate: float = Field(gt=0)
    rank: int = Field(ge=1)
    alpha: float = Field(gt=0)  # updates are scaled by alpha / rank, so that another rank needs no other learning rate
    adapt_feed_forward: bool  # the feed-forward part as well as the projections of attention


class TuningConfig(Config):
    """Whether and how the backbone is tuned; the pair of the first seed is the one that is saved."""

    methods: Literal["full", "lora", "full+lora"] | None  # null = none
    head: Literal["fresh", "trained"]  # where the head starts; its form and statistics are the frozen one's
    full: LayerwiseConfig
    lora: LoraConfig
    head_learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)  # on matrices only
    grad_clip: float = Field(gt=0)  # largest norm of the gradient
    dropout: float = Field(ge=0, lt=1)  # share of the backbone's activations silenced while tuning
    batch_windows: int = Field(gt=0)  # stretches of history per step, each with all its fit rows
    epoch_windows: int | None = Field(ge=1)  # drawn anew for each epoch; null = all
    max_epochs: int = Field(gt=0)
    patience: int = Field(gt=0)  # epochs without a better average precision on the calibration rows
    seeds: list[int] = Field(min_length=1)

    def includes(self, method: Method) -> bool:
        """Whether `methods` names it."""
        return method in (self.methods or "").split("+")
