"""Drift is what has changed since training, not what a small group shows by chance."""

import numpy as np

from panther_pipeline.tokenizer.coverage import MOST_SHIFTED, _stability_index


def draw(rng, probs, num_events):
    return np.bincount(rng.choice(len(probs), num_events, p=probs), minlength=len(probs))


def test_small_groups_of_the_same_kind_show_no_drift():
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.full(60, 2.0))
    base = draw(rng, probs, 20_000)
    found = [_stability_index(draw(rng, probs, 200), base) for _ in range(200)]
    assert np.mean(found) < 0.05
    assert max(found) < MOST_SHIFTED


def test_shift_of_half_the_events_is_large():
    rng = np.random.default_rng(1)
    probs = np.full(20, 0.05)
    shifted = np.r_[0.525, np.full(19, 0.025)]
    assert _stability_index(draw(rng, shifted, 500), draw(rng, probs, 20_000)) > MOST_SHIFTED


def test_index_of_equal_shares_is_zero():
    assert _stability_index(np.array([0, 30, 70]), np.array([0, 300, 700])) == 0
