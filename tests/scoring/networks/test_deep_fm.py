"""DeepFM."""

from itertools import combinations

import torch

from panther_pipeline.scoring.networks.deep_fm import DeepFactorizationMachine


def test_pairs_are_the_products_of_every_two_fields(network_config):
    torch.manual_seed(0)
    network = DeepFactorizationMachine(3, 4, network_config).eval()
    for layer in (network.line, network.out):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    z, e = torch.randn(6, 3), torch.randn(6, 4)
    fields = [*network.numbers(z).unbind(dim=1), network.sequence(e)]
    expected = sum((a * b).sum(dim=1) for a, b in combinations(fields, 2)) / len(fields)
    torch.testing.assert_close(network.score(z, e), expected)


def test_deep_fm_works_without_hidden_layers(network_config):
    network = DeepFactorizationMachine(2, 3, network_config.model_copy(update={"deep_widths": []})).eval()
    assert network(torch.zeros(4, 2), torch.zeros(4, 3)).shape == (4,)
