"""Which attribute foretells least."""

import numpy as np
import pytest

from panther_pipeline.tokenizer import information
from panther_pipeline.tokenizer.information import measure_information, mutual_information


def test_independent_columns_share_nothing():
    a, b, shuffled = np.random.default_rng(0).integers(0, 20, (3, 5000))
    assert mutual_information(a, b, shuffled) < 0.01


def test_a_copy_shares_its_entropy():
    ids = np.repeat(np.arange(4), 500)
    shuffled = np.random.default_rng(0).permutation(ids)
    assert mutual_information(ids, ids, shuffled) == pytest.approx(np.log(4), abs=0.01)


def test_many_values_alone_are_no_information():
    rng = np.random.default_rng(0)
    terminal, phase = rng.integers(0, 500, 4000), np.arange(4000) % 3
    nats = measure_information(np.stack([terminal, phase], axis=1), np.arange(4000) > 0)
    assert nats[0] < 0.2 * nats[1]


def test_large_tables_are_counted_like_small_ones(monkeypatch):
    ids = np.random.default_rng(1).integers(1, 9, (500, 3))
    follows = np.arange(500) % 10 > 0
    small = measure_information(ids, follows)
    monkeypatch.setattr(information, "_MAX_CELLS", 0)
    assert measure_information(ids, follows).tolist() == small.tolist()


def test_pairs_across_users_do_not_count():
    ids = (np.arange(1000) // 2 % 2)[:, None]
    within = np.arange(1000) % 2 == 1
    assert measure_information(ids, within)[0] > 0.6
    assert measure_information(ids, np.zeros(1000, bool))[0] == 0
