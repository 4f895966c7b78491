"""What is scored without torch is the network that torch trained."""

import numpy as np
import pytest
import torch

from panther_pipeline.scoring.networks.build import build_network
from panther_pipeline.scoring.networks.config import NetworkConfig
from panther_pipeline.scoring.networks.inference import NumpyNetwork

NUM_NUMBERS, WIDTH = 9, 5


def config(kind: str, **changes) -> NetworkConfig:
    sizes = {
        "num_frequencies": 4, "frequency_scale": 0.3, "number_width": 3, "num_cross_layers": 2, "cross_rank": 4,
        "deep_widths": [8, 6], "dropout": 0.1,
    }  # fmt: skip
    return NetworkConfig(**{"kind": kind, **sizes, **changes})


VARIANTS = [
    config("dcn"), config("dcn", cross_rank=None), config("dcn", num_cross_layers=0), config("dcn", deep_widths=[]),
    config("deep_fm"), config("deep_fm", deep_widths=[7]), config("logistic"),
]  # fmt: skip


def spread(network, seed: int):
    """Every weight and statistic drawn at random, so that none can be left out unnoticed."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict(keep_vars=True).items():
            if tensor.is_floating_point() and not name.startswith("isotonic"):
                tensor.normal_(std=0.2, generator=generator)
        network.number_std_F.abs_().add_(0.5)
        network.embedding_std_D.abs_().add_(0.5)
    return network.eval()


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("isotonic", [False, True])
@pytest.mark.parametrize("rows", [1, 7, 1500])
def test_scores_without_torch_are_those_of_the_network(variant, isotonic, rows):
    network = spread(build_network(NUM_NUMBERS, WIDTH, variant), seed=rows)
    if isotonic:
        knots = {"isotonic_logits_K": np.array([-2.0, -0.5, 1.0]), "isotonic_values_K": np.array([-3.0, 0.1, 0.2])}
        network.set_calibration({"platt_slope": 1.3, "platt_intercept": -0.2, **knots})
    generator = torch.Generator().manual_seed(1)
    numbers_RF = 3 * torch.randn(rows, NUM_NUMBERS, generator=generator)
    embedding_RD = torch.randn(rows, WIDTH, generator=generator)
    with torch.inference_mode():
        expected_R = network.calibrated(numbers_RF, embedding_RD).numpy()
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    got_R = NumpyNetwork(variant, weights).calibrated(numbers_RF.numpy(), embedding_RD.numpy())
    assert got_R.dtype == np.float64
    np.testing.assert_allclose(got_R, expected_R, rtol=0, atol=5e-6)
    assert rows < 1500 or expected_R.std() > 0.01


def test_every_weight_moves_the_score():
    """A layer that is not read would go unnoticed where its weights are as they began."""
    variant = VARIANTS[0]
    network = spread(build_network(NUM_NUMBERS, WIDTH, variant), seed=3)
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    numbers_RF, embedding_RD = np.ones((2, NUM_NUMBERS), np.float32), np.ones((2, WIDTH), np.float32)
    before_R = NumpyNetwork(variant, weights).calibrated(numbers_RF, embedding_RD)
    for name, values in weights.items():
        if values.size and values.dtype == np.float32:
            changed = {**weights, name: values + np.float32(0.3)}
            after_R = NumpyNetwork(variant, changed).calibrated(numbers_RF, embedding_RD)
            assert np.abs(after_R - before_R).max() > 0, name


def test_extreme_logits_do_not_overflow():
    network = spread(build_network(NUM_NUMBERS, WIDTH, config("logistic")), seed=0)
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    for slope, expected in ((1e6, {0.0, 1.0}),):
        extreme = {**weights, "platt_slope": np.float32(slope)}
        rng = np.random.default_rng(0)
        with np.errstate(over="raise", invalid="raise"):
            got_R = NumpyNetwork(config("logistic"), extreme).calibrated(
                rng.normal(size=(50, NUM_NUMBERS)).astype(np.float32), rng.normal(size=(50, WIDTH)).astype(np.float32)
            )
        assert set(np.round(got_R, 12)) <= expected
