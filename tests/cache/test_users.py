"""The cache of all users: as of an instant, saved and read back bit for bit."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from panther_pipeline.cache.embed import EventEmbeddingConfig, UserEmbeddingConfig, measure_surprises
from panther_pipeline.cache.store import OnlineStore
from panther_pipeline.cache.users import embed_users, tabulate_token_embeddings
from panther_pipeline.errors import ArtifactError

from .conftest import VOCAB_SIZE

COUNTS = np.arange(VOCAB_SIZE)
EVENTS = EventEmbeddingConfig(since=None, refresh="each_event", batch_size=4)


class Names:
    """Stands in for the tokenizer, of which only names and digest are read."""

    names = tuple(f"token-{i}" for i in range(VOCAB_SIZE))
    digest = "d"


@pytest.fixture
def cache(backbone, sequences):
    config = UserEmbeddingConfig(as_of=None, num_recent_events=6, num_next_transactions=3, batch_size=4)
    return embed_users(backbone, sequences, measure_surprises(backbone, sequences, COUNTS, EVENTS), Names, config)


def test_store_answers_for_users_with_events_only(cache, sequences):
    lengths = np.diff(sequences.offsets_U1)
    for user_id, length in zip(sequences.user_ids, lengths, strict=True):
        state = cache.online_store.get(user_id)
        assert (state is None) == (length == 0)
        assert state is None or (state.num_events == length and len(state.recent_token_ids) == min(length, 6))
    assert cache.online_store.get("nobody") is None


def test_recent_events_are_the_newest_in_order(cache, sequences):
    state = cache.online_store.get("u05")
    assert state.recent_token_ids.tolist() == sequences.token_ids_N[-6:].tolist()
    assert state.recent_times_us.tolist() == sequences.time_us_N[-6:].tolist()


def test_next_transactions_are_sorted_probabilities(cache):
    table = cache.next_transactions
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
    config = UserEmbeddingConfig(as_of=None, num_recent_events=6, num_next_transactions=4, batch_size=2)
    surprises = measure_surprises(factored, sequences, COUNTS, EVENTS)
    cache = embed_users(factored, sequences, surprises, TupleNames, config)
    table = cache.next_transactions
    assert len(table) == 4 * len(cache.user_embeddings)
    assert (np.diff(table["prob"].to_numpy().reshape(-1, 4), axis=1) <= 0).all()
    for row in table.rows(named=True):
        a, b = map(int, row["token"].split("|"))
        assert row["token_id"] == a * 4 + b
        h_D = torch.from_numpy(cache.online_store.get(row["user_id"]).embedding_D)
        with torch.no_grad():
            prob = factored.tuple_head.log_prob(h_D[None], torch.tensor([[a, b]])).exp().item()
        assert row["prob"] == pytest.approx(prob, abs=1e-5)
    assert cache.online_store.arrays["next_behaviour_UD"].any(axis=1).all()


def test_token_embeddings_of_a_factored_backbone_are_those_of_their_attributes(factored):
    table = tabulate_token_embeddings(factored, TupleNames)
    assert table["token"].to_list() == list(Names.names)
    vectors = table["embedding"].to_numpy()
    assert (vectors[0] == 0).all()
    np.testing.assert_array_equal(vectors[5], vectors[21])
    np.testing.assert_allclose(vectors[1] + vectors[4], vectors[5], atol=1e-6)


def test_as_of_instant_hides_later_events(backbone, sequences):
    instant = "2023-11-17"
    config = UserEmbeddingConfig(as_of=instant, num_recent_events=6, num_next_transactions=3, batch_size=4)
    cache = embed_users(backbone, sequences, measure_surprises(backbone, sequences, COUNTS, EVENTS), Names, config)
    as_of_us = cache.online_store.facts["as_of_us"]
    assert (cache.online_store.arrays["recent_times_us_UR"] < as_of_us).all()
    assert 0 < cache.online_store.arrays["num_events"].sum() < sequences.num_events


def test_store_round_trips(cache, tmp_path):
    cache.online_store.save(tmp_path / "store")
    loaded = OnlineStore.load(tmp_path / "store")
    assert loaded.facts == cache.online_store.facts
    np.testing.assert_array_equal(loaded.get("u03").embedding_D, cache.online_store.get("u03").embedding_D)


def test_damaged_store_is_refused(cache, tmp_path):
    cache.online_store.save(tmp_path / "store")
    file = next((tmp_path / "store").glob("*/users.safetensors"))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(ArtifactError, match="SHA-256"):
        OnlineStore.load(tmp_path / "store")
