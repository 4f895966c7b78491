"""Counts that grow batch by batch: how often each value, and each tuple of attribute ids, occurs.

Shape letters: N events, F token attributes, T distinct tuples.
"""

from collections.abc import Sequence
from typing import Self

import numpy as np
import polars as pl

from panther_pipeline.tokenizer.vocabulary import code_strides

_MERGE_ROWS = 1 << 22  # counted rows that wait before they are merged


class ValueCounter:
    """How often each value of a field occurs; memory grows with the distinct values, not with the events."""

    def __init__(self) -> None:
        self._parts: list[pl.DataFrame] = []
        self._waiting = 0

    def add(self, values: pl.Series) -> None:
        """Count a batch; nulls are left out."""
        part = values.alias("value").drop_nulls().value_counts(name="count").cast({"count": pl.Int64})
        self._parts.append(part)
        self._waiting += part.height
        if self._waiting > _MERGE_ROWS:
            self._parts = [self.counts()]
            self._waiting = 0

    def counts(self) -> pl.DataFrame:
        """value, count (int64); in no particular order."""
        if not self._parts:
            return pl.DataFrame(schema={"value": pl.Null, "count": pl.Int64})
        if len(self._parts) == 1:
            return self._parts[0]
        return pl.concat(self._parts).group_by("value").agg(pl.col("count").sum())


class TupleCounter:
    """How often each combination of attribute ids occurs."""

    def __init__(self, sizes_F: np.ndarray) -> None:
        self.sizes_F = sizes_F
        self.strides_F = code_strides(sizes_F)
        self.num_events = 0
        self._codes_T = np.zeros(0, dtype=np.int64)
        self._counts_T = np.zeros(0, dtype=np.int64)

    @classmethod
    def of(cls, attribute_ids_NF: np.ndarray, sizes: Sequence[int]) -> Self:
        """The tuples of attribute ids that fit into memory."""
        counter = cls(np.asarray(sizes, dtype=np.int64))
        counter.add(attribute_ids_NF)
        return counter

    @property
    def num_tuples(self) -> int:
        return len(self._codes_T)

    def add(self, attribute_ids_NF: np.ndarray) -> None:
        """Count a batch of attribute ids."""
        codes, counts = np.unique(attribute_ids_NF.astype(np.int64) @ self.strides_F, return_counts=True)
        self.num_events += len(attribute_ids_NF)
        merged, index = np.unique(np.concatenate([self._codes_T, codes]), return_inverse=True)
        totals = np.zeros(len(merged), dtype=np.int64)
        np.add.at(totals, index, np.concatenate([self._counts_T, counts]))
        self._codes_T, self._counts_T = merged, totals

    def tuples(self) -> tuple[np.ndarray, np.ndarray]:
        """int64 codes (T,), ascending, and their counts (T,)."""
        return self._codes_T, self._counts_T
