"""As-of embeddings: nothing from the future, at any refresh."""

import dataclasses

import numpy as np
import polars as pl
import pytest
import torch

from panther_pipeline.cache.embed import (
    EventEmbeddingConfig,
    as_of_rows,
    embed_events,
    embed_rows,
    measure_surprises,
)
from panther_pipeline.cache.states import iter_state_chunks
from panther_pipeline.cache.surprises import standardise_by_past
from panther_pipeline.cache.tuples import event_vectors, expected_vectors
from panther_pipeline.errors import ArtifactError

from .conftest import VOCAB_SIZE

COUNTS = np.arange(VOCAB_SIZE)
DAY_US = 86_400_000_000


def config(refresh="each_event", since=None):
    return EventEmbeddingConfig(since=since, refresh=refresh, batch_size=4)


def naive_as_of(sequences, refresh):
    result = []
    for u in range(sequences.num_users):
        first, stop = sequences.offsets_U1[u : u + 2]
        for row in range(first, stop):
            if refresh == "each_event":
                known = list(range(first, row))
            else:
                size = {"hourly": DAY_US // 24, "daily": DAY_US, "weekly": 7 * DAY_US}[refresh]
                boundary = sequences.time_us_N[row] // size * size
                known = [r for r in range(first, stop) if sequences.time_us_N[r] < boundary]
            result.append(known[-1] if known else -1)
    return result


@pytest.mark.parametrize("refresh", ["each_event", "hourly", "daily", "weekly"])
def test_as_of_row_equals_brute_force(sequences, refresh):
    assert as_of_rows(sequences, refresh).tolist() == naive_as_of(sequences, refresh)


def test_standardised_value_uses_past_only():
    values = np.array([1.0, 3.0, 2.0, 9.0, 5.0, 5.0], np.float32)
    offsets = np.array([0, 4, 6])
    as_of = np.array([-1, 0, 1, 2, -1, 4])
    z = standardise_by_past(values, offsets, as_of)
    expected_last = (9.0 - 2.0) / np.std([1.0, 3.0, 2.0])
    np.testing.assert_allclose(z, [0, 0, 0, expected_last, 0, 0], rtol=1e-6)


@pytest.mark.parametrize("kind", ["backbone", "factored"])
@pytest.mark.parametrize("refresh", ["each_event", "daily"])
def test_embedding_ignores_the_event_and_all_after_it(kind, sequences, refresh, request):
    backbone = request.getfixturevalue(kind)
    row = int(sequences.offsets_U1[5]) + 25
    tokens, attributes = sequences.token_ids_N.copy(), sequences.attribute_ids_NF.copy()
    tokens[row:], attributes[row:] = 2, 3
    changed = dataclasses.replace(sequences, token_ids_N=tokens, attribute_ids_NF=attributes)

    def until(table, last):
        return table.filter(pl.col("row") <= last).select("row", "embedding", "history_length")

    before, after = (
        embed_events(backbone, s, measure_surprises(backbone, s, COUNTS, config(refresh)), config(refresh))
        for s in (sequences, changed)
    )
    assert until(before, row).equals(until(after, row))
    assert not before.equals(after)


def test_surprise_is_minus_log_probability(backbone, sequences):
    surprises = measure_surprises(backbone, sequences, COUNTS, config())["surprise"].to_numpy()
    assert (surprises > 0).all()
    assert np.isfinite(surprises).all()


def test_surprise_of_a_factored_backbone_is_that_of_the_whole_tuple(factored, sequences):
    table = measure_surprises(factored, sequences, COUNTS, config())
    rows = np.array([3, 30])
    for state_rows, h_mD in iter_state_chunks(factored, sequences, rows - 1):
        ids = torch.from_numpy(sequences.attribute_ids_NF[state_rows + 1].astype(np.int64))
        with torch.no_grad():
            expected = -factored.tuple_head.log_prob(h_mD, ids)
            cosine = torch.cosine_similarity(expected_vectors(factored, h_mD), event_vectors(factored, ids), dim=-1)
        np.testing.assert_allclose(table["surprise"].to_numpy()[state_rows + 1], expected, atol=1e-5)
        np.testing.assert_allclose(table["cosine"].to_numpy()[state_rows + 1], cosine, atol=1e-5)
    assert table["surprise"].is_finite().all()


def test_event_without_history_has_zero_embedding(backbone, sequences):
    table = embed_events(backbone, sequences, measure_surprises(backbone, sequences, COUNTS, config()), config())
    first = table.filter(pl.col("history_length") == 0)
    assert first["row"].to_list() == [0, 1, 6, 22, 39]
    assert (first["embedding"].to_numpy() == 0).all()


def test_since_limits_the_window(backbone, sequences):
    surprises = measure_surprises(backbone, sequences, COUNTS, config())
    assert embed_events(backbone, sequences, surprises, config(since="2100-01-01")).height == 0


def test_surprise_is_as_stale_as_the_embedding(backbone, sequences):
    fresh = measure_surprises(backbone, sequences, COUNTS, config("each_event"))["surprise"].to_numpy()
    daily = measure_surprises(backbone, sequences, COUNTS, config("daily"))["surprise"].to_numpy()
    as_of = {refresh: as_of_rows(sequences, refresh) for refresh in ("each_event", "daily")}
    same = as_of["each_event"] == as_of["daily"]
    assert 0 < same.sum() < len(same)
    np.testing.assert_allclose(fresh[same], daily[same], atol=1e-5)
    has_state = ~same & (as_of["daily"] >= 0)
    assert (np.abs(fresh - daily)[has_state] > 1e-4).mean() > 0.9


def test_deviation_of_one_user_owes_nothing_to_the_others():
    rng = np.random.default_rng(0)
    own = rng.gamma(2, 2, 50).astype(np.float32)
    as_of = np.arange(50) - 1
    alone = standardise_by_past(own, np.array([0, 50]), as_of)
    others = rng.gamma(2, 2, 100_000).astype(np.float32)
    among = standardise_by_past(
        np.concatenate([others, own]),
        np.array([0, 100_000, 100_050]),
        np.concatenate([np.arange(100_000) - 1, np.where(as_of >= 0, as_of + 100_000, -1)]),
    )[100_000:]
    assert alone.tobytes() == among.tobytes()


def test_wrong_instant_is_refused_before_anything_runs():
    with pytest.raises(ValueError, match="since"):
        config(since="last summer")


def test_backbone_of_another_tokenizer_is_refused(backbone, sequences):
    foreign = dataclasses.replace(sequences, tokenizer_digest="another")
    with pytest.raises(ArtifactError, match="Run the pretrain pipeline again"):
        measure_surprises(backbone, foreign, COUNTS, config())


def test_chosen_rows_are_embedded_as_those_of_the_splits_are(backbone, sequences):
    surprises = measure_surprises(backbone, sequences, COUNTS, config())
    everything = embed_events(backbone, sequences, surprises, config())
    outside = dataclasses.replace(sequences, split_N=np.full_like(sequences.split_N, -1))
    rows = np.array([50, 3, 20])
    chosen = embed_rows(backbone, outside, surprises, rows, config())
    assert chosen["row"].to_list() == rows.tolist()
    expected = everything[rows]
    assert chosen.drop("embedding").equals(expected.drop("embedding"))
    np.testing.assert_allclose(chosen["embedding"].to_numpy(), expected["embedding"].to_numpy(), atol=1e-5)
    assert embed_rows(backbone, outside, surprises, rows[:0], config()).schema == everything.schema
