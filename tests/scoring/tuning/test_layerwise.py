"""A learning rate per block."""

import pytest
import torch

from panther_pipeline.model.batch import EventBatch
from panther_pipeline.scoring.tuning.config import LayerwiseConfig
from panther_pipeline.scoring.tuning.layerwise import unfreeze_layers

CONFIG = LayerwiseConfig(learning_rate=0.1, layer_decay=0.5)


def rates(backbone) -> dict[str, float]:
    groups = unfreeze_layers(backbone, CONFIG, weight_decay=0.3)
    rate_of = {id(p): group["lr"] for group in groups for p in group["params"]}
    return {name: rate_of[id(p)] for name, p in backbone.named_parameters() if id(p) in rate_of}


def test_deeper_blocks_take_smaller_steps(make_backbone):
    found = rates(make_backbone(num_layers=3))
    expected = {"embedding": 0.0125, "blocks.0": 0.025, "blocks.1": 0.05, "blocks.2": 0.1, "norm": 0.1}
    for name, rate in found.items():
        (part,) = [part for part in expected if name.startswith(part + ".")]
        assert rate == pytest.approx(expected[part]), name


def test_what_is_trained_is_what_the_state_depends_on(make_backbone, case):
    backbone = make_backbone(score="dot")  # brings a bias that only scores next transactions
    found = set(rates(backbone))
    starts = case.sequences.offsets_U1[:2]
    batch = EventBatch.from_windows(case.sequences, torch.arange(2).numpy(), starts, starts + 9)
    backbone(batch).square().mean().backward()
    assert found == {name for name, p in backbone.named_parameters() if p.requires_grad}
    assert found == {name for name, p in backbone.named_parameters() if p.grad is not None}
    assert "token_bias_V" not in found


def test_matrices_alone_are_decayed(make_backbone):
    for group in unfreeze_layers(make_backbone(), CONFIG, weight_decay=0.3):
        assert all((p.dim() >= 2) == (group["weight_decay"] == 0.3) for p in group["params"])
