"""P25: our metrics are scikit-learn's to 1e-12, on 200 random cases with ties, weights, one rare class, and one class.

What scikit-learn lacks (recall at a budget, hits) is held against counting; the tests of `metrics/` go on from there.
"""

import runpy
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, ndcg_score, roc_auc_score
from sklearn.metrics import top_k_accuracy_score as hit_rate

from panther_pipeline.metrics import curves, ranking
from panther_pipeline.metrics.curves import RankedRows

NUM_CASES, BOUND = 200, 1e-12
THEIRS = {
    "average_precision": (curves.average_precision, average_precision_score),
    "roc_auc": (curves.roc_auc, roc_auc_score),
    "brier": (curves.brier, brier_score_loss),
}
random_case = runpy.run_path(str(Path(__file__).parents[1] / "fixtures" / "scored_frauds.py"))["random_case"]


def distance(seed: int) -> float:
    score, label, weight = random_case(seed)
    curve = RankedRows.of(score, label).curve(weight)
    return max(abs(ours(curve) - theirs(label, score, sample_weight=weight)) for ours, theirs in THEIRS.values())


def draw_ranking(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores without ties, the candidate that came, and its place."""
    rng = np.random.default_rng((26, seed))
    num, size = int(rng.integers(2, 50)), int(rng.integers(12, 60))
    score = rng.permuted(np.tile(np.arange(size) / size, (num, 1)), axis=1)
    came = rng.integers(0, size, num)
    return score, came, (score > score[np.arange(num), came][:, None]).sum(axis=1) + 1


def test_fraud_metrics_equal_scikit_learn():
    worst = max(distance(seed) for seed in range(NUM_CASES))
    print(f"\nP25 fraud metrics {worst:.1e} from scikit-learn at most in {NUM_CASES} cases / {BOUND:.0e}")
    assert worst <= BOUND


def test_ranking_metrics_equal_scikit_learn():
    worst = 0.0
    for seed in range(NUM_CASES):
        score, came, rank = draw_ranking(seed)
        all_labels = np.arange(score.shape[1])
        relevant = np.eye(score.shape[1])[came]
        pairs = [(ranking.hit_at(rank, k).mean(), hit_rate(came, score, k=k, labels=all_labels)) for k in (1, 5, 10)]
        pairs.append((ranking.ndcg_at(rank, 10).mean(), ndcg_score(relevant, score, k=10)))
        worst = max(worst, *(abs(ours - theirs) for ours, theirs in pairs))
    print(f"\nP25 ranking metrics {worst:.1e} from scikit-learn at most in {NUM_CASES} cases / {BOUND:.0e}")
    assert worst <= BOUND


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_is_undefined_where_it_is(label):
    score, _, weight = random_case(1)
    curve = RankedRows.of(score, np.full(len(score), label)).curve(weight)
    assert np.isnan(curves.roc_auc(curve))
    assert np.isnan(curves.average_precision(curve)) == (label == 0)
    assert curves.brier(curve) == pytest.approx(np.average((score - label) ** 2, weights=weight), abs=BOUND)


def test_guard_notices_that_ties_are_broken_by_order(monkeypatch):
    stock = RankedRows.of

    def one_block_per_row(score_R, label_R, amount_R=None):
        # The same ranking, its ties decided by the order of the rows.
        return stock(score_R - np.arange(len(score_R)) * 1e-9, label_R, amount_R)

    monkeypatch.setattr(RankedRows, "of", one_block_per_row)
    assert max(distance(seed) for seed in range(20)) > BOUND
