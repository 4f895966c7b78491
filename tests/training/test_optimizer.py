import math

import pytest
import torch

from panther_pipeline.training.config import TrainingConfig
from panther_pipeline.training.optimizer import learning_rate, make_optimizer

COSINE = TrainingConfig(max_steps=110, warmup_steps=10, peak_lr=1e-3)
WSD = COSINE.model_copy(update={"schedule": "wsd", "decay_share": 0.2, "lr_floor": 0.01})


def rates(config):
    return [learning_rate(step, config) for step in range(config.max_steps + 1)]


def test_cosine_warms_up_then_falls_to_a_tenth():
    assert rates(COSINE)[0] == pytest.approx(1e-4)
    assert max(rates(COSINE)) == rates(COSINE)[9] == rates(COSINE)[10] == pytest.approx(1e-3)
    assert rates(COSINE)[60] == pytest.approx(0.55e-3)
    assert rates(COSINE)[110] == pytest.approx(1e-4)
    assert rates(COSINE)[10:] == sorted(rates(COSINE)[10:], reverse=True)


def test_wsd_stays_at_the_peak_then_falls_as_one_minus_root():
    assert WSD.decay_begin == 88
    assert rates(WSD)[:10] == rates(COSINE)[:10]
    assert set(rates(WSD)[9:89]) == {1e-3}
    for step in range(88, 111):
        assert rates(WSD)[step] == pytest.approx(1e-3 * (0.01 + 0.99 * (1 - math.sqrt((step - 88) / 22))))
    assert rates(WSD)[110] == pytest.approx(1e-5)


def test_wsd_before_the_fall_does_not_know_max_steps():
    longer = WSD.model_copy(update={"max_steps": 1000})
    assert rates(longer)[: WSD.decay_begin] == rates(WSD)[: WSD.decay_begin]
    assert rates(longer)[WSD.decay_begin + 1] != rates(WSD)[WSD.decay_begin + 1]


def test_vectors_are_not_decayed():
    optimizer = make_optimizer(torch.nn.LayerNorm(4), COSINE, torch.device("cpu"))
    decays = {p.dim(): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decays == {1: 0.0}
