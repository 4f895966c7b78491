"""What all users are expected to do next, as of an instant."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from panther_pipeline.cache.embed import UserEmbeddingConfig
from panther_pipeline.cache.states import collect_states
from panther_pipeline.cache.users import forecast_users, tabulate_token_embeddings, tabulate_users
from panther_pipeline.tokenizer.tokenizer import Tokenizer

from .conftest import VOCAB_SIZE

CONFIG = UserEmbeddingConfig(as_of=None, num_next_transactions=3, batch_size=4)


class Names:
    """Stands in for the tokenizer, of which only names and digest are read."""

    names = tuple(f"token-{i}" for i in range(VOCAB_SIZE))
    digest = "d"
    name_likeliest = classmethod(Tokenizer.name_likeliest)


@pytest.fixture
def forecasts(backbone, sequences):
    return forecast_users(backbone, sequences, CONFIG)


@pytest.fixture
def tables(forecasts, sequences):
    return tabulate_users(forecasts, sequences, Names)


def test_users_without_an_event_are_left_out(tables, sequences):
    embeddings, _ = tables
    lengths = dict(zip(sequences.user_ids, np.diff(sequences.offsets_U1).tolist(), strict=True))
    assert dict(embeddings.select("user_id", "num_events").iter_rows()) == {u: n for u, n in lengths.items() if n}


def test_forecasts_are_those_of_the_last_states(forecasts, backbone, sequences):
    assert forecasts.last_row_U.tolist() == (sequences.offsets_U1[1:] - 1)[forecasts.user_ix_U].tolist()
    h_UD = collect_states(backbone, sequences, forecasts.last_row_U)
    np.testing.assert_allclose(forecasts.embedding_UD, h_UD.numpy(), rtol=0, atol=1e-6)
    with torch.no_grad():
        log_prob_UV = backbone.next_token_logits(h_UD).log_softmax(-1)
        logits_UV = backbone.next_token_logits(h_UD)
    np.testing.assert_allclose(
        forecasts.expected_UD, log_prob_UV.exp() @ backbone.embedding.token.weight.detach(), rtol=0, atol=1e-5
    )
    np.testing.assert_allclose(logits_UV - forecasts.log_normaliser_U[:, None], log_prob_UV, rtol=0, atol=1e-5)


def test_next_transactions_are_sorted_probabilities(tables):
    _, table = tables
    probs = table["prob"].to_numpy().reshape(-1, 3)
    assert (np.diff(probs, axis=1) <= 0).all()
    assert (probs.sum(axis=1) <= 1).all()
    assert table["token_id"].min() >= 2, "[PAD] and [UNK] are no transactions"
    assert table["token"][0] == f"token-{table['token_id'][0]}"


class TupleNames(Names):
    """Of a factored backbone also this is read; tuples fall to token ids at random."""

    vocabulary = SimpleNamespace(patterns_VF=np.stack([np.arange(VOCAB_SIZE) % 4, np.arange(VOCAB_SIZE) // 4 % 4], 1))

    @staticmethod
    def encode_attribute_tuples(ids):
        return (ids[:, 0] * 4 + ids[:, 1]).astype(np.int32)

    @staticmethod
    def name_tuples(ids):
        return [f"{a}|{b}" for a, b in ids.tolist()]


def test_next_transactions_of_a_factored_backbone_are_its_likeliest_tuples(factored, sequences):
    config = UserEmbeddingConfig(as_of=None, num_next_transactions=4, batch_size=2)
    forecasts = forecast_users(factored, sequences, config)
    embeddings, table = tabulate_users(forecasts, sequences, TupleNames)
    assert len(table) == 4 * len(embeddings)
    embedding_of = dict(embeddings.select("user_id", "embedding").iter_rows())
    assert (np.diff(table["prob"].to_numpy().reshape(-1, 4), axis=1) <= 0).all()
    for row in table.rows(named=True):
        a, b = map(int, row["token"].split("|"))
        assert row["token_id"] == a * 4 + b
        h_D = torch.tensor(embedding_of[row["user_id"]])
        with torch.no_grad():
            prob = factored.tuple_head.log_prob(h_D[None], torch.tensor([[a, b]])).exp().item()
        assert row["prob"] == pytest.approx(prob, abs=1e-5)
    assert forecasts.expected_UD.any(axis=1).all()


def test_token_embeddings_of_a_factored_backbone_are_those_of_their_attributes(factored):
    table = tabulate_token_embeddings(factored, TupleNames)
    assert table["token"].to_list() == list(Names.names)
    vectors = table["embedding"].to_numpy()
    assert (vectors[0] == 0).all()
    np.testing.assert_array_equal(vectors[5], vectors[21])
    np.testing.assert_allclose(vectors[1] + vectors[4], vectors[5], atol=1e-6)


def test_as_of_instant_hides_later_events(backbone, sequences):
    instant = "2023-11-17"
    config = UserEmbeddingConfig(as_of=instant, num_next_transactions=3, batch_size=4)
    forecasts = forecast_users(backbone, sequences, config)
    assert (sequences.time_us_N[forecasts.last_row_U] < forecasts.as_of_us).all()
    embeddings, _ = tabulate_users(forecasts, sequences, Names)
    assert 0 < embeddings["num_events"].sum() < sequences.num_events


def test_nobody_before_the_instant_gives_empty_tables(backbone, sequences):
    config = UserEmbeddingConfig(as_of="2020-01-01", num_next_transactions=3, batch_size=4)
    embeddings, table = tabulate_users(forecast_users(backbone, sequences, config), sequences, Names)
    assert embeddings.is_empty()
    assert table.is_empty()
    assert embeddings.schema["embedding"].size == backbone.config.dim
