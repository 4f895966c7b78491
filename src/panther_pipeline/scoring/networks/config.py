"""The `finetuning.head.network` block."""

from typing import Literal

from pydantic import Field

from panther_pipeline.config import Config

CalibrationKind = Literal["platt", "isotonic"]  # here, since what serves a head imports nothing that fits one


class NetworkConfig(Config):
    """Kind and sizes of the head; `logistic` has none of the sizes, `deep_fm` no cross layers."""

    kind: Literal["dcn", "deep_fm", "logistic"]
    num_frequencies: int = Field(gt=0)  # K, learned per number
    frequency_scale: float = Field(gt=0)  # standard deviation of the frequencies at the start
    number_width: int = Field(gt=0)  # W
    num_cross_layers: int = Field(ge=0)
    cross_rank: int | None  # rank of the cross matrices; null = full
    deep_widths: list[int]  # hidden layers beside the cross layers
    dropout: float = Field(ge=0, lt=1)
