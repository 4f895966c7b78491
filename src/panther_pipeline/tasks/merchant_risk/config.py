"""The `finetuning.merchant_risk.rows` block."""

from pydantic import Field, model_validator

from panther_pipeline.config import Config
from panther_pipeline.ledger.splits import Instant


class MerchantRiskConfig(Config):
    """At which instants counterparties are judged, on what, and what is predicted."""

    every_days: int = Field(ge=1)  # from one as-of instant to the next; the grid starts at the first test instant
    horizon_days: int = Field(ge=1)  # predicted: a fraud in [as_of, as_of + horizon)
    windows_days: list[int] = Field(min_length=1)  # what is summarised: [as_of - window, as_of)
    quantiles_percent: list[int]  # of the deviations in a window, beside the median
    trim_share: float = Field(ge=0, lt=0.5)  # of the deviations in a window, left out at either end of the mean
    thresholds: list[float]  # standard deviations; the share of a window beyond each is a feature
    fit_start: Instant | None  # ISO instant; older as-of instants are not fitted on (null = all with a full window)
    calibration_share: float = Field(gt=0, lt=1)  # newest share of the as-of instants: calibration, choice of settings

    @model_validator(mode="after")
    def _check(self) -> "MerchantRiskConfig":
        problems = []
        for name in ("windows_days", "quantiles_percent", "thresholds"):
            values = getattr(self, name)
            if values != sorted(set(values)):
                problems.append(f"{name} must be ascending, each once; got {values}")
        if min(self.windows_days) < 1:
            problems.append(f"windows_days must be whole days >= 1; got {self.windows_days}")
        if not all(0 < q < 100 and q != 50 for q in self.quantiles_percent):
            problems.append(
                f"quantiles_percent must lie between 0 and 100; the median (50) is always there; "
                f"got {self.quantiles_percent}"
            )
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def longest_days(self) -> int:
        return self.windows_days[-1]
