"""What the networks make of a history: of all of it, of nothing else, row by row."""

import pytest
import torch

from panther_pipeline.scoring.history.fit import network_builder
from panther_pipeline.scoring.loop import HeadRows

KINDS = ("textcnn", "attention")


@pytest.fixture(params=KINDS)
def network(request, ordered, head_config, history_config):
    task, histories = ordered
    torch.manual_seed(0)
    rows = HeadRows.of(task, histories.gather)
    network = network_builder(request.param, rows, histories, head_config, history_config)().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))  # what starts at 0 must matter too
    return network


@pytest.fixture
def inputs(ordered):
    task, histories = ordered
    return HeadRows.of(task, histories.gather).gather(torch.arange(64))


def test_row_does_not_depend_on_its_neighbours(network, ordered):
    task, histories = ordered
    rows = HeadRows.of(task, histories.gather)
    with torch.inference_mode():
        together = network(*rows.gather(torch.arange(64)))
        alone = torch.cat([network(*rows.gather(torch.tensor([r]))) for r in range(64)])
    torch.testing.assert_close(alone, together, atol=1e-6, rtol=0)


def test_empty_history_pools_to_zeros(network, inputs):
    numbers, embedding, history, is_event, own = inputs
    z, e = network.standardise(numbers, embedding)
    pooled = network.pool(z, e, history, torch.zeros_like(is_event), own)
    assert pooled.shape == (64, network.pool.width)
    assert not pooled.any()


def test_order_of_the_history_matters(network, inputs):
    numbers, embedding, history, is_event, own = inputs
    swapped = torch.cat([history[:, :-2], history[:, [-1, -2]]], dim=1)
    with torch.inference_mode():
        moved = network(numbers, embedding, swapped, is_event, own) - network(*inputs)
    assert moved.abs().min() > 1e-7


def test_every_weight_gets_a_gradient(network, inputs):
    network(*inputs).square().mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []
