"""What every kind of head shares."""

import numpy as np
import pytest
import torch

from panther_pipeline.scoring.calibration import IsotonicScaler, sigmoid
from panther_pipeline.scoring.networks.build import build_network

KINDS = ("dcn", "deep_fm", "logistic")


@pytest.fixture(params=KINDS)
def network(network_config, request):
    torch.manual_seed(0)
    return build_network(5, 4, network_config.model_copy(update={"kind": request.param})).eval()


def test_untrained_network_starts_near_the_log_odds(network):
    network.log_odds.fill_(-5.0)
    logit = network(torch.randn(200, 5), torch.randn(200, 4))
    assert logit.shape == (200,)
    assert abs(logit.mean().item() + 5) < 1


def test_statistics_stand_before_the_weights(network):
    numbers, embedding = torch.randn(8, 5), torch.randn(8, 4)
    before = network(numbers, embedding)
    network.number_mean_F.fill_(3.0)
    network.number_std_F.fill_(2.0)
    torch.testing.assert_close(network(2 * numbers + 3, embedding), before)


def test_every_weight_gets_a_gradient(network):
    network(torch.randn(64, 5), torch.randn(64, 4)).square().mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_calibration_is_a_line_on_the_logit(network):
    network.platt_slope.fill_(2.0)
    network.platt_intercept.fill_(-1.0)
    inputs = torch.randn(8, 5), torch.randn(8, 4)
    torch.testing.assert_close(network.calibrated(*inputs), torch.sigmoid(2 * network(*inputs).double() - 1))


def test_knots_of_the_calibration_are_those_of_the_scaler(network):
    rng = np.random.default_rng(0)
    inputs = torch.randn(300, 5), torch.randn(300, 4)
    with torch.inference_mode():
        logit = network(*inputs).numpy()
        scaler = IsotonicScaler.fit(logit[:200], (rng.random(200) < sigmoid(3 * logit[:200])).astype(int))
        network.set_calibration(scaler.buffers)
        np.testing.assert_allclose(network.calibrated(*inputs).numpy(), scaler.apply(logit), rtol=1e-12)
