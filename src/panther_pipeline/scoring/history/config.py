"""The `finetuning.history` block."""

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from panther_pipeline.config import Config


class TextCNNConfig(Config):
    """Convolutions over the recent events."""

    widths: list[int] = Field(min_length=1)  # events that a filter spans
    num_filters: int = Field(gt=0)  # of each width


class AttentionConfig(Config):
    """Attention from the new transaction over the recent events."""

    num_heads: int = Field(gt=0)
    head_width: int = Field(gt=0)  # what one head hands on
    query_width: int = Field(gt=0)  # hidden units between the new transaction and its queries


class DistillationConfig(Config):
    """What the served head learns from the teacher."""

    weight: float = Field(gt=0)  # of the teacher's opinion beside that of the label
    temperature: float = Field(gt=0)  # logits are divided by it before they are compared
    num_folds: int = Field(ge=2)  # of users; a row's opinion is that of a teacher fitted on the other folds


class HistoryConfig(Config):
    """Which heads read the history, and how; network and loop are those of `finetuning.head`."""

    models: list[Literal["textcnn", "attention", "distilled"]]  # or a text, joined by "+": --params knows no lists
    num_events: int = Field(gt=0)  # L, the newest events of the user that are read
    vectors: Literal["states", "tokens", "both"]  # what stands for an event
    textcnn: TextCNNConfig
    attention: AttentionConfig
    distillation: DistillationConfig

    @field_validator("models", mode="before")
    @classmethod
    def _split_text(cls, models: Any) -> Any:
        return models.split("+") if isinstance(models, str) else models

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems = []
        if len(set(self.models)) < len(self.models):
            problems.append(f"models names one twice: {self.models}")
        wrong = [width for width in self.textcnn.widths if not 1 <= width <= self.num_events]
        if wrong:
            problems.append(f"textcnn.widths must be from 1 to num_events = {self.num_events}, got {wrong}")
        if problems:
            raise ValueError("; ".join(problems))
        return self
