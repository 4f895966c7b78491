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


def choose_setting(name: str, config: C, task: LabelledRows, fit_and_score: Callable[[C], np.ndarray]) -> C:
    """The setting with the highest average precision on the calibration rows; the earlier one of equals.

    Args:
        name: what is tuned, for the log.
        config: names the settings.
        task: its calibration rows are later than its fit rows and earlier than the test.
        fit_and_score: fits one setting with its first seed; scores of all rows, (R,).
    """
    candidates = config.candidates()
    if len(candidates) == 1:
        return candidates[0]
    rows = task.rows(CALIBRATION)
    found = [average_precision_score(task.label_R[rows], fit_and_score(setting)[rows]) for setting in candidates]
    best = int(np.argmax(found))
    tried = ", ".join(
        f"{changes or 'as it is'}: {precision:.4f}" for changes, precision in zip(config.search, found, strict=True)
    )
    logger.info("%s: average precision on the calibration rows: %s; number %d is kept", name, tried, best + 1)
    return candidates[best]


def _override(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Changes of a nested block leave its other keys as they are."""
    merged = dict(values)
    for key, change in changes.items():
        nested = isinstance(change, dict) and isinstance(values.get(key), dict)
        merged[key] = _override(values[key], change) if nested else change
    return merged
