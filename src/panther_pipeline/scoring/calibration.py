"""Calibration: an increasing map of the logit that makes scores probabilities and leaves their order as it is.

Platt scaling is a straight line: two numbers, steady with few frauds. Isotonic regression is any increasing curve: it
repairs what a line cannot, and needs more frauds for it.

Sources: Platt, "Probabilistic outputs for support vector machines" (1999); Zadrozny & Elkan, "Transforming classifier
scores into accurate multiclass probability estimates" (2002).

Shape letters: R rows, K knots.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from panther_pipeline.scoring.networks.config import CalibrationKind

_EDGE = 1e-7  # keeps the logit of a score of 0 or 1 finite
_TILT = 1e-3  # calibrated logit per raw logit within a step: keeps its order, moves odds by 0.1 % per unit
_BEYOND = 1e3  # raw logits outside the calibration rows for which the order is kept as well


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

    @property
    def buffers(self) -> dict[str, np.ndarray]:
        """What `HeadNetwork.set_calibration` takes."""
        return {"platt_slope": np.float32(self.slope), "platt_intercept": np.float32(self.intercept)}


@dataclass(frozen=True, kw_only=True, eq=False)
class IsotonicScaler:
    """sigmoid of a piecewise linear, strictly increasing curve through the knots.

    Isotonic regression gives steps, and all rows of a step the same probability: a ranking would lose its order there.
    So the steps are tilted by a thousandth of the raw logit, in float64, where distinct float32 logits stay distinct.
    """

    logits_K: np.ndarray  # float64, strictly increasing
    values_K: np.ndarray  # float64 calibrated logits, strictly increasing

    @classmethod
    def fit(cls, logit_R: np.ndarray, label_R: np.ndarray) -> "IsotonicScaler":
        """Fit on rows that no model was fitted on.

        A fraud counts as (P + 1) / (P + 2) and another row as 1 / (N + 2), with P frauds and N others: Platt's targets,
        by which no step has a probability of 0 or 1, however few frauds there are.

        Args:
            logit_R: raw logits.
            label_R: 0 or 1; one of them may be missing.

        Source: Platt 1999, section 2.2, for the targets.
        """
        logit_R = logit_R.astype(np.float64)
        num_frauds = int((label_R == 1).sum())
        target_R = np.where(label_R == 1, (num_frauds + 1) / (num_frauds + 2), 1 / (len(label_R) - num_frauds + 2))
        steps = IsotonicRegression().fit(logit_R, target_R)
        knots_K = np.concatenate(
            [steps.X_thresholds_[:1] - _BEYOND, steps.X_thresholds_, steps.X_thresholds_[-1:] + _BEYOND]
        )
        flat_K = to_logit(np.pad(steps.y_thresholds_, 1, mode="edge"))
        return cls(logits_K=knots_K, values_K=flat_K + _TILT * (knots_K - logit_R.mean()))

    def apply(self, logit_R: np.ndarray) -> np.ndarray:
        """float64 probabilities."""
        return sigmoid(np.interp(logit_R.astype(np.float64), self.logits_K, self.values_K))

    @property
    def buffers(self) -> dict[str, np.ndarray]:
        """What `HeadNetwork.set_calibration` takes."""
        return {"isotonic_logits_K": self.logits_K, "isotonic_values_K": self.values_K}


def fit_scaler(kind: CalibrationKind, logit_R: np.ndarray, label_R: np.ndarray) -> PlattScaler | IsotonicScaler:
    """The scaler of this kind, fitted on rows that no model was fitted on."""
    return {"platt": PlattScaler, "isotonic": IsotonicScaler}[kind].fit(logit_R, label_R)


def sigmoid(logit_R: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * logit_R))


def to_logit(probability_R: np.ndarray) -> np.ndarray:
    """ln(p / (1 - p)), with p kept off 0 and 1."""
    p_R = np.clip(probability_R.astype(np.float64), _EDGE, 1 - _EDGE)
    return np.log(p_R) - np.log1p(-p_R)
