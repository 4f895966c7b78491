"""The `finetuning.features` block, and what identifies the features made by it."""

import hashlib
import json
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator

from panther_pipeline.config import Config


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
