"""Resampling of users."""

import numpy as np
import pytest

from panther_pipeline.metrics.bootstrap import bootstrap_means, draw_user_weights, percentile_interval, resample_means


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


def test_interval_of_means_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        # Users differ and have 12 events each: an interval over events would cover far less than 95 %.
        taste = rng.beta(2, 2, 60)
        users = np.repeat(np.arange(60), 12)
        hits = (rng.random(len(users)) < taste[users]).astype(float)
        _, low, high = bootstrap_means(hits[:, None], users, num_resamples=300, seed=trial)
        covered += low[0] <= 0.5 <= high[0]
    assert 0.88 <= covered / 200 <= 0.99


def test_bootstrap_resamples_users_not_events():
    users = np.repeat(np.arange(50), 100)
    hits = (users % 2).astype(float)[:, None]  # all events of a user agree: 50 facts, not 5000
    mean, low, high = bootstrap_means(hits, users, num_resamples=500, seed=0)
    assert mean[0] == 0.5
    assert high[0] - low[0] == pytest.approx(4 * 0.5 / np.sqrt(50), rel=0.25)


def test_bootstrap_weighs_users_by_their_events():
    mean, *_ = bootstrap_means(
        np.array([[1.0], [0.0], [0.0], [0.0]]), np.array([7, 9, 9, 9]), num_resamples=100, seed=0
    )
    assert mean[0] == 0.25


def test_bootstrap_of_a_difference_is_paired():
    rng = np.random.default_rng(1)
    users = np.repeat(np.arange(80), 5)
    first = rng.random(400) + rng.random(80)[users]
    both = np.column_stack([first, first - 0.1, first - (first - 0.1)])
    _, low, high = bootstrap_means(both, users, num_resamples=200, seed=0)
    assert high[0] - low[0] > 0.05
    assert high[2] - low[2] < 1e-9


def test_bootstrap_depends_on_its_seed_alone():
    values, users = np.random.default_rng(0).random((50, 2)), np.arange(50) // 5
    first = bootstrap_means(values, users, num_resamples=100, seed=3)
    np.random.seed(1)
    second = bootstrap_means(values, users, num_resamples=100, seed=3)
    assert all((a == b).all() for a, b in zip(first, second, strict=True))


def test_bootstrap_of_one_user_has_no_interval():
    mean, low, high = bootstrap_means(np.ones((3, 1)), np.zeros(3, int), num_resamples=100, seed=0)
    assert mean[0] == 1.0
    assert np.isnan(low[0])
    assert np.isnan(high[0])


def test_bootstrap_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="no targets"):
        bootstrap_means(np.ones((0, 1)), np.zeros(0, int), num_resamples=100, seed=0)


def test_both_ways_to_resample_draw_the_same_users():
    rng = np.random.default_rng(2)
    users, values = rng.integers(0, 40, 300), rng.random(300)
    _, means = resample_means(values[:, None], users, num_resamples=50, seed=9)
    draws = draw_user_weights(len(np.unique(users)), 50, seed=9)
    position = np.unique(users, return_inverse=True)[1]
    assert means[:, 0] == pytest.approx([np.average(values, weights=draw[position]) for draw in draws])
