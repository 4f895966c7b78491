"""The embedding of a date is the state after the last event strictly before it."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from panther_pipeline.cache.embed import EventEmbeddingConfig
from panther_pipeline.errors import ArtifactError, ConfigurationError
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.model.batch import EventBatch
from panther_pipeline.model.config import ModelConfig
from panther_pipeline.tasks.user_label.states import embed_histories, past_rows
from panther_pipeline.tokenizer.sequences import TokenSequences

CONFIG = EventEmbeddingConfig(since=None, refresh="each_event", batch_size=4)
LENGTHS = (5, 12, 0, 3)
DIM = 8


@pytest.fixture(scope="module")
def sequences() -> TokenSequences:
    rng = np.random.default_rng(0)
    num = sum(LENGTHS)
    # Pairs of events share an instant, as on a day without a clock.
    times = [1_700_000_000_000_000 + np.arange(n) // 2 * 86_400_000_000 for n in LENGTHS]
    return TokenSequences(
        user_ids=["a", "b", "c", "d"],
        offsets_U1=np.concatenate([[0], np.cumsum(LENGTHS)]).astype(np.int64),
        token_ids_N=rng.integers(1, 9, num).astype(np.int32),
        attribute_ids_NF=rng.integers(1, 4, (num, 1)).astype(np.int32),
        time_us_N=np.concatenate(times).astype(np.int64),
        split_N=np.zeros(num, dtype=np.int8),
        profile_ids_UP=np.zeros((len(LENGTHS), 0), dtype=np.int32),
        vocab_size=9,
        attribute_names=["x"],
        attribute_sizes=[4],
        profile_names=[],
        profile_sizes=[],
        tokenizer_digest="t",
    )


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    torch.set_num_threads(1)
    config = ModelConfig(dim=DIM, num_layers=1, num_heads=2, max_events=16, num_prototypes=2, dropout=0.0)
    sizes = {"attribute_sizes": [4], "profile_sizes": []}
    return Backbone(config, vocab_size=9, **sizes, tokenizer_digest="t", tokenizer_kind="structured", seed=1).eval()


@pytest.fixture(scope="module")
def surprises() -> pl.DataFrame:
    return pl.DataFrame({"surprise": np.random.default_rng(1).random(sum(LENGTHS), dtype=np.float32)})


def as_of(sequences: TokenSequences, rows: list[tuple[str, int]]) -> pl.DataFrame:
    """Labels of (user, microseconds after the first instant)."""
    start = int(sequences.time_us_N[0])
    instants = pl.Series([start + after for _, after in rows], dtype=pl.Int64)
    return pl.DataFrame({"user_id": [user for user, _ in rows], "as_of": instants.cast(pl.Datetime("us", "UTC"))})


DAY = 86_400_000_000
ROWS = [("a", DAY), ("a", 90 * DAY), ("b", 2 * DAY + 1), ("b", 3 * DAY), ("c", DAY), ("d", 0)]


def test_past_ends_before_the_first_event_of_the_date(sequences):
    first_L, stop_L = past_rows(as_of(sequences, ROWS), sequences)
    assert (stop_L - first_L).tolist() == [2, 5, 6, 6, 0, 0]
    assert first_L.tolist() == [0, 0, 5, 5, 17, 17]


def test_state_is_that_of_a_history_cut_at_the_date(sequences, backbone, surprises):
    labels = as_of(sequences, ROWS)
    found = embed_histories(labels, sequences, backbone, surprises, CONFIG)
    first_L, stop_L = past_rows(labels, sequences)
    for row, first, stop in zip(found.iter_rows(named=True), first_L, stop_L, strict=True):
        past = surprises["surprise"].to_numpy()[first:stop]
        assert row["has_history"] == (stop > first)
        if stop == first:
            assert not np.any(row["embedding"])
            assert row["surprise_mean"] == row["surprise_std"] == 0
            continue
        user = sequences.user_ix_N()[[first]]
        with torch.inference_mode():
            h_BTD = backbone(EventBatch.from_windows(sequences, user, np.array([first]), np.array([stop])))
        assert np.allclose(row["embedding"], h_BTD[0, -1].numpy(), atol=1e-5)
        assert row["surprise_mean"] == pytest.approx(past.mean(), abs=1e-6)
        assert row["surprise_std"] == pytest.approx(past.std(), abs=1e-6)


def test_events_from_the_date_on_change_nothing(sequences, backbone, surprises):
    labels = as_of(sequences, [("a", DAY), ("b", 3 * DAY), ("c", 0)])
    is_future_N = np.ones(sequences.num_events, dtype=bool)
    for first, stop in zip(*past_rows(labels, sequences), strict=True):
        is_future_N[first:stop] = False
    other = replace(sequences, token_ids_N=np.where(is_future_N, 2, sequences.token_ids_N))
    surprised = surprises.with_columns(surprise=pl.when(pl.Series(is_future_N)).then(99).otherwise("surprise"))
    before = embed_histories(labels, sequences, backbone, surprises, CONFIG)
    assert not np.array_equal(other.token_ids_N, sequences.token_ids_N)
    assert embed_histories(labels, other, backbone, surprised.cast(pl.Float32), CONFIG).equals(before)


def test_dates_without_an_event_between_them_share_a_state(sequences, backbone, surprises):
    found = embed_histories(as_of(sequences, ROWS), sequences, backbone, surprises, CONFIG)
    assert found["embedding"][2].equals(found["embedding"][3])
    assert not found["embedding"][0].equals(found["embedding"][1])


def test_no_labels_give_no_rows(sequences, backbone, surprises):
    found = embed_histories(as_of(sequences, ROWS)[:0], sequences, backbone, surprises, CONFIG)
    assert found.height == 0
    assert found.schema["embedding"] == pl.Array(pl.Float32, DIM)


def test_parts_of_different_ledgers_are_refused(sequences, backbone, surprises):
    labels = as_of(sequences, ROWS)
    with pytest.raises(ConfigurationError, match="event_surprises \\(19 rows\\) do not belong"):
        embed_histories(labels, sequences, backbone, surprises[1:], CONFIG)
    with pytest.raises(ConfigurationError, match="1 of 7 user labels belong to users without token sequences"):
        embed_histories(as_of(sequences, [*ROWS, ("e", 0)]), sequences, backbone, surprises, CONFIG)
    with pytest.raises(ArtifactError, match="Run the pretrain pipeline again"):
        embed_histories(labels, replace(sequences, tokenizer_digest="o"), backbone, surprises, CONFIG)
