"""Where a grid stands, on the console."""

import logging
import time

from panther_pipeline.ablation.grid import Grid, PlannedRun

logger = logging.getLogger(__name__)


class Progress:
    """Says which run is next, what came of it, and how long the rest will take at the pace so far."""

    def __init__(self, grid: Grid, missing: set[str]) -> None:
        """Args: missing: the runs that have to be trained, as texts."""
        self._grid = grid
        self._missing = set(missing)
        self._num_trained = 0
        self._started = time.perf_counter()
        self._seconds = 0.0
        logger.info(
            "%d variants with %d seeds: %d runs to train, %d finished before",
            len(grid.variants), len(grid.config.seeds), len(missing), len(grid.runs) - len(missing),
        )  # fmt: skip

    def start(self, run: PlannedRun, is_trained: bool) -> None:
        """Args: is_trained: by an earlier process, or by another one since."""
        if is_trained:
            self._missing.discard(str(run))
        number = 1 + self._grid.variants.index(run.variant)
        what = "finished before" if is_trained else "training"
        logger.info("variant %d/%d %s: %s", number, len(self._grid.variants), run, what)
        self._started = time.perf_counter()

    def end(self, run: PlannedRun, outcome: str) -> None:
        """A run that was trained is over; of one that was finished before nothing more is said."""
        if str(run) not in self._missing:
            return
        self._missing.remove(str(run))
        self._num_trained += 1
        self._seconds += time.perf_counter() - self._started
        left_min = len(self._missing) * self._seconds / self._num_trained / 60
        logger.info("%s: %s; %d runs left, about %.0f min", run, outcome, len(self._missing), left_min)
