"""What a simulated ledger looks like: the `simulation` block of the catalog entry."""

from datetime import date

from pydantic import Field, model_validator

from panther_pipeline.config import Config


class FraudRates(Config):
    """How often each kind of fraud strikes; the defaults give about 0.9 % fraudulent events."""

    card_testing_start_prob: float = Field(0.0007, ge=0, le=0.2)  # per step of a user: 3-6 tiny payments, a large one
    takeover_start_prob: float = Field(0.0009, ge=0, le=0.2)  # per step of a user: some nights of foreign spending
    takeover_days: float = Field(2.5, gt=0, le=30)
    compromised_merchant_share: float = Field(0.02, ge=0, le=1)  # of merchants have one window in which they leak cards
    compromised_days: int = Field(28, ge=1)  # length of that window
    compromised_hit_prob: float = Field(0.15, ge=0, le=1)  # per step of an exposed card


class SimulationConfig(Config):
    """Size, period and imperfections of a simulated ledger. The same block gives the same bytes."""

    num_users: int = Field(ge=1)
    start: str  # first day, ISO date
    end: str  # the day after the last, ISO date
    mean_events_per_month: float = Field(26.0, ge=12, le=500)  # about; per user and 30 days, with scheduled payments
    cold_start_share: float = Field(0.1, ge=0, le=1)  # users whose account opens in the last `cold_start_days`
    cold_start_days: int = Field(60, ge=1)
    broken_row_share: float = Field(0.004, ge=0, le=0.5)  # rows that validation has to catch
    duplicate_share: float = Field(0.002, ge=0, le=0.5)  # rows repeated exactly, same transaction_id
    fraud: FraudRates = FraudRates()
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _check(self) -> "SimulationConfig":
        problems = []
        days = {}
        for name in ("start", "end"):
            try:
                days[name] = date.fromisoformat(getattr(self, name))
            except ValueError:
                problems.append(f"{name} '{getattr(self, name)}' is not an ISO date such as 2024-01-01")
        if len(days) == 2 and (days["end"] - days["start"]).days < 7:
            problems.append(f"end {self.end} must be at least 7 days after start {self.start}")
        if self.broken_row_share + self.duplicate_share > 0.5:
            problems.append("broken_row_share + duplicate_share must be at most 0.5")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def start_date(self) -> date:
        return date.fromisoformat(self.start)

    @property
    def num_days(self) -> int:
        return (date.fromisoformat(self.end) - self.start_date).days
