"""Counts and sums over windows of time, per group, exact and without a loop over rows.

Within a group the events are sorted by time, so every window [t-w, t) is a slice: two binary searches find
its ends, prefix sums of integers give its total. Integers make the result exact: no future event can move a
bit of it through rounding, because sums wrap modulo 2^64 and differences of wrapped sums are still right.

Shape letters: N events, Q queries, G groups.
"""

import numpy as np
import polars as pl

_NO_GROUP = -1
_HALF_BITS = 32
LARGEST_SQUARED_CENTS = 2**31 - 1  # above it the square of an amount would not fit the exact sum


def code_groups(values_N: pl.Series) -> np.ndarray:
    """Number the distinct values 0..G-1; null becomes -1, which belongs to no group.

    Returns:
        int64 (N,). The numbers have no meaning beyond equality.
    """
    codes_N = values_N.rank("dense").cast(pl.Int64).fill_null(0).to_numpy()
    return codes_N - 1


class Timeline:
    """Instants replaced by their rank, so that (group, time) fits one int64 for any ledger."""

    def __init__(self, *times_us: np.ndarray) -> None:
        self._instants = np.unique(np.concatenate(times_us))
        self.size = len(self._instants) + 1

    def rank(self, time_us_Q: np.ndarray) -> np.ndarray:
        """How many distinct instants lie strictly before each one: int64 (Q,) in [0, size)."""
        return np.searchsorted(self._instants, time_us_Q)


class GroupedTimes:
    """Events of each group in order of time, ready for "which of them lie before t" questions."""

    def __init__(self, group_N: np.ndarray, rank_N: np.ndarray, size: int, keep_N: np.ndarray | None = None) -> None:
        """Sort the events once.

        Args:
            group_N: int64 group of each event; -1 = in no group, left out.
            rank_N: int64 rank of the instant by which windows are cut.
            size: `Timeline.size` of the ranks.
            keep_N: bool; only these events count. None = all.
        """
        member_N = group_N != _NO_GROUP
        rows = np.flatnonzero(member_N if keep_N is None else member_N & keep_N)
        self._stride = size
        key = group_N[rows] * size + rank_N[rows]
        order = np.argsort(key, kind="stable")
        self._keys, self._rows = key[order], rows[order]

    def first_at_or_after(self, group_Q: np.ndarray, rank_Q: np.ndarray) -> np.ndarray:
        """Position, in sorted order, of the group's first event at or after an instant.

        Returns:
            int64 (Q,), a border for `prefix_sums` and `row_before`; meaningless (but harmless) for group -1.
        """
        return np.searchsorted(self._keys, group_Q * self._stride + rank_Q)

    def prefix_sums(self, values_N: np.ndarray) -> np.ndarray:
        """Prefix sums (one more than events) of an int64 column in sorted order."""
        return np.concatenate(([0], np.cumsum(values_N[self._rows], dtype=np.int64)))

    def row_before(self, position_Q: np.ndarray, group_Q: np.ndarray) -> np.ndarray:
        """Row of the group's last event before a border, or -1 where there is none."""
        if not len(self._rows):
            return np.full(len(position_Q), -1)
        index_Q = np.maximum(position_Q - 1, 0)
        found_Q = (position_Q > 0) & (self._keys[index_Q] // self._stride == group_Q) & (group_Q != _NO_GROUP)
        return np.where(found_Q, self._rows[index_Q], -1)


def split_square(cents_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The square of each amount as (high, low) halves of 32 bits: sums of millions of them stay exact."""
    clipped_N = np.clip(cents_N, -LARGEST_SQUARED_CENTS, LARGEST_SQUARED_CENTS)
    square_N = clipped_N * clipped_N
    return square_N >> _HALF_BITS, square_N & (2**_HALF_BITS - 1)


def join_square(high_Q: np.ndarray, low_Q: np.ndarray) -> np.ndarray:
    """float64 sum of squares from the sums of the two halves."""
    return high_Q.astype(np.float64) * 2.0**_HALF_BITS + low_Q
