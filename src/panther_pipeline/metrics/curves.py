"""What a ranking of rows catches and costs, at natural prevalence.

Weights are counts: a row of weight 2 counts as the row twice, which is what a bootstrap of users needs. Rows
of equal score form one block; a budget that ends inside a block takes the matching fraction of it, so that no
metric depends on the order of the rows. Neighbouring blocks without fraud are one block: nothing happens on
the way through them, and what is left is a few hundred blocks instead of one per row.

Shape letters: R rows, B blocks, by descending score.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

_NUM_BINS = 20  # of the expected calibration error, by rank


@dataclass(frozen=True, kw_only=True)
class RankedRows:
    """Rows sorted once by descending score; curves of any weights then cost one pass."""

    score_R: np.ndarray  # float64, descending
    label_R: np.ndarray  # float64, 0 or 1
    amount_R: np.ndarray  # float64, >= 0, any unit
    order_R: np.ndarray  # int64, original position of each row
    block_start_B: np.ndarray  # int64, first row of each block

    @classmethod
    def of(cls, score_R: np.ndarray, label_R: np.ndarray, amount_R: np.ndarray | None = None) -> "RankedRows":
        """Sort rows given in any order; amounts lose their sign, and are 1 when there are none."""
        order_R = np.argsort(-score_R, kind="stable")
        ranked_R = score_R[order_R].astype(np.float64)
        amount_R = np.ones(len(order_R)) if amount_R is None else np.abs(amount_R[order_R].astype(np.float64))
        ranked_label_R = label_R[order_R].astype(np.float64)
        return cls(
            score_R=ranked_R,
            label_R=ranked_label_R,
            amount_R=amount_R,
            order_R=order_R,
            block_start_B=_find_blocks(ranked_R, ranked_label_R),
        )

    def curve(self, weight_R: np.ndarray | None = None) -> "Curve":
        """The curve of these rows.

        Args:
            weight_R: weights >= 0 in the original order of the rows; None = 1 each.
        """
        weights_R = np.ones(len(self.order_R)) if weight_R is None else weight_R[self.order_R].astype(np.float64)
        return Curve(self, weights_R)


class Curve:
    """Weighted sums down to the end of each block, computed when first asked for."""

    def __init__(self, rows: RankedRows, weight_R: np.ndarray) -> None:
        self.rows = rows
        self.weight_R = weight_R  # in ranked order

    @cached_property
    def all_B(self) -> np.ndarray:
        return self._cumulate(self.weight_R)

    @cached_property
    def frauds_B(self) -> np.ndarray:
        return self._cumulate(self.weight_R * self.rows.label_R)

    @cached_property
    def legitimate_B(self) -> np.ndarray:
        return self.all_B - self.frauds_B

    @cached_property
    def lost_B(self) -> np.ndarray:
        """Amount of the frauds."""
        return self._cumulate(self.weight_R * self.rows.label_R * self.rows.amount_R)

    def _cumulate(self, values_R: np.ndarray) -> np.ndarray:
        if not len(values_R):
            return np.zeros(0)
        return np.cumsum(np.add.reduceat(values_R, self.rows.block_start_B))


Metric = Callable[[Curve], float]


def average_precision(curve: Curve) -> float:
    """Area under the precision-recall curve as a step function; NaN without frauds.

    Source: scikit-learn's average_precision_score, which gives the same number.
    """
    if _total(curve.frauds_B) == 0:
        return float("nan")
    seen_B = curve.all_B > 0
    precision_B = np.divide(curve.frauds_B, curve.all_B, out=np.zeros(len(seen_B)), where=seen_B)
    return float(np.sum(np.diff(curve.frauds_B, prepend=0.0) * precision_B) / curve.frauds_B[-1])


def roc_auc(curve: Curve) -> float:
    """Chance that a fraud outranks a legitimate row, ties counted half; NaN when a class is missing."""
    pairs = _total(curve.frauds_B) * _total(curve.legitimate_B)
    if pairs == 0:
        return float("nan")
    above_B = (curve.frauds_B + np.append(0.0, curve.frauds_B[:-1])) / 2
    return float(np.sum(np.diff(curve.legitimate_B, prepend=0.0) * above_B) / pairs)


def recall_at_share(share: float) -> Metric:
    """Share of the frauds among the top `share` of all rows."""
    return lambda curve: _gained(curve.all_B, curve.frauds_B, share)


def precision_at_share(share: float) -> Metric:
    """Share of frauds among the top `share` of all rows; NaN without frauds."""

    def measure(curve: Curve) -> float:
        flagged = share * _total(curve.all_B)
        return recall_at_share(share)(curve) * _total(curve.frauds_B) / flagged if flagged else float("nan")

    return measure


def value_recall_at_share(share: float) -> Metric:
    """Share of the amount of all frauds that lies among the top `share` of all rows."""
    return lambda curve: _gained(curve.all_B, curve.lost_B, share)


def flagged_share(curve: Curve, share: float) -> np.ndarray:
    """How much of each block lies among the top `share` of all rows, float64 (B,) in [0, 1]."""
    before_B = np.append(0.0, curve.all_B[:-1])
    size_B = curve.all_B - before_B
    left_B = np.clip(share * _total(curve.all_B) - before_B, 0, size_B)
    return np.divide(left_B, size_B, out=np.zeros(len(size_B)), where=size_B > 0)


def recall_at_false_positive_rate(rate: float) -> Metric:
    """Share of the frauds that is caught when `rate` of the legitimate rows is flagged."""
    return lambda curve: _gained(curve.legitimate_B, curve.frauds_B, rate)


def brier(curve: Curve) -> float:
    """Mean squared distance of probability and outcome."""
    total = curve.weight_R.sum()
    rows = curve.rows
    return float(np.sum((rows.score_R - rows.label_R) ** 2 * curve.weight_R) / total) if total > 0 else float("nan")


def expected_calibration_error(curve: Curve) -> float:
    """Mean gap between predicted and observed share of fraud over 20 bins of equally many rows.

    Bins of equal width would put 99 % of the rows of a rare class into the first one.
    """
    total = curve.weight_R.sum()
    if total <= 0:
        return float("nan")
    bin_R = np.arange(len(curve.weight_R)) * _NUM_BINS // len(curve.weight_R)
    gap_R = curve.weight_R * (curve.rows.score_R - curve.rows.label_R)
    return float(np.abs(np.bincount(bin_R, weights=gap_R)).sum() / total)


def _find_blocks(score_R: np.ndarray, label_R: np.ndarray) -> np.ndarray:
    """First rows of the blocks of equal scores, neighbours without fraud merged."""
    start_B = np.flatnonzero(np.append(True, score_R[1:] != score_R[:-1])[: len(score_R)])
    if not len(start_B):
        return start_B
    has_fraud_B = np.add.reduceat(label_R, start_B) > 0
    return start_B[np.append(True, has_fraud_B[1:] | has_fraud_B[:-1])]


def _total(sums_B: np.ndarray) -> float:
    return float(sums_B[-1]) if len(sums_B) else 0.0


def _gained(spent_B: np.ndarray, gained_B: np.ndarray, share: float) -> float:
    """The share of all gain that `share` of all spending buys, blocks in fractions; NaN without gain."""
    if _total(spent_B) <= 0 or _total(gained_B) <= 0:
        return float("nan")
    budget = share * spent_B[-1]
    block = int(np.searchsorted(spent_B, budget, side="right"))  # the first one not covered
    if block == len(spent_B):
        return 1.0
    spent, gained = (spent_B[block - 1], gained_B[block - 1]) if block else (0.0, 0.0)
    fraction = (budget - spent) / (spent_B[block] - spent)
    return float((gained + fraction * (gained_B[block] - gained)) / gained_B[-1])
