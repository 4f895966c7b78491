"""Our metrics against counting. Against scikit-learn: tests/promises/p25_*."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from panther_pipeline.metrics import curves
from panther_pipeline.metrics.curves import RankedRows

random_case = runpy.run_path(str(Path(__file__).parents[1] / "fixtures" / "scored_frauds.py"))["random_case"]
METRICS = [
    curves.average_precision, curves.roc_auc, curves.brier, curves.recall_at_share(0.1),
    curves.value_recall_at_share(0.3), curves.recall_at_false_positive_rate(0.2), curves.precision_at_share(0.1),
]  # fmt: skip


@pytest.mark.parametrize("metric", METRICS)
def test_weights_count_as_repeated_rows(metric):
    for seed in range(20):
        score, label, weight = random_case(seed)
        amount = np.random.default_rng(seed).integers(-50, 500, len(score))
        weighted = metric(RankedRows.of(score, label, amount).curve(weight))
        repeated = metric(RankedRows.of(*(np.repeat(x, weight) for x in (score, label, amount))).curve())
        assert weighted == pytest.approx(repeated, abs=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_metrics_do_not_depend_on_row_order(metric):
    score, label, weight = random_case(4)
    order = np.random.default_rng(0).permutation(len(score))
    one = metric(RankedRows.of(score, label).curve(weight))
    other = metric(RankedRows.of(score[order], label[order]).curve(weight[order]))
    assert one == pytest.approx(other, abs=1e-12)


def test_recall_at_share_counts_the_top_rows():
    score = np.arange(1000)[::-1] / 1000
    label = np.zeros(1000, dtype=int)
    label[[0, 5, 9, 10, 500]] = 1
    curve = RankedRows.of(score, label).curve()
    assert curves.recall_at_share(0.01)(curve) == pytest.approx(3 / 5)
    assert curves.recall_at_share(0.011)(curve) == pytest.approx(4 / 5)
    assert curves.recall_at_share(1.0)(curve) == 1.0


def test_precision_at_share_counts_frauds_among_the_top_rows():
    score, label = np.arange(1000)[::-1] / 1000, np.zeros(1000, dtype=int)
    label[[0, 5, 9, 10, 500]] = 1
    curve = RankedRows.of(score, label).curve()
    assert curves.precision_at_share(0.01)(curve) == pytest.approx(3 / 10)
    assert curves.precision_at_share(1.0)(curve) == pytest.approx(5 / 1000)
    honest = RankedRows.of(score, np.zeros(1000, dtype=int)).curve()
    assert np.isnan(curves.precision_at_share(0.01)(honest))


def test_recall_inside_a_tie_is_the_expected_one():
    curve = RankedRows.of(np.full(100, 0.5), np.repeat([1, 0], [10, 90])).curve()
    assert curves.recall_at_share(0.2)(curve) == pytest.approx(0.2)


def test_recall_at_false_positive_rate_stops_at_the_rate():
    label = np.array([1, 0, 1, 0, 1, 0, 0, 0, 0, 0])
    curve = RankedRows.of(np.linspace(1, 0, 10), label).curve()
    assert curves.recall_at_false_positive_rate(1 / 7)(curve) == pytest.approx(2 / 3)


def test_value_recall_weighs_frauds_by_amount():
    score, label, amount = np.array([0.9, 0.8, 0.1, 0.0]), np.array([1, 0, 1, 0]), np.array([100, 5, -300, 7])
    assert curves.value_recall_at_share(0.25)(RankedRows.of(score, label, amount).curve()) == pytest.approx(0.25)


def test_calibration_error_is_the_gap_of_each_bin():
    score = np.repeat([0.8, 0.1], 1000)
    label = np.concatenate([np.resize([1, 1, 1, 0, 0], 1000), np.resize([1] + [0] * 9, 1000)])
    error = curves.expected_calibration_error(RankedRows.of(score, label).curve())
    assert error == pytest.approx((0.2 + 0.0) / 2)


@pytest.mark.parametrize("label", [[0, 0, 0], []])
def test_metrics_without_fraud_are_undefined(label):
    curve = RankedRows.of(np.linspace(0, 1, len(label)), np.array(label, dtype=int)).curve()
    for metric in (m for m in METRICS if m is not curves.brier):
        assert np.isnan(metric(curve))
