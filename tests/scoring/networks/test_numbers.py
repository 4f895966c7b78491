"""Periodic embeddings."""

import math

import torch

from panther_pipeline.scoring.networks.numbers import PeriodicEmbedding


def test_periodic_embedding_computes_its_formula(network_config):
    embedding = PeriodicEmbedding(2, network_config)
    x = torch.tensor([[0.3, -1.2]])
    for f in range(2):
        angle = 2 * math.pi * x[0, f] * embedding.frequency_FK[f]
        wave = torch.cat([angle.sin(), angle.cos()])
        expected = (wave @ embedding.weight_FKW[f] + embedding.bias_FW[f]).relu()
        torch.testing.assert_close(embedding(x)[0, f], expected)


def test_number_embeddings_do_not_mix_numbers(network_config):
    embedding = PeriodicEmbedding(3, network_config)
    a, b = torch.zeros(1, 3), torch.tensor([[0.0, 5.0, 0.0]])
    changed = (embedding(a) != embedding(b)).any(dim=2)[0]
    assert changed.tolist() == [False, True, False]
