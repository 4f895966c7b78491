"""Resampling of users."""

import numpy as np
import pytest

from panther_pipeline.metrics.bootstrap import draw_user_weights, percentile_interval


def test_each_resample_draws_as_many_users_as_there_are():
    draws = list(draw_user_weights(50, 20, seed=0))
    assert len(draws) == 20
    assert all(draw.sum() == 50 and len(draw) == 50 for draw in draws)


def test_same_seed_draws_the_same_users():
    a, b, c = (np.array(list(draw_user_weights(30, 5, seed))) for seed in (1, 1, 2))
    assert (a == b).all()
    assert (a != c).any()


def test_interval_covers_the_truth_as_often_as_it_says():
    rng, hits = np.random.default_rng(0), 0
    for trial in range(200):
        user_means = rng.normal(0, 1, 60)
        draws = np.array(list(draw_user_weights(60, 200, trial)))
        low, high = percentile_interval(draws @ user_means / 60)
        hits += low <= 0 <= high
    assert 0.89 <= hits / 200 <= 0.99


def test_interval_leaves_out_undefined_resamples():
    values = np.concatenate([np.linspace(0, 1, 101), np.full(50, np.nan)])
    assert percentile_interval(values, 0.9) == pytest.approx((0.05, 0.95))
    assert percentile_interval(np.array([0.5, np.nan, np.nan])) == (None, None)
    assert percentile_interval(np.array([])) == (None, None)
