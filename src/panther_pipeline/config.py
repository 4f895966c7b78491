"""Base class of every parameter block.

A block of `conf/*/parameters` is one `Config`; a node's argument is annotated with it and Kedro builds it before
anything runs. Strict, so `num_layers: "four"` is refused; closed, so a misspelt key is refused; frozen, so no
node can change what another one reads.
"""

import difflib
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator


class Config(BaseModel):
    """A parameter block: strict types, no unknown keys, immutable."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _name_allowed_keys(cls, values: Any) -> Any:
        unknown = [key for key in values if key not in cls.model_fields] if isinstance(values, dict) else []
        if unknown:
            hints = [_hint(str(key), list(cls.model_fields)) for key in unknown]
            raise ValueError(f"unknown {', '.join(hints)}; allowed keys: {', '.join(cls.model_fields)}")
        return values


def _hint(key: str, allowed: list[str]) -> str:
    near = difflib.get_close_matches(key, allowed, n=1, cutoff=0.5)
    return f"key '{key}'" + (f" (did you mean '{near[0]}'?)" if near else "")
