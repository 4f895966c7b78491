"""Platt scaling and isotonic calibration."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from panther_pipeline.metrics.curves import RankedRows, brier, expected_calibration_error
from panther_pipeline.scoring.calibration import IsotonicScaler, PlattScaler, fit_scaler, sigmoid, to_logit


def test_platt_recovers_a_known_line():
    rng = np.random.default_rng(0)
    logit = rng.normal(-2, 2, 40_000)
    label = rng.random(40_000) < sigmoid(0.5 * logit + 1)
    scaler = PlattScaler.fit(logit, label.astype(int))
    assert (scaler.slope, scaler.intercept) == pytest.approx((0.5, 1.0), abs=0.05)


def test_platt_never_turns_the_ranking_round():
    logit = np.linspace(-3, 3, 200)
    scaler = PlattScaler.fit(logit, (logit < -1).astype(int))
    probability = scaler.apply(logit)
    assert (np.diff(probability) > 0).all()
    assert probability.mean() == pytest.approx((logit < -1).mean(), abs=0.01)


def test_mean_of_calibrated_scores_is_the_share_of_frauds():
    rng = np.random.default_rng(1)
    logit = rng.normal(3, 1, 5000)
    label = (rng.random(5000) < 0.02).astype(int)
    assert PlattScaler.fit(logit, label).apply(logit).mean() == pytest.approx(label.mean(), abs=1e-3)


def test_sigmoid_and_logit_are_inverse_and_finite():
    p = np.array([0.0, 1e-4, 0.5, 1.0])
    assert np.isfinite(to_logit(p)).all()
    np.testing.assert_allclose(sigmoid(to_logit(p)), p, atol=2e-7)
    assert sigmoid(np.array([-1e4, 1e4])).tolist() == [0.0, 1.0]


def miscalibrated(seed: int, num: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Float32 logits whose probability jumps from 0.5 % to 30 %, where no line follows."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(-2, 2, num).astype(np.float32)
    return logit, (rng.random(num) < np.where(logit < 0.5, 0.005, 0.3)).astype(np.int8)


def test_isotonic_is_better_calibrated_where_no_line_fits():
    fresh, label = miscalibrated(1)
    for metric in (expected_calibration_error, brier):
        platt, isotonic = (
            metric(RankedRows.of(fit_scaler(kind, *miscalibrated(0)).apply(fresh), label).curve())
            for kind in ("platt", "isotonic")
        )
        assert isotonic < (0.5 if metric is expected_calibration_error else 1) * platt


def test_isotonic_keeps_the_order_of_every_two_logits():
    logit, label = miscalibrated(0)
    scaler = IsotonicScaler.fit(logit, label)
    far = np.array([-900, -50, 50, 900], dtype=np.float32)
    everywhere = np.unique(np.concatenate([logit, np.nextafter(logit, np.float32(9)), far[1:3]]))
    probability = scaler.apply(everywhere)
    assert (np.diff(probability) > 0).all()
    assert (np.diff(scaler.apply(far)) > 0).all()
    assert probability.min() > 0
    assert probability.max() < 1
    assert average_precision_score(label, scaler.apply(logit)) == average_precision_score(label, logit)


def test_tilt_leaves_the_probability_of_a_step():
    logit, label = miscalibrated(0)
    step = IsotonicScaler.fit(logit, label).apply(np.array([-4.0, -2.0, 2.0]))
    np.testing.assert_allclose(step, [0.005, 0.005, 0.3], rtol=0.35)
    assert IsotonicScaler.fit(logit, label).apply(logit).mean() == pytest.approx(label.mean(), rel=0.01)


@pytest.mark.parametrize("num_frauds", [0, 1, 2, 40])
def test_isotonic_stays_within_the_targets_when_one_class_is_rare_or_missing(num_frauds):
    logit = np.linspace(-3, 3, 40).astype(np.float32)
    label = (np.arange(40) >= 40 - num_frauds).astype(np.int8)
    probability = IsotonicScaler.fit(logit, label).apply(logit)
    assert (np.diff(probability) > 0).all()
    low, high = 1 / (40 - num_frauds + 2), (num_frauds + 1) / (num_frauds + 2)
    assert probability.min() >= low * 0.99
    assert probability.max() <= max(low, high) * 1.01


def test_isotonic_of_a_single_logit_is_the_share_of_frauds():
    scaler = IsotonicScaler.fit(np.zeros(100, dtype=np.float32), (np.arange(100) < 10).astype(np.int8))
    assert scaler.apply(np.zeros(1))[0] == pytest.approx((10 * 11 / 12 + 90 / 92) / 100)
    assert np.diff(scaler.apply(np.array([-1.0, 0.0, 1.0]))).min() > 0
