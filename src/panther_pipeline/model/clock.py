"""Order and time of the events of a batch, as the blocks read them.

Shape letters: B windows, T events, R planes of a head.
"""

from dataclasses import dataclass
from typing import Self

from torch import Tensor

from panther_pipeline.model.config import ModelConfig
from panther_pipeline.model.rotary import rotary_angles, rotation


@dataclass(frozen=True, kw_only=True)
class Clock:
    """When each event of a batch happened; every quantity depends on differences between events alone."""

    time_us_BT: Tensor  # int64 microseconds; position 0 may be the profile, at the first event's time
    rotation_BT1R: Tensor | None  # complex64, for attention; None = it does not turn

    @classmethod
    def read(cls, time_us_BT: Tensor, config: ModelConfig) -> Self:
        """The clock of a batch, computed once for all blocks."""
        if not config.turns_attention:
            return cls(time_us_BT=time_us_BT, rotation_BT1R=None)
        angles_BTR = rotary_angles(
            time_us_BT,
            num_planes=config.dim // config.num_heads // 2,
            use_order=config.position == "rotary",
            use_time=config.time_encoding == "rotary",
        )
        return cls(time_us_BT=time_us_BT, rotation_BT1R=rotation(angles_BTR))

    def log_gap_buckets(self, num_buckets: int) -> Tensor:
        """How long before event i event j happened, int64 (B, T, T), 0 to num_buckets - 1, on a log scale.

        Bucket b begins at e^(0.301 b) seconds. Later events (j > i) are given bucket 0; a causal mask hides them.

        Source: HSTU's released code, RelativeBucketedTimeAndPositionBasedBias, which measures from the *next* event's
            time to event j: a forecast does not know it, so here it is from event i's own.
        """
        elapsed_s_BTT = (self.time_us_BT[:, :, None] - self.time_us_BT[:, None, :]).clamp(min=0).double() / 1e6
        return (elapsed_s_BTT.clamp(min=1).log() / 0.301).long().clamp(max=num_buckets - 1)
