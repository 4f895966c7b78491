"""Platt scaling: a straight line on the logit that makes scores probabilities.

Source: Platt, "Probabilistic outputs for support vector machines" (1999).
"""

from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression

_EDGE = 1e-7  # keeps the logit of a score of 0 or 1 finite


@dataclass(frozen=True, kw_only=True)
class PlattScaler:
    """sigmoid(slope · logit + intercept); the slope is positive, so the ranking never changes."""

    slope: float
    intercept: float

    @classmethod
    def fit(cls, logit_R: np.ndarray, label_R: np.ndarray) -> "PlattScaler":
        """Fit on rows that no model was fitted on.

        Args:
            logit_R: raw logits.
            label_R: 0 or 1; both must occur.
        """
        # Practically unpenalised; the tiny ridge keeps perfectly separated rows finite.
        line = LogisticRegression(C=1e4).fit(logit_R.reshape(-1, 1).astype(np.float64), label_R)
        slope, intercept = float(line.coef_[0, 0]), float(line.intercept_[0])
        if slope > 0:
            return cls(slope=slope, intercept=intercept)
        # The ranking was worse than chance on these rows: trust only their share of positives.
        share = float(np.clip(label_R.mean(), _EDGE, 1 - _EDGE))
        return cls(slope=1e-3, intercept=float(np.log(share / (1 - share)) - 1e-3 * logit_R.mean()))

    def apply(self, logit_R: np.ndarray) -> np.ndarray:
        """float64 probabilities."""
        return sigmoid(self.slope * logit_R.astype(np.float64) + self.intercept)


def sigmoid(logit_R: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * logit_R))


def to_logit(probability_R: np.ndarray) -> np.ndarray:
    """ln(p / (1 - p)), with p kept off 0 and 1."""
    p_R = np.clip(probability_R.astype(np.float64), _EDGE, 1 - _EDGE)
    return np.log(p_R) - np.log1p(-p_R)
