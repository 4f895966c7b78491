"""The `evaluation` blocks: which targets are ranked, and how sure a number is."""

from pydantic import Field

from panther_pipeline.config import Config


class RankingConfig(Config):
    """Which targets are ranked and how many windows at once."""

    max_users: int | None = Field(gt=0)  # users whose test events are ranked, drawn at random; null = all
    seed: int = Field(ge=0)  # of that draw
    batch_size: int = Field(gt=0)  # windows per forward pass


class BootstrapConfig(Config):
    """Intervals: users are resampled with their events."""

    num_resamples: int = Field(ge=100)  # below 100 a 2.5 % quantile is one of two numbers
    seed: int = Field(ge=0)
