"""An attribute with 2 values and one with 500, which the state tells equally well."""

import math

import numpy as np
import pytest
import torch

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.training.losses import AttributeHeads
from panther_pipeline.training.losses.attributes import entropy

N, D = 4000, 64
TOKEN_COUNTS_V = np.array([0, 300, 100, 100, 500])


def example(*num_values):
    """States of length √D, evenly distributed ids, and how often each occurs."""
    generator = torch.Generator().manual_seed(0)
    h_ND = torch.nn.functional.normalize(torch.randn(N, D, generator=generator), dim=-1) * D**0.5
    ids_NF = torch.stack([1 + torch.arange(N) % n for n in num_values], dim=1)
    counts_f = [np.bincount(ids_NF[:, f], minlength=n + 1) for f, n in enumerate(num_values)]
    return h_ND, ids_NF, counts_f


def make_heads(counts_f, token_counts_V=TOKEN_COUNTS_V):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AttributeHeads(D, counts_f, token_counts_V)


def shares(heads, h_ND, ids_NF):
    """Each attribute's part of the loss, and the length of its pull on the states."""
    scales, values, pulls = heads.scales, [], []
    for part in range(len(scales)):
        heads.scales = [scale * (f == part) for f, scale in enumerate(scales)]
        states_ND = h_ND.clone().requires_grad_()
        loss = heads(states_ND, ids_NF)
        loss.backward()
        values.append(loss.item())
        pulls.append(states_ND.grad.norm().item())
    heads.scales = scales
    return values, pulls


def test_untrained_attributes_cost_as_much_as_the_token_in_equal_shares():
    h_ND, ids_NF, counts_f = example(2, 500)
    heads = make_heads(counts_f)
    assert heads(h_ND, ids_NF).item() == pytest.approx(entropy(TOKEN_COUNTS_V), rel=0.02)
    (few, many), (pull_few, pull_many) = shares(heads, h_ND, ids_NF)
    assert few == pytest.approx(many, rel=0.03)
    assert 0.5 < pull_few / pull_many < 2


def test_plain_sum_is_drowned_by_the_attribute_of_many_values():
    # The red twin of the test above.
    h_ND, ids_NF, counts_f = example(2, 500)
    heads = make_heads(counts_f)
    heads.scales = [1.0, 1.0]
    (few, many), (pull_few, pull_many) = shares(heads, h_ND, ids_NF)
    assert many > 8 * few
    assert pull_many > 5 * pull_few


def test_loss_equals_its_formula():
    h_ND, ids_NF, counts_f = example(3, 40)
    heads = make_heads(counts_f)
    logits = torch.split(h_ND @ heads.output.weight.T + heads.output.bias, [3, 40], dim=1)
    ratios = [
        torch.nn.functional.cross_entropy(logits[f], ids_NF[:, f] - 1) / math.log(n) for f, n in ((0, 3), (1, 40))
    ]
    expected = entropy(TOKEN_COUNTS_V) * (ratios[0] + ratios[1]) / 2
    assert torch.allclose(heads(h_ND, ids_NF), expected, rtol=1e-5)


def test_untrained_heads_predict_the_frequencies():
    _, _, (counts,) = example(5)
    heads = make_heads([np.array([0, 7, 1, 0, 2])])
    assert torch.allclose(heads.output.bias.exp(), torch.tensor([7.5, 1.5, 0.5, 2.5]) / 12)
    assert len(counts) == 6


@pytest.mark.parametrize("constant", [[0, 0, 9000], [0, 9000, 3]])
def test_attribute_that_almost_never_changes_is_left_out(constant):
    h_ND, ids_NF, counts_f = example(2, 40)
    heads = make_heads([np.array(constant), counts_f[1]])
    assert heads.attributes == [1]
    alone = make_heads(counts_f[1:])
    assert torch.equal(heads(h_ND, ids_NF), alone(h_ND, ids_NF[:, 1:]))


def test_attributes_that_never_change_are_refused():
    with pytest.raises(ConfigurationError, match="none to predict"):
        make_heads([np.array([0, 0, 9000])])


def test_entropy_is_what_the_frequencies_pay():
    assert entropy(np.array([0, 10, 30])) == pytest.approx(-0.25 * math.log(0.25) - 0.75 * math.log(0.75))
    assert entropy(np.array([0, 0, 30])) == 0
