"""Which tokens are kept, and what a rare combination falls back to."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.tokenizer.config import FieldConfig, VocabularyConfig
from panther_pipeline.tokenizer.counting import TupleCounter
from panther_pipeline.tokenizer.tokenizer import Tokenizer
from panther_pipeline.tokenizer.vocabulary import UNK_ID, Vocabulary, code_strides, fit_vocabulary

SIZES = [6, 5, 7]
RANKS = [np.arange(size) for size in SIZES]
DROP_ORDER = [1, 0, 2]


def config(**changes) -> VocabularyConfig:
    defaults = {
        "fields": [FieldConfig(name="x", source="amount", kind="quantile", num_bins=2)], "zone": "UTC",
        "max_tokens": None, "coverage_target": None, "min_count": 1, "max_dropped": 2,
        "profile_max_categories": 2, "profile_num_bins": 2,
    }  # fmt: skip
    return VocabularyConfig(**{**defaults, **changes})


def tuples(num_events: int = 400, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([np.minimum(rng.geometric(0.4, num_events), s - 1) for s in SIZES], axis=1).astype(np.int32)


def fit(rows, ranks, *rest) -> Vocabulary:
    counter = TupleCounter(np.array([len(r) for r in ranks], dtype=np.int64))
    for batch in np.array_split(rows, 3):  # counted in batches, as a long ledger is
        counter.add(batch)
    return fit_vocabulary(counter, ranks, *rest)


def brute_force(vocabulary, row):
    """The token by definition: try the tuple, then drop one attribute after the other."""
    patterns = vocabulary.patterns_VF.tolist()
    row = list(row)
    for position in [None, *vocabulary.drop_order[: vocabulary.max_dropped]]:
        if position is not None:
            row[position] = 0
        if row in patterns[2:]:
            return patterns.index(row, 2)
    return UNK_ID


@pytest.mark.parametrize("max_dropped", [0, 1, 2])
def test_encoding_follows_the_definition_of_back_off(max_dropped):
    vocabulary = fit(tuples(), RANKS, DROP_ORDER, config(min_count=6, max_dropped=max_dropped))
    rows = tuples(500, seed=1)
    expected = [brute_force(vocabulary, row) for row in rows.tolist()]
    assert vocabulary.encode(rows).tolist() == expected
    assert [vocabulary.encode_one(row) for row in rows.tolist()] == expected
    assert len(set(vocabulary.levels_V[expected].tolist())) == max_dropped + 2


def test_every_token_is_seen_often_enough():
    vocabulary = fit(tuples(), RANKS, DROP_ORDER, config(min_count=5))
    assert vocabulary.counts_V[2:].min() >= 5
    assert vocabulary.counts_V.sum() == 400


def test_back_off_makes_fewer_unknown_tokens():
    without = fit(tuples(), RANKS, DROP_ORDER, config(min_count=6, max_dropped=0))
    with_one = fit(tuples(), RANKS, DROP_ORDER, config(min_count=6, max_dropped=1))
    with_two = fit(tuples(), RANKS, DROP_ORDER, config(min_count=6, max_dropped=2))
    unknown = [v.counts_V[UNK_ID] for v in (without, with_one, with_two)]
    assert unknown[0] > unknown[1] > unknown[2]


@settings(max_examples=60, deadline=None)
@given(max_tokens=st.integers(3, 150), min_count=st.integers(1, 10), seed=st.integers(0, 5))
def test_no_more_tokens_than_allowed(max_tokens, min_count, seed):
    rows = tuples(seed=seed)
    vocabulary = fit(rows, RANKS, DROP_ORDER, config(max_tokens=max_tokens, min_count=min_count))
    assert vocabulary.size <= max_tokens
    assert (vocabulary.counts_V[2:] >= min_count).all()
    counted = np.bincount(vocabulary.encode(rows), minlength=vocabulary.size)
    assert counted.tolist() == vocabulary.counts_V.tolist()


def test_without_back_off_the_most_frequent_tuples_are_kept():
    rows = tuples()
    _, counts = np.unique(rows, axis=0, return_counts=True)
    vocabulary = fit(rows, RANKS, DROP_ORDER, config(max_tokens=22, max_dropped=0))
    assert vocabulary.size == 22
    assert vocabulary.counts_V[2:].tolist() == sorted(counts.tolist(), reverse=True)[:20]


@pytest.mark.parametrize("target", [0.3, 0.5, 0.9, 1.0])
def test_as_few_tuples_as_reach_the_coverage_target(target):
    rows = tuples()
    _, counts = np.unique(rows, axis=0, return_counts=True)
    covered = np.cumsum(sorted(counts.tolist(), reverse=True)) / len(rows)
    vocabulary = fit(rows, RANKS, DROP_ORDER, config(coverage_target=target, max_dropped=0))
    kept = vocabulary.size - 2
    assert covered[kept - 1] >= target
    assert kept == 1 or covered[kept - 2] < target


@pytest.mark.parametrize(("target", "kept"), [(0.3, 1), (0.31, 2), (0.6, 2), (0.7, 3), (1.0, 5)])
def test_a_coverage_target_reached_exactly_is_reached(target, kept):
    rows = np.repeat([[1, 1, i] for i in range(1, 6)], [3, 3, 2, 1, 1], axis=0)
    vocabulary = fit(rows, RANKS, DROP_ORDER, config(coverage_target=target, max_dropped=0))
    assert vocabulary.size == 2 + kept


def test_a_tight_budget_still_covers_most_events():
    rows = tuples()
    paper = fit(rows, RANKS, DROP_ORDER, config(max_tokens=20, max_dropped=0))
    ours = fit(rows, RANKS, DROP_ORDER, config(max_tokens=20))
    assert ours.counts_V[UNK_ID] < paper.counts_V[UNK_ID] / 2


def test_more_combinations_than_int64_holds_are_refused():
    with pytest.raises(ConfigurationError, match="Lower max_categories"):
        code_strides(np.full(10, 10**7))


def test_large_codes_do_not_overflow():
    sizes = [2**20, 2**20, 2**20]
    rows = np.array([[2**20 - 1] * 3, [2**20 - 1] * 3, [2, 3, 4]], dtype=np.int32)
    vocabulary = fit(rows, [np.arange(size) for size in sizes], DROP_ORDER, config())
    assert vocabulary.patterns_VF[2:].tolist() == [[2**20 - 1] * 3, [2, 3, 4]]
    assert vocabulary.encode(rows).tolist() == [2, 2, 3]


def test_backing_off_keeps_the_informative_attribute(events, profiles, splits, make_config):
    fitted = Tokenizer.fit(events, profiles, make_config(min_count=20, max_dropped=1), splits)
    nats = dict(zip(fitted.attribute_names, fitted.content.information_nats, strict=True))
    assert fitted.content.drop_order[0] == min(nats, key=lambda name: (nats[name], -fitted.attribute_names.index(name)))
    dropped = {name for i in range(2, fitted.vocab_size) for name, label in fitted.describe(i).items() if label == "*"}
    assert dropped == {fitted.content.drop_order[0]}
