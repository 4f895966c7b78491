"""Order and time of the events of a batch, as the blocks read them.

Shape letters: B windows, T events, R planes of a head.
"""

from dataclasses import dataclass
from typing import Self

from torch import Tensor

from panther_pipeline.model.config import ModelConfig
from panther_pipeline.model.rotary import rotary_angles, rotation
from panther_pipeline.units import SECOND_US

NUM_GAP_BUCKETS = 64  # e^(0.301 · 63) s is five years


@dataclass(frozen=True, kw_only=True)
class Clock:
    """When each event of a batch happened; every quantity depends on differences between events alone."""

    time_us_BT: Tensor  # int64 microseconds; position 0 may be the profile, at the first event's time
    rotation_BT1R: Tensor | None  # complex64, for attention; None = it does not turn
    gap_buckets_BTT: Tensor | None  # see `log_gap_buckets`, for HSTU; None = it does not read time

    @classmethod
    def read(cls, time_us_BT: Tensor, config: ModelConfig) -> Self:
        """The clock of a batch, computed once for all blocks."""
        rotation_BT1R = gap_buckets_BTT = None
        if config.turns_attention:
            angles_BTR = rotary_angles(
                time_us_BT,
                num_planes=config.dim // config.num_heads // 2,
                use_order=config.position == "rotary",
                use_time=config.time_encoding == "rotary",
            )
            rotation_BT1R = rotation(angles_BTR)
        elif config.mixer == "hstu" and config.time_encoding == "rotary":
            gap_buckets_BTT = log_gap_buckets(time_us_BT)
        return cls(time_us_BT=time_us_BT, rotation_BT1R=rotation_BT1R, gap_buckets_BTT=gap_buckets_BTT)


def log_gap_buckets(time_us_BT: Tensor) -> Tensor:
    """How long before event i event j happened, int64 (B, T, T), 0 to NUM_GAP_BUCKETS - 1, on a log scale.

    Bucket b begins at e^(0.301 b) seconds. Later events (j > i) are given bucket 0; a causal mask hides them.

    Source: HSTU's released code, RelativeBucketedTimeAndPositionBasedBias, which measures from the *next* event's
        time to event j: a forecast does not know it, so here it is from event i's own.
    """
    elapsed_us_BTT = time_us_BT[:, :, None] - time_us_BT[:, None, :]
    seconds_BTT = elapsed_us_BTT.clamp(min=SECOND_US).float().div_(SECOND_US)
    return seconds_BTT.log_().div_(0.301).long().clamp_(max=NUM_GAP_BUCKETS - 1)
