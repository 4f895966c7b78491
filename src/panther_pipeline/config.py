"""Base class of every parameter block.

A block of `conf/*/parameters` is one `Config`; a node's argument is annotated with it and Kedro builds it before
anything runs. Strict, so `num_layers: "four"` is refused; closed, so a misspelt key is refused; frozen, so no
node can change what another one reads.
"""

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """A parameter block: strict types, no unknown keys, immutable."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
