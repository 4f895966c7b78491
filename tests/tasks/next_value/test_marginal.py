"""The backbone's own forecast of a value, against the sum that defines it."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from panther_pipeline.ledger.splits import TRAIN
from panther_pipeline.tasks.next_value.marginal import ValueMarginal
from panther_pipeline.tasks.next_value.values import encode_values, fit_value_fields


@pytest.fixture(scope="module")
def values(sequences, events, config):
    (field,) = fit_value_fields(events.lazy(), sequences, config.model_copy(update={"attributes": ["category"]}))
    return encode_values(events.lazy(), sequences, field)


@pytest.fixture(scope="module")
def states(backbone):
    return torch.randn(7, backbone.config.dim, generator=torch.Generator().manual_seed(0))


def shares_of(values_N, group_N, group: int, value: int) -> float:
    members = group_N == group
    return (values_N[members] == value).mean() if members.any() else 0.0


def expected_of(prob_MG, group_N, values) -> np.ndarray:
    is_train_N = values.split_N == TRAIN
    sums = np.zeros((len(prob_MG), values.vocab_size))
    for group in range(prob_MG.shape[1]):
        for value in range(values.vocab_size):
            share = shares_of(values.token_ids_N[is_train_N], group_N[is_train_N], group, value)
            sums[:, value] += prob_MG[:, group] * share
    return sums / sums.sum(1, keepdims=True)


def test_structured_forecast_is_the_sum_over_tokens(backbone, tokenizer, sequences, values, states):
    marginal = ValueMarginal.of("category", backbone, tokenizer, sequences, values)
    with torch.inference_mode():
        prob_MG = backbone.next_token_logits(states).softmax(-1).numpy()
    expected = expected_of(prob_MG, sequences.token_ids_N, values)
    np.testing.assert_allclose(marginal.log_prob(states).exp().numpy(), expected, atol=1e-6)
    num_values_G = (marginal.shares_VG.to_dense() > 0).sum(0).tolist()
    assert num_values_G[2:5] == [1, 1, 1], "tokens that keep the category stand for one each"
    assert min(num_values_G[1], num_values_G[5]) > 1, "the others are shared out"


def test_factored_forecast_is_the_one_of_its_own_ids(factored, tokenizer, sequences, values, states):
    marginal = ValueMarginal.of("category", factored, tokenizer, sequences, values)
    with torch.inference_mode():
        prob_MG = factored.tuple_head.expected_probs(states)[0].numpy()
    expected = expected_of(prob_MG, sequences.attribute_ids_NF[:, 0], values)
    np.testing.assert_allclose(marginal.log_prob(states).exp().numpy(), expected, atol=1e-6)


def test_attribute_that_no_field_reads_has_no_forecast(backbone, tokenizer, sequences, values):
    assert ValueMarginal.of("counterparty", backbone, tokenizer, sequences, values) is None
    # A field called like the attribute may read something else.
    other = SimpleNamespace(fields=[tokenizer.fields[0].model_copy(update={"column": "kind", "name": "category"})])
    assert ValueMarginal.of("category", backbone, other, sequences, values) is None
