"""Shares of tuples within tokens: every tuple counted once, every group a distribution."""

from itertools import product

import numpy as np
import pytest

from panther_pipeline.metrics.tuple_shares import TupleShares, count_tuples
from panther_pipeline.tokenizer.config import FieldConfig, VocabularyConfig
from panther_pipeline.tokenizer.counting import TupleCounter
from panther_pipeline.tokenizer.vocabulary import Vocabulary, fit_vocabulary

SIZES = [6, 5, 7]
ALL = np.array(list(product(*(range(1, size) for size in SIZES))))


def draw_tuples(num_events: int = 400, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([np.minimum(rng.geometric(0.4, num_events), size - 1) for size in SIZES], axis=1)


def fit(min_count: int, max_dropped: int, drop_order: tuple[int, ...] = (1, 0, 2)) -> Vocabulary:
    config = VocabularyConfig(
        fields=[FieldConfig(name="x", source="amount", kind="quantile", num_bins=2)], zone="UTC", max_tokens=None,
        coverage_target=None, min_count=min_count, max_dropped=max_dropped, profile_max_categories=2,
        profile_num_bins=2,
    )  # fmt: skip
    return fit_vocabulary(
        TupleCounter.of(draw_tuples(), SIZES), [np.arange(size) for size in SIZES], list(drop_order), config
    )


@pytest.mark.parametrize("min_count", [1, 3, 6, 20, 1000])
@pytest.mark.parametrize("max_dropped", [0, 1, 2])
@pytest.mark.parametrize("drop_order", [(1, 0, 2), (2, 1, 0)])
def test_tuples_of_each_token_equal_enumeration(min_count, max_dropped, drop_order):
    vocabulary = fit(min_count, max_dropped, drop_order)
    expected = np.bincount(vocabulary.encode(ALL), minlength=vocabulary.size)
    assert count_tuples(vocabulary).tolist() == expected.tolist()


@pytest.mark.parametrize("min_count", [1, 6, 1000])
def test_shares_sum_to_one_within_every_token(min_count):
    vocabulary = fit(min_count, max_dropped=2)
    train = draw_tuples()
    num_tuples_V = count_tuples(vocabulary)
    shares = TupleShares.fit(train @ vocabulary.strides_F, vocabulary.encode(train), num_tuples_V)
    tokens = vocabulary.encode(ALL)
    share = np.exp(shares.log_share(ALL @ vocabulary.strides_F, tokens))
    assert (share > 0).all()
    sums_V = np.bincount(tokens, share, minlength=vocabulary.size)
    assert np.allclose(sums_V, num_tuples_V > 0)
    whole = vocabulary.levels_V == 0
    assert np.allclose(share[whole[tokens]], 1), "a whole tuple's token stands for it alone"


def test_shares_follow_the_counts():
    shares = TupleShares.fit(np.array([7, 7, 7, 9]), np.zeros(4, int), np.array([10]))
    alpha = shares.smoothing
    expected = np.array([3 + alpha, 1 + alpha, alpha]) / (4 + 10 * alpha)
    assert np.allclose(np.exp(shares.log_share(np.array([7, 9, 8]), np.zeros(3, int))), expected)


def test_smoothing_is_the_one_that_predicts_each_event_from_the_others():
    even, uneven = np.arange(50), np.repeat(np.arange(2), 25)
    group = np.zeros(50, int)
    # Fifty tuples of a thousand, each seen once: the next one is new. Two of them, seen again and again: it is not.
    assert TupleShares.fit(even, group, np.array([1000])).smoothing == pytest.approx(100)
    assert TupleShares.fit(uneven, group, np.array([1000])).smoothing == pytest.approx(1e-4)


def test_group_without_training_events_is_even():
    shares = TupleShares.fit(np.array([1, 1, 2]), np.zeros(3, int), np.array([4, 8]))
    assert shares.log_share(np.array([30]), np.array([1]))[0] == pytest.approx(-np.log(8))


def test_likeliest_are_the_most_frequent_of_each_group():
    codes, groups = np.array([1, 1, 1, 2, 2, 3, 8, 9, 9]), np.array([0, 0, 0, 0, 0, 0, 4, 4, 4])
    shares = TupleShares.fit(codes, groups, np.array([5, 0, 0, 0, 5]))
    assert shares.codes_T[shares.likeliest(1)].tolist() == [1, 9]
    assert shares.codes_T[shares.likeliest(2)].tolist() == [1, 2, 8, 9]
