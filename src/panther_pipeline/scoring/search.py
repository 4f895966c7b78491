"""Settings tried on the calibration rows, as many for the trees as for the head.

The head chooses its epoch there as well, which the trees do not: what is left of an advantage is the head's.

Shape letters: R rows of the task.
"""

import logging
from collections.abc import Callable
from typing import Any, Self, TypeVar

import numpy as np
from pydantic import Field, model_validator
from sklearn.metrics import average_precision_score
from tqdm import tqdm

from panther_pipeline.config import Config
from panther_pipeline.scoring.rows import LabelledRows
from panther_pipeline.scoring.task import CALIBRATION

logger = logging.getLogger(__name__)


class Searchable(Config):
    """A block that may name other settings of itself."""

    search: list[dict[str, Any]]  # each overrides keys of this block; the best on the calibration rows is kept
    seeds: list[int] = Field(min_length=1)  # the first one is that of the search

    @model_validator(mode="after")
    def _build_candidates(self) -> Self:
        fixed = sorted({"seeds", "search"} & {key for changes in self.search for key in changes})
        if fixed:
            raise ValueError(f"search must not change {', '.join(fixed)}: every setting is tried with the first seed")
        self.candidates()  # raises where one is no configuration, before anything runs
        return self

    def candidates(self) -> list[Self]:
        """The settings to try: those of `search`, or this one alone."""
        own = self.model_dump() | {"search": []}
        return [type(self).model_validate(_override(own, changes)) for changes in self.search] or [self]


C = TypeVar("C", bound=Searchable)
F = TypeVar("F")


def fit_seeds(
    name: str, config: C, task: LabelledRows, fit: Callable[[C, int], F], score: Callable[[F], np.ndarray]
) -> list[F]:
    """One fit per seed, with the setting of the highest average precision on the calibration rows.

    Of equals the earlier setting is kept. A single setting is not tried.

    Args:
        name: what is fitted, for log and progress.
        config: names the settings and the seeds; the first seed is that of the search.
        task: its calibration rows are later than its fit rows and earlier than the test.
        fit: fits one setting with one seed.
        score: scores of all rows, (R,), of what was fitted.
    """
    candidates, first_seed = config.candidates(), config.seeds[0]
    with tqdm(total=len(candidates) + len(config.seeds) - 1, desc=name, unit="fit") as bar:

        def fit_one(setting: C, seed: int) -> F:
            fitted = fit(setting, seed)
            bar.update()
            return fitted

        best, first = candidates[0], fit_one(candidates[0], first_seed)
        if len(candidates) > 1:
            rows = task.rows(CALIBRATION)
            tried = [_precision(task, rows, score(first))]
            for setting in candidates[1:]:
                fitted = fit_one(setting, first_seed)
                tried.append(_precision(task, rows, score(fitted)))
                if tried[-1] > max(tried[:-1]):
                    best, first = setting, fitted
            _log(name, config, tried)
        return [first, *(fit_one(best, seed) for seed in config.seeds[1:])]


def _precision(task: LabelledRows, rows: np.ndarray, score_R: np.ndarray) -> float:
    return float(average_precision_score(task.label_R[rows], score_R[rows]))


def _log(name: str, config: Searchable, tried: list[float]) -> None:
    found = ", ".join(
        f"{changes or 'as it is'}: {precision:.4f}" for changes, precision in zip(config.search, tried, strict=True)
    )
    logger.info(
        "%s: average precision on the calibration rows: %s; number %d is kept", name, found, int(np.argmax(tried)) + 1
    )


def _override(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Changes of a nested block leave its other keys as they are."""
    merged = dict(values)
    for key, change in changes.items():
        nested = isinstance(change, dict) and isinstance(values.get(key), dict)
        merged[key] = _override(values[key], change) if nested else change
    return merged
