"""The `finetuning.features` block."""

from collections.abc import Sequence
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator

from panther_pipeline.config import Config
from panther_pipeline.errors import ConfigurationError


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
