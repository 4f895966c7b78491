"""Discretisers: values of one field become attribute ids.

Attribute ids: 0 = padding (in a vocabulary pattern: a dropped attribute), 1 = unknown or OTHER, 2.. = values.
Shape letters: N events.
"""

import math
from bisect import bisect_right
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field, model_validator

from panther_pipeline.config import Config
from panther_pipeline.tokenizer.config import TEXT_SOURCES
from panther_pipeline.tokenizer.labels import OTHER_LABEL, UNKNOWN_LABEL, bin_labels, category_label

if TYPE_CHECKING:
    import polars as pl

PADDING, UNKNOWN, FIRST_VALUE = 0, 1, 2
_Int64 = Annotated[int, Field(ge=-(2**63), lt=2**63)]
_Finite = Annotated[float, Field(allow_inf_nan=False)]


class FittedField(Config):
    """One fitted field: its categories by falling frequency, or the edges between its bins.

    Bin b holds the values v with edges[b-1] <= v < edges[b]; the outer bins are open.
    """

    name: str
    source: str
    column: str
    categories: list[str] | None  # text sources
    edges: list[_Int64] | list[_Finite] | None  # cents, microseconds, hours, weekdays; float64 for a number

    @model_validator(mode="after")
    def _check(self) -> "FittedField":
        if (self.categories is None) == (self.edges is None) or (self.categories is None) == (
            self.source in TEXT_SOURCES
        ):
            raise ValueError(f"field '{self.name}' needs categories or edges, as its source asks")
        if self.categories is not None and len(set(self.categories)) < len(self.categories):
            raise ValueError(f"field '{self.name}' has a category twice")
        if self.edges is not None and any(low >= high for low, high in pairwise(self.edges)):
            raise ValueError(f"field '{self.name}' has edges that do not increase")
        return self

    @property
    def size(self) -> int:
        """Number of attribute ids, with padding and unknown."""
        return len(self.labels)

    @cached_property
    def labels(self) -> list[str]:
        """What each attribute id is called; id 0 is the padding, never seen in an event."""
        if self.categories is not None:
            return ["[PAD]", OTHER_LABEL, *map(category_label, self.categories)]
        return ["[PAD]", UNKNOWN_LABEL, *bin_labels(self.source, self.edges)]

    @cached_property
    def _id_of_category(self) -> dict[str, int]:
        return {category: FIRST_VALUE + i for i, category in enumerate(self.categories or [])}

    def encode(self, values_N: "pl.Series") -> np.ndarray:
        """int32 (N,) attribute ids; null, NaN and unseen categories are 1."""
        if self.categories is not None:
            return self._encode_categories(values_N)
        known_N = (
            (values_N.is_not_null() & values_N.is_not_nan()) if values_N.dtype.is_float() else values_N.is_not_null()
        )
        bins_N = np.searchsorted(np.asarray(self.edges), values_N.fill_null(0).to_numpy(), side="right")
        return np.where(known_N.to_numpy(), FIRST_VALUE + bins_N, UNKNOWN).astype(np.int32)

    def encode_one(self, value: Any) -> int:
        """The attribute id of one value, the same as `encode` gives."""
        if self.categories is not None:
            return self._id_of_category.get(value, UNKNOWN)
        if value is None or value != value:  # NaN differs from itself
            return UNKNOWN
        return FIRST_VALUE + bisect_right(self.edges, value)

    def representative(self, attribute_id: int) -> Any:
        """A value that `encode_one` maps to `attribute_id`; None for unknown."""
        if attribute_id == UNKNOWN:
            return None
        index = attribute_id - FIRST_VALUE
        if self.categories is not None:
            return self.categories[index]
        return _inside_bin(self.edges, index)

    def _encode_categories(self, values_N: "pl.Series") -> np.ndarray:
        if not self.categories:
            return np.full(len(values_N), UNKNOWN, dtype=np.int32)
        ids = np.array(list(self._id_of_category.values()), dtype=np.int32)
        return values_N.replace_strict(self.categories, ids, default=UNKNOWN).fill_null(UNKNOWN).to_numpy()


def _inside_bin(edges: list, index: int) -> int | float:
    """A value of bin `index`: the middle of an inner bin, the nearest value of an open one."""
    if not edges:
        return 0
    if index == 0:
        return edges[0] - 1 if isinstance(edges[0], int) else math.nextafter(edges[0], -math.inf)
    if index == len(edges):
        return edges[-1]
    low, high = edges[index - 1], edges[index]
    if isinstance(low, int) and isinstance(high, int):
        return (low + high) // 2
    middle = low + (high - low) / 2
    return middle if low <= middle < high else low
