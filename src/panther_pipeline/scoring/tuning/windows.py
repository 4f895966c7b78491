"""Which rows of the task can share a forward pass: all whose as-of state lies in one window.

The windows are those of `cache.states`: a tuned state sees the events that a cached one sees.

Shape letters: R fit rows, r rows of a batch, W windows, B those of a batch, M states.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np

from panther_pipeline.cache.states import StateWindows, plan_windows
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.training.batches import shuffled_batches


@dataclass(frozen=True, kw_only=True)
class FitBatch:
    """Windows of one step, and the rows that read their states."""

    windows_B: np.ndarray  # int64
    rows_r: np.ndarray  # int64 rows of the task: first those with a history, then those without
    state_r: np.ndarray  # int64: which of the windows' states each row with a history reads


@dataclass(frozen=True, kw_only=True)
class FitWindows:
    """All windows of the fit rows."""

    plan: StateWindows
    rows_R: np.ndarray  # int64 rows of the task with a history, by the event they are as of
    state_R: np.ndarray  # int64: position of that event in plan.rows_M
    row_bounds_W1: np.ndarray  # int64: the rows of window w are rows_R[bounds[w]:bounds[w + 1]]
    bare_rows: np.ndarray  # int64 rows of the task that nothing precedes

    @classmethod
    def of(cls, rows: np.ndarray, as_of: np.ndarray, sequences: TokenSequences, max_events: int) -> Self:
        """Args:
        rows: int64 rows of the task to fit on.
        as_of: int64, for each of them the row of `sequences` that its embedding is the state of; -1 for none.
        sequences: all histories.
        max_events: longest history the backbone reads.
        """
        order = np.argsort(as_of, kind="stable")
        order = order[as_of[order] >= 0]
        states_M, state_R = np.unique(as_of[order], return_inverse=True)
        plan = plan_windows(sequences, states_M, max_events)
        row_bounds_W1 = np.searchsorted(state_R, plan.bounds_W1)
        return cls(
            plan=plan, rows_R=rows[order], state_R=state_R, row_bounds_W1=row_bounds_W1, bare_rows=rows[as_of < 0]
        )

    def __len__(self) -> int:
        return len(self.plan.starts_W)

    def epoch(
        self, batch_windows: int, epoch_windows: int | None, generator: np.random.Generator
    ) -> Iterator[FitBatch]:
        """The windows in random order, or as many of them as an epoch takes; rows without history spread evenly."""
        chosen = generator.permutation(len(self))[:epoch_windows]
        batches = shuffled_batches(self.plan.lengths_W[chosen], batch_windows, generator)
        bare = generator.permutation(self.bare_rows)[: round(len(self.bare_rows) * len(chosen) / len(self))]
        for index, bare_part in zip(batches, np.array_split(bare, len(batches)), strict=True):
            yield self._batch(chosen[index], bare_part)

    def _batch(self, windows_B: np.ndarray, bare_part: np.ndarray) -> FitBatch:
        first_state_B = np.cumsum(np.diff(self.plan.bounds_W1)[windows_B]) - np.diff(self.plan.bounds_W1)[windows_B]
        rows, states = [], []
        for window, first_state in zip(windows_B, first_state_B, strict=True):
            own = slice(self.row_bounds_W1[window], self.row_bounds_W1[window + 1])
            rows.append(self.rows_R[own])
            states.append(self.state_R[own] - self.plan.bounds_W1[window] + first_state)
        return FitBatch(windows_B=windows_B, rows_r=np.concatenate([*rows, bare_part]), state_r=np.concatenate(states))
