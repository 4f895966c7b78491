"""Equal numbers of weights, for every model of the family."""

from dataclasses import replace

import pytest

from panther_pipeline.ablation.parameters import TOLERANCE, count_parameters, match_size
from panther_pipeline.model.config import ModelConfig

REFERENCE = ModelConfig()
PEERS = {
    "attention": {"mixer": "attention"}, "sprm": {"mixer": "sprm"}, "gru": {"mixer": "gru"},
    "dense": {"convolution": "dense"}, "many_prototypes": {"num_prototypes": 256},
    "sasrec": {"mixer": "attention", "inputs": "token", "position": "learned", "time_encoding": "none"},
    "no_profile": {"profile": "none"},
}  # fmt: skip


def test_count_does_not_grow_with_the_ledger(sequences):
    larger = replace(sequences, vocab_size=900, attribute_sizes=[70, 80], profile_sizes=[30, 40, 50])
    for config in (REFERENCE, ModelConfig(profile="first_token"), ModelConfig(score="cosine")):
        assert count_parameters(config, larger) == count_parameters(config, sequences) > 100_000


@pytest.mark.parametrize("changes", PEERS.values(), ids=PEERS)
def test_width_makes_counts_equal(changes, sequences):
    target = count_parameters(REFERENCE, sequences)
    config = ModelConfig(**changes)
    found = match_size(config, sequences, target)
    assert list(found) == ["feed_forward_dim"]
    count = count_parameters(config.model_copy(update=found), sequences)
    assert abs(count - target) <= 0.005 * target
    for width in (found["feed_forward_dim"] - 1, found["feed_forward_dim"] + 1):
        other = count_parameters(config.model_copy(update={"feed_forward_dim": width}), sequences)
        assert abs(count - target) <= abs(other - target)


def test_reference_matches_itself(sequences):
    assert match_size(REFERENCE, sequences, count_parameters(REFERENCE, sequences)) == {"feed_forward_dim": 256}


def test_depth_makes_counts_nearest_without_a_feed_forward_part(sequences):
    target = count_parameters(REFERENCE, sequences)
    config = ModelConfig(mixer="hstu")
    found = match_size(config, sequences, target)
    counts = {n: count_parameters(config.model_copy(update={"num_layers": n}), sequences) for n in range(1, 15)}
    assert found == {"num_layers": min(counts, key=lambda n: abs(counts[n] - target))}


def test_target_out_of_reach_names_both_counts(sequences):
    with pytest.raises(ValueError, match=r"even with feed_forward_dim 1 it has [\d,]+ weights, the reference 1,000"):
        match_size(REFERENCE, sequences, 1000)


def test_tolerance_is_what_the_table_says():
    assert TOLERANCE == 0.02
