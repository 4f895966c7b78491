"""The network of the head."""

import math

import torch

from panther_pipeline.scoring.dcn import CrossLayer, DeepCrossNetwork, PeriodicEmbedding


def test_cross_layer_computes_its_formula():
    layer = CrossLayer(3, None)
    x0, x = torch.randn(5, 3), torch.randn(5, 3)
    expected = x0 * (x @ layer.map.weight.T + layer.map.bias) + x
    torch.testing.assert_close(layer(x0, x), expected)


def test_cross_layer_of_low_rank_has_fewer_weights():
    def count(layer):
        return sum(p.numel() for p in layer.parameters())

    assert count(CrossLayer(100, 4)) < count(CrossLayer(100, None)) / 10


def test_periodic_embedding_computes_its_formula(network_config):
    embedding = PeriodicEmbedding(2, network_config)
    x = torch.tensor([[0.3, -1.2]])
    for f in range(2):
        angle = 2 * math.pi * x[0, f] * embedding.frequency_FK[f]
        wave = torch.cat([angle.sin(), angle.cos()])
        expected = (wave @ embedding.weight_FKW[f] + embedding.bias_FW[f]).relu()
        width = network_config.number_width
        torch.testing.assert_close(embedding(x)[0, f * width : (f + 1) * width], expected)


def test_number_embeddings_do_not_mix_numbers(network_config):
    embedding = PeriodicEmbedding(3, network_config)
    a, b = torch.zeros(1, 3), torch.tensor([[0.0, 5.0, 0.0]])
    width = network_config.number_width
    changed = (embedding(a) != embedding(b)).view(3, width).any(dim=1)
    assert changed.tolist() == [False, True, False]


def test_untrained_network_starts_near_the_log_odds(network_config):
    torch.manual_seed(0)
    network = DeepCrossNetwork(5, 4, network_config).eval()
    network.log_odds.fill_(-5.0)
    logit = network(torch.randn(200, 5), torch.randn(200, 4))
    assert abs(logit.mean().item() + 5) < 1


def test_network_works_without_cross_or_deep_layers(network_config):
    for change in ({"num_cross_layers": 0}, {"deep_widths": []}, {"cross_rank": None}):
        network = DeepCrossNetwork(2, 3, network_config.model_copy(update=change)).eval()
        assert network(torch.zeros(4, 2), torch.zeros(4, 3)).shape == (4,)
