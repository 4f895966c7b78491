"""What a yardstick needs to know of any task that classifies rows."""

from typing import Protocol

import numpy as np


class LabelledRows(Protocol):
    """Rows of a task in parts: to fit on, to calibrate and choose settings on, to judge.

    Shape letters: R rows of the task.
    """

    @property
    def label_R(self) -> np.ndarray:
        """0 or 1."""

    @property
    def prior_shift(self) -> float:
        """What to add to the logit of a model of the fit rows where those are a sample; 0 where they are all."""

    @property
    def can_be_fitted(self) -> bool:
        """Whether the fit rows and the calibration rows hold both classes."""

    def rows(self, part: int) -> np.ndarray:
        """int64 positions of one part's rows: FIT, CALIBRATION or JUDGED of `scoring.task`."""
