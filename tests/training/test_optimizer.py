import pytest
import torch

from panther_pipeline.training.config import TrainingConfig
from panther_pipeline.training.optimizer import learning_rate, make_optimizer

CONFIG = TrainingConfig(max_steps=110, warmup_steps=10, peak_lr=1e-3)


def test_learning_rate_warms_up_then_falls_to_a_tenth():
    rates = [learning_rate(step, CONFIG) for step in range(111)]
    assert rates[0] == pytest.approx(1e-4)
    assert max(rates) == rates[9] == rates[10] == pytest.approx(1e-3)
    assert rates[60] == pytest.approx(0.55e-3)
    assert rates[110] == pytest.approx(1e-4)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_vectors_are_not_decayed():
    optimizer = make_optimizer(torch.nn.LayerNorm(4), CONFIG, torch.device("cpu"))
    decays = {p.dim(): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decays == {1: 0.0}
