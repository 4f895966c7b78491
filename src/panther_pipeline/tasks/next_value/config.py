"""The `finetuning.next_value` block: which attributes are forecast, and how their heads are trained."""

from pydantic import Field, model_validator

from panther_pipeline.config import Config


class NextValueConfig(Config):
    """Attributes whose next value is forecast, each by a head of its own on the states of the frozen backbone."""

    attributes: list[str] | None  # categorical attributes, or counterparty; null = all, [] = none
    max_values: int = Field(ge=1)  # the most frequent ones of training; another value is a miss for every model
    copy_past: bool  # values the user had before count for more, the more often the user had them
    max_events: int = Field(ge=1)  # training events fitted on, drawn at random
    max_valid_events: int = Field(ge=1)  # validation events that decide when training stops
    batch_size: int = Field(ge=1)  # events per step
    max_epochs: int = Field(ge=1)
    patience: int = Field(ge=1)  # epochs without a lower loss on the validation events
    learning_rate: float = Field(gt=0)
    seed: int = Field(ge=0)

    @model_validator(mode="after")
    def _check(self) -> "NextValueConfig":
        names = self.attributes or []
        problems = [f"attribute '{name}' is named twice" for name in sorted({n for n in names if names.count(n) > 1})]
        if "transaction" in names:
            problems.append("'transaction' would be measured as next_transaction, which is the task of whole tokens")
        if problems:
            raise ValueError("; ".join(problems))
        return self
