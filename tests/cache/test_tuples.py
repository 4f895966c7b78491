"""Event vectors of a factored backbone."""

import pytest
import torch

from panther_pipeline.cache.tuples import event_vectors, expected_vectors


def one_hot(ids_NF, sizes):
    return [torch.nn.functional.one_hot(ids_NF[:, f], size).float() for f, size in enumerate(sizes)]


@pytest.fixture
def ids():
    return torch.tensor([[1, 2], [3, 3], [2, 1]])


@torch.no_grad()
def test_expected_vector_is_the_vector_when_nothing_is_in_doubt(factored, ids, monkeypatch):
    monkeypatch.setattr(factored.tuple_head, "expected_probs", lambda h: one_hot(ids, [4, 4]))
    assert torch.allclose(expected_vectors(factored, torch.zeros(3, 16)), event_vectors(factored, ids), atol=1e-6)


@torch.no_grad()
def test_expected_vector_is_the_mean_of_the_vectors(factored, ids, monkeypatch):
    mean = [probs.mean(0, keepdim=True) for probs in one_hot(ids, [4, 4])]
    monkeypatch.setattr(factored.tuple_head, "expected_probs", lambda h: mean)
    expected = event_vectors(factored, ids).mean(0, keepdim=True)
    assert torch.allclose(expected_vectors(factored, torch.zeros(1, 16)), expected, atol=1e-6)


@torch.no_grad()
def test_dropped_attribute_adds_nothing(factored):
    whole = event_vectors(factored, torch.tensor([[1, 2], [3, 2]]))
    parts = event_vectors(factored, torch.tensor([[1, 0], [3, 0], [0, 2], [0, 0]]))
    assert torch.allclose(parts[:2] + parts[2], whole, atol=1e-6)
    assert (parts[3] == 0).all()
