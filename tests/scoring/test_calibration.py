"""Platt scaling."""

import numpy as np
import pytest

from panther_pipeline.scoring.calibration import PlattScaler, sigmoid, to_logit


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
