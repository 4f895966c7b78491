"""The head against enumeration: on small sizes every tuple can be scored."""

from itertools import product

import numpy as np
import pytest
import torch

from panther_pipeline.model.tuple_head import TupleHead

SIZES = [5, 4, 6]  # with padding: 4 · 3 · 5 = 60 tuples
ALL = torch.tensor(list(product(*(range(1, size) for size in SIZES))))


@pytest.fixture
def head():
    head = TupleHead(8, SIZES)
    generator = torch.Generator().manual_seed(0)
    # Far from even, so that neither a wrong order nor a missing term can hide.
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.7, generator=generator)
    return head.requires_grad_(False)


@pytest.fixture
def states():
    return torch.randn(40, 8, generator=torch.Generator().manual_seed(1))


def enumerate_log_probs(head, states):
    """(N, 60): log p of every tuple after every state."""
    return torch.stack([head.log_prob(states, row.expand(len(states), -1)) for row in ALL], dim=1)


def test_probabilities_of_all_tuples_sum_to_one(head, states):
    assert head.num_tuples == len(ALL) == 60
    assert torch.allclose(enumerate_log_probs(head, states).exp().sum(1), torch.ones(40), atol=1e-5)


def test_every_attribute_depends_on_those_before_it_alone(head, states):
    ids = ALL[torch.arange(40) % 60]
    logits = [head.logits(f, context) for f, context in enumerate(head.contexts(states, ids))]
    for changed in range(3):
        other = ids.clone()
        other[:, changed] = other[:, changed] % (SIZES[changed] - 1) + 1
        for f, context in enumerate(head.contexts(states, other)):
            is_same = torch.equal(head.logits(f, context), logits[f])
            assert is_same == (f <= changed), f"attribute {f} after a change of {changed}"


@pytest.mark.parametrize("num_prefixes", [1, 3, 100])
@pytest.mark.parametrize("num", [1, 10, 60, 1000])
def test_likeliest_tuples_equal_enumeration_whatever_the_beam(head, states, num, num_prefixes):
    ids_NKF, log_prob_NK = head.likeliest(states, num, num_prefixes)
    expected = enumerate_log_probs(head, states).topk(min(num, 60))
    assert torch.allclose(log_prob_NK, expected.values, atol=1e-5)
    assert torch.equal(ids_NKF, ALL[expected.indices])


def test_search_that_dropped_too_much_says_so(head, states):
    _, log_prob_NK, dropped_N = head._search(states, 1, 1)
    is_wrong_N = log_prob_NK[:, 0] < enumerate_log_probs(head, states).amax(1) - 1e-5
    assert is_wrong_N.any(), "greedy search errs somewhere, or this test shows nothing"
    assert (dropped_N > log_prob_NK[:, 0])[is_wrong_N].all()


def test_one_attribute_alone_is_a_plain_softmax(states):
    head = TupleHead(8, [7]).requires_grad_(False)
    ids_NKF, log_prob_NK = head.likeliest(states, 6)
    assert torch.allclose(log_prob_NK.exp().sum(1), torch.ones(40), atol=1e-5)
    assert torch.equal(ids_NKF[:, 0, 0], head.logits(0, states).argmax(1) + 1)


def test_expected_probabilities_are_distributions_and_exact_for_the_first(head, states):
    probs = head.expected_probs(states)
    assert [p.shape for p in probs] == [(40, size) for size in SIZES]
    for prob in probs:
        assert torch.allclose(prob.sum(1), torch.ones(40), atol=1e-5)
        assert (prob[:, 0] == 0).all(), "padding is no event's"
    joint = enumerate_log_probs(head, states).exp()
    first = torch.stack([joint[:, ALL[:, 0] == i].sum(1) for i in range(1, 5)], dim=1)
    assert torch.allclose(probs[0][:, 1:], first, atol=1e-5)


def test_expected_probabilities_are_exact_when_the_attributes_before_are_certain(head, states):
    head.output[0].bias[2] += 1e4
    head.output[1].bias[1] += 1e4
    ids = torch.tensor([[3, 2, 1]]).expand(40, -1)
    exact = head.logits(2, head.contexts(states, ids)[2]).softmax(-1)
    assert torch.allclose(head.expected_probs(states)[2][:, 1:], exact, atol=1e-5)


def test_untrained_head_predicts_the_frequencies(states):
    head = TupleHead(8, SIZES).requires_grad_(False)
    for output in head.output:
        torch.nn.init.zeros_(output.weight)
    counts = [np.arange(size) * 1000 for size in SIZES]
    head.start_from_frequencies(counts)
    for prob, count in zip(head.expected_probs(states), counts, strict=True):
        assert np.allclose(prob[0].numpy(), count / count.sum(), atol=1e-3)
