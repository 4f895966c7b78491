"""The `evaluation` blocks: which targets are ranked, and how sure a number is."""

from pydantic import Field

from panther_pipeline.config import Config

ALL_TOKENS, NEW_TOKENS = "all tokens", "tokens new to the user"


class RankingConfig(Config):
    """Which targets are ranked, among what, and how many windows at once."""

    max_users: int | None = Field(gt=0)  # users whose test events are ranked, drawn at random; null = all
    seed: int = Field(ge=0)  # of that draw
    batch_size: int = Field(gt=0)  # windows per forward pass
    exclude_seen: bool = False  # tokens the user had before the target are no candidates; if they come, a miss

    @property
    def candidates(self) -> str:
        """Among what the token that came is ranked, as records say it."""
        return NEW_TOKENS if self.exclude_seen else ALL_TOKENS


class BootstrapConfig(Config):
    """Intervals: users are resampled with their events."""

    num_resamples: int = Field(ge=100)  # below 100 a 2.5 % quantile is one of two numbers
    seed: int = Field(ge=0)


class FraudMetricsConfig(Config):
    """Which test events of the fraud task are also measured apart."""

    short_history: int = Field(ge=1)  # cold start: events with fewer earlier ones of their user


class CostConfig(Config):
    """What an alert and a missed fraud cost, in units of the ledger's currency."""

    review: float = Field(ge=0)  # one alert looked at, right or wrong
    missed_share: float = Field(ge=0, le=1)  # share of a fraud's amount that is lost when it is missed ...
    missed_fixed: float = Field(ge=0)  # ... and this besides, for each: chargeback, a new card


class MerchantRiskMetricsConfig(Config):
    """How many counterparties are looked at."""

    num_flagged: list[int] = Field(min_length=1)  # counterparties flagged per as-of instant, on average over instants
