"""The `ablation` block: which models are compared, how often each is trained, on what they are measured."""

import re
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from panther_pipeline.config import Config


class Variant(Config):
    """What one model of the grid overrides in the blocks `pretraining.*` of the environment."""

    model: dict[str, Any] = Field(default={})  # keys of ModelConfig
    loss: dict[str, Any] = Field(default={})  # keys of LossConfig
    training: dict[str, Any] = Field(default={})  # keys of TrainingConfig, all but the seed

    @property
    def overrides(self) -> dict[str, Any]:
        """`{"model.mixer": "gru"}`."""
        blocks = self.model_dump().items()
        return {f"{block}.{key}": value for block, values in blocks for key, value in values.items()}


class AblationConfig(Config):
    """A grid of variants and seeds."""

    ledger: str  # named in the results
    environment: str  # named in the command of the results
    stated_params: dict[str, Any] = Field(default={})  # named in the command too: {"a.b": value} of --params
    reference: str  # the variant that the others are compared with
    only: str | None  # names joined by "+": these and the reference; null = all
    num_seeds: int = Field(ge=1)  # every variant is trained with the seeds 0, 1, ...
    split: Literal["test", "valid"]  # whose events are ranked
    equal_parameters: bool  # choose feed_forward_dim so that every variant has as many weights as the reference
    variants: dict[str, Variant | None]  # null = not in this environment

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems = [
            f"variant '{name}': a name has lower-case letters, digits and _ alone, since it names a folder"
            for name in self.variants
            if not re.fullmatch(r"[a-z0-9_]+", name)
        ]
        declared = [name for name, variant in self.variants.items() if variant is not None]
        unknown = [name for name in [self.reference, *self._asked()] if name not in declared]
        problems += [f"there is no variant '{name}'" for name in dict.fromkeys(unknown)]
        if problems:
            raise ValueError(f"{'; '.join(problems)}; variants: {', '.join(declared)}")
        return self

    @property
    def chosen(self) -> dict[str, Variant]:
        """The variants of this run, the reference first."""
        asked = {self.reference, *self._asked()} if self.only is not None else set(self.variants)
        chosen = {name: variant for name, variant in self.variants.items() if variant is not None and name in asked}
        return {self.reference: chosen[self.reference]} | chosen

    @property
    def seeds(self) -> list[int]:
        """0, 1, ...: a grid with more of them continues one with fewer."""
        return list(range(self.num_seeds))

    def _asked(self) -> list[str]:
        return [name.strip() for name in (self.only or "").split("+") if name.strip()]
