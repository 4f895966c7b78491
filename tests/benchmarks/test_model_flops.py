"""The formula of the step's operations counts what torch counts, variant by variant."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from panther_pipeline.model.config import ModelConfig
from panther_pipeline.training.batches import BatchOrder
from panther_pipeline.training.pretraining import untrained_backbone

NUM_USERS, VOCAB_SIZE = 3, 50


def counted_forward(run) -> int:
    """Attention is taken apart into products, since its fused kernel for the CPU is not counted."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        run()
    return counter.get_total_flops()


@pytest.mark.parametrize(
    "variant",
    [
        {},
        {"mixer": "attention", "profile": "none"},
        {"mixer": "sprm", "convolution": "dense", "time_encoding": "none"},
        {"inputs": "token", "position": "learned"},
        {"profile": "first_token", "num_prototypes": 7, "feed_forward_dim": 40},
    ],
    ids=lambda v: "-".join(map(str, v.values())) or "default",
)
def test_formula_is_three_times_the_counted_forward_pass(benchmarks, variant):
    from model_flops import panther_step_flops
    from pretraining_data import random_sequences

    config = ModelConfig(**{"dim": 32, "num_heads": 2, "max_events": 24, "dropout": 0.0} | variant)
    sequences = random_sequences(VOCAB_SIZE, NUM_USERS, config.max_events + 1)
    backbone = untrained_backbone(sequences, config, seed=0)
    batch = BatchOrder(sequences, config.max_events, NUM_USERS, 0).batch_at(0)
    counted = counted_forward(lambda: backbone.next_token_logits(backbone(batch.events)))
    expected = panther_step_flops(
        config,
        vocab_size=VOCAB_SIZE,
        num_attributes=len(sequences.attribute_sizes),
        num_profile_attributes=len(sequences.profile_sizes),
        num_windows=NUM_USERS,
        num_positions=config.max_events,
        num_targets=batch.targets_BT.numel(),
    )
    assert expected == 3 * counted


def test_formula_of_gpt2_is_three_times_the_counted_forward_pass(benchmarks):
    pytest.importorskip("transformers", reason="the extra `bench` is not installed")
    from gpt2_yardstick import Gpt2Objective
    from model_flops import gpt2_step_flops
    from pretraining_data import random_sequences

    config = ModelConfig(dim=32, num_heads=2, max_events=24, feed_forward_dim=100)
    sequences = random_sequences(VOCAB_SIZE, NUM_USERS, config.max_events + 1)
    batch = BatchOrder(sequences, config.max_events, NUM_USERS, 0).batch_at(0)
    counted = counted_forward(lambda: Gpt2Objective(config, VOCAB_SIZE, "best")(batch))
    sizes = {"dim": 32, "num_layers": 2, "hidden_dim": 100, "vocab_size": VOCAB_SIZE}
    assert gpt2_step_flops(**sizes, num_windows=NUM_USERS, num_positions=config.max_events) == 3 * counted


def test_recurrent_mixer_has_no_formula(benchmarks):
    from model_flops import panther_step_flops

    sizes = {"num_windows": 1, "num_positions": 2, "num_targets": 1, "num_attributes": 1, "num_profile_attributes": 1}
    with pytest.raises(ValueError, match="no formula for mixer gru"):
        panther_step_flops(ModelConfig(mixer="gru"), vocab_size=5, **sizes)
