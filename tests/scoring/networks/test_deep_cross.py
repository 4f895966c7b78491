"""DCN-v2."""

import torch

from panther_pipeline.scoring.networks.deep_cross import CrossLayer, DeepCrossNetwork


def test_cross_layer_computes_its_formula():
    layer = CrossLayer(3, None)
    x0, x = torch.randn(5, 3), torch.randn(5, 3)
    expected = x0 * (x @ layer.map.weight.T + layer.map.bias) + x
    torch.testing.assert_close(layer(x0, x), expected)


def test_cross_layer_of_low_rank_has_fewer_weights():
    def count(layer):
        return sum(p.numel() for p in layer.parameters())

    assert count(CrossLayer(100, 4)) < count(CrossLayer(100, None)) / 10


def test_network_works_without_cross_or_deep_layers(network_config):
    for change in ({"num_cross_layers": 0}, {"deep_widths": []}, {"cross_rank": None}):
        network = DeepCrossNetwork(2, 3, network_config.model_copy(update=change)).eval()
        assert network(torch.zeros(4, 2), torch.zeros(4, 3)).shape == (4,)
