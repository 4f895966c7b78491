"""The `finetuning.features` block, what identifies its features, and what the online state keeps for them."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator

from panther_pipeline.config import Config
from panther_pipeline.errors import ConfigurationError
from panther_pipeline.features.event import code_text
from panther_pipeline.units import DAY_US

EVER = None  # the window of everything before


def name_window(days: int | None) -> str:
    """How the columns of a window end: `7d`, or `ever`."""
    return "ever" if days is EVER else f"{days}d"


class FeatureConfig(Config):
    """What the point-in-time features look back on."""

    windows_days: list[int] = Field(min_length=1)  # what user and counterparty did; beside them always: ever
    risk_windows_days: list[int] = Field(min_length=1)  # known fraud: a label counts from its label_time on
    novelty: list[str] | None  # categorical attributes whose first value for a user is a feature; null = all
    time_zone: str  # IANA zone in which hour, night and weekend are meant
    night_start_hour: int = Field(ge=0, le=23)  # the night runs from here ...
    night_end_hour: int = Field(ge=0, le=23)  # ... up to, not including, this hour; may cross midnight

    @model_validator(mode="after")
    def _check(self) -> "FeatureConfig":
        problems = []
        for name in ("windows_days", "risk_windows_days"):
            days = getattr(self, name)
            if days != sorted(set(days)) or days[0] < 1:
                problems.append(f"{name} must be whole days >= 1, ascending, each once; got {days}")
        if self.novelty is not None and len(set(self.novelty)) < len(self.novelty):
            problems.append(f"novelty must name each attribute once; got {self.novelty}")
        try:
            ZoneInfo(self.time_zone)
        except (KeyError, ValueError, OSError):
            problems.append(f"time_zone '{self.time_zone}' is not an IANA zone such as UTC or Europe/Paris")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def choose_novelty(self, attributes: Sequence[str]) -> list[str]:
        """The attributes whose first value for a user is a feature.

        Args:
            attributes: the categorical attributes of the ledger, in its order.

        Raises:
            ConfigurationError: `novelty` names none of them; names those that are.
        """
        unknown = sorted(set(self.novelty or []) - set(attributes))
        if unknown:
            raise ConfigurationError(
                f"finetuning.features.novelty names {', '.join(unknown)}: no categorical attribute of this ledger. "
                f"It has {', '.join(attributes) or 'none'}; null takes them all."
            )
        return list(attributes) if self.novelty is None else self.novelty


@dataclass(frozen=True, kw_only=True)
class ActivityConfig:
    """How much of the past the state of a user or a counterparty keeps event by event.

    Of older events it keeps sums. What this costs: an event later than `lateness_days`, a label that comes when its
    event is no longer kept, and a repetition of an event that is no longer kept are refused as too late.
    """

    features: FeatureConfig
    attributes: tuple[str, ...]  # the categorical attributes of the ledger, in its order
    lateness_days: int  # how far behind the newest event of its user or counterparty an event may come in
    label_wait_days: int = 0  # an event without a label is kept so long; the windows keep it as long as they reach

    def __post_init__(self) -> None:
        """Refuse negative spans, and a novelty that this ledger does not have."""
        for name in ("lateness_days", "label_wait_days"):
            if getattr(self, name) < 0:
                raise ConfigurationError(f"{name} must be whole days >= 0; got {getattr(self, name)}")
        _ = self.novelty

    @cached_property
    def novelty(self) -> tuple[str, ...]:
        """The attributes of which first values are remembered."""
        return tuple(self.features.choose_novelty(self.attributes))

    @cached_property
    def lateness_us(self) -> int:
        """How far behind the newest event an event may be."""
        return self.lateness_days * DAY_US

    @cached_property
    def kept_us(self) -> int:
        """How long any event is kept: the longest window of the latest event."""
        return self.features.windows_days[-1] * DAY_US + self.lateness_us

    @cached_property
    def kept_known_us(self) -> int:
        """How long after its label became known an event is kept."""
        return self.features.risk_windows_days[-1] * DAY_US + self.lateness_us

    @cached_property
    def kept_unlabelled_us(self) -> int:
        """How long an event without a label is kept."""
        return max(self.kept_us, self.label_wait_days * DAY_US + self.lateness_us)

    @cached_property
    def retention_code(self) -> int:
        """Code of what is kept how long: a state that was kept for shorter windows would answer wrongly."""
        spans = (self.kept_us, self.kept_known_us, self.kept_unlabelled_us, self.lateness_us)
        return code_text(repr((spans, self.novelty)))


def features_digest(config: FeatureConfig, names: list[str]) -> str:
    """SHA-256 of how features are computed and of their names, hexadecimal.

    Args:
        config: the block; its order of keys does not count.
        names: columns in the order in which they are read, which counts.

    Example:
        >>> config = FeatureConfig(windows_days=[1], risk_windows_days=[1], novelty=None, time_zone="UTC",
        ...                        night_start_hour=0, night_end_hour=6)
        >>> features_digest(config, ["amount", "hour"]) == features_digest(config, ["hour", "amount"])
        False
    """
    description = {"config": config.model_dump(mode="json"), "names": names}
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()
