"""Input of each position: what happened, when it happened, and to whom.

Shape letters: B windows, T events, F token attributes, P profile attributes, D width, G knots of the gap.
"""

import math

import torch
from torch import Tensor, nn

from panther_pipeline.model.batch import EventBatch
from panther_pipeline.model.calendar import hour_weekday_day
from panther_pipeline.model.config import ModelConfig
from panther_pipeline.model.dropout import Dropout

_NUM_KNOTS = 16
_LONGEST_GAP_S = 365.25 * 86_400


class EventEmbedding(nn.Module):
    """Token and attribute embeddings, concatenated and projected to D; plus time; plus the user's profile."""

    def __init__(
        self, config: ModelConfig, vocab_size: int | None, attribute_sizes: list[int], profile_sizes: list[int]
    ) -> None:
        """Args: vocab_size: number of token ids; None = tokens are not read, attributes are all there is."""
        super().__init__()
        dim, width = config.dim, config.attribute_dim
        self.profile_mode = config.profile if profile_sizes else "none"
        self.profile_weight = config.profile_weight
        read_sizes = attribute_sizes if config.inputs == "token_and_attributes" else []
        self.token = None if vocab_size is None else nn.Embedding(vocab_size, dim)
        self.attributes = nn.ModuleList(nn.Embedding(size, width) for size in read_sizes)
        token_width = 0 if vocab_size is None else dim
        self.project = nn.Linear(token_width + width * len(read_sizes), dim, bias=False)
        self.position = nn.Embedding(config.max_events, dim) if config.position == "learned" else None
        self.time = TimeEmbedding(dim) if config.time_encoding != "none" else None
        self.profile = ProfileEmbedding(dim, width, profile_sizes) if self.profile_mode != "none" else None
        self.norm = nn.LayerNorm(dim)
        self.dropout = Dropout(config.dropout)

    def forward(self, batch: EventBatch) -> Tensor:
        """(B, T, D); with the profile as first token (B, T + 1, D), position 0 being the profile."""
        columns = [table(batch.attribute_ids_BTF[..., f]) for f, table in enumerate(self.attributes)]
        if self.token is not None:
            columns = [self.token(batch.token_ids_BT), *columns]
        x_BTD = self.project(torch.cat(columns, dim=-1))
        if self.position is not None:
            # Counted from the window's first event: counting from the newest would let the future move the past.
            x_BTD = x_BTD + self.position.weight[: x_BTD.shape[1]]
        if self.time is not None:
            x_BTD = x_BTD + self.time(batch.time_us_BT)
        x_BTD = self.norm(x_BTD)
        if self.profile is not None:
            profile_B1D = self.profile(batch.profile_ids_BP)[:, None]
            if self.profile_mode == "first_token":
                x_BTD = torch.cat([profile_B1D.to(x_BTD.dtype), x_BTD], dim=1)
            else:
                x_BTD = (1 - self.profile_weight) * x_BTD + self.profile_weight * profile_B1D
        return self.dropout(x_BTD)


class TimeEmbedding(nn.Module):
    """Gap to the previous event of the window, and the calendar of the event, never of the next one."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gap = nn.Linear(_NUM_KNOTS + 1, dim, bias=False)
        self.hour = nn.Embedding(24, dim)
        self.weekday = nn.Embedding(7, dim)
        self.day = nn.Embedding(31, dim)

    def forward(self, time_us_BT: Tensor) -> Tensor:
        hour_BT, weekday_BT, day_BT = hour_weekday_day(time_us_BT)
        gap_BTD = self.gap(gap_features(time_us_BT).to(self.gap.weight.dtype))
        return gap_BTD + self.hour(hour_BT) + self.weekday(weekday_BT) + self.day(day_BT)


class ProfileEmbedding(nn.Module):
    """p_u: one embedding per profile attribute, projected to D."""

    def __init__(self, dim: int, width: int, profile_sizes: list[int]) -> None:
        super().__init__()
        self.attributes = nn.ModuleList(nn.Embedding(size, width) for size in profile_sizes)
        self.project = nn.Linear(width * len(profile_sizes), dim, bias=False)
        self.norm = nn.LayerNorm(dim)

    def forward(self, profile_ids_BP: Tensor) -> Tensor:
        columns = [table(profile_ids_BP[:, p]) for p, table in enumerate(self.attributes)]
        return self.norm(self.project(torch.cat(columns, dim=-1)))


def gap_features(time_us_BT: Tensor) -> Tensor:
    """Log gap to the previous event as a piecewise-linear code.

    Gaps span seconds to months. A straight line in the log cannot single out "a week later"; hats on evenly
    spaced knots can, and stay continuous.

    Returns:
        float32 (B, T, G + 1): weights of the two nearest knots (they sum to 1); the last column is 1 for the
        window's first event, which has no gap, and its knots are 0.
    """
    gap_s_BT = (time_us_BT[:, 1:] - time_us_BT[:, :-1]).clamp(min=0).double() / 1e6
    place_BT = torch.log1p(gap_s_BT) * ((_NUM_KNOTS - 1) / math.log1p(_LONGEST_GAP_S))
    knots_G = torch.arange(_NUM_KNOTS, device=time_us_BT.device)
    hats_BTG = (1 - (place_BT.clamp(max=_NUM_KNOTS - 1).float()[..., None] - knots_G).abs()).clamp(min=0)
    features = hats_BTG.new_zeros(*time_us_BT.shape, _NUM_KNOTS + 1)
    features[:, 1:, :-1] = hats_BTG
    features[:, 0, -1] = 1
    return features
