"""Row n of the sequences is row n of the events."""

import numpy as np
import polars as pl
import pytest

from panther_pipeline.cards.keys import CardKey
from panther_pipeline.errors import ArtifactError, ConfigurationError
from panther_pipeline.ledger.splits import assign_split
from panther_pipeline.tokenizer.build import build_sequences
from panther_pipeline.tokenizer.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def tokenizer(events, profiles, splits, make_config):
    return Tokenizer.fit(events, profiles, make_config(), splits)


def test_rows_are_those_of_the_events(events, profiles, splits, tokenizer):
    sequences = build_sequences(events, profiles, tokenizer, splits)
    users = np.array(sequences.user_ids)[sequences.user_ix_N()]
    assert users.tolist() == events["user_id"].to_list()
    assert sequences.time_us_N.tolist() == events["event_time"].dt.timestamp("us").to_list()
    assert sequences.token_ids_N.tolist() == tokenizer.encode(events).token_ids_N.tolist()
    assert sequences.split_N.tolist() == assign_split(sequences.time_us_N, events["user_id"], splits).tolist()
    assert sequences.offsets_U1[-1] == len(events)
    regions = dict(profiles.select("user_id", "region").iter_rows())
    field = tokenizer.profile_fields[0]
    assert sequences.profile_ids_UP[:, 0].tolist() == [field.encode_one(regions[u]) for u in sequences.user_ids]
    assert sequences.tokenizer_digest == tokenizer.digest
    assert sequences.vocab_size == tokenizer.vocab_size


@pytest.mark.parametrize(
    ("disorder", "row"),
    [
        (lambda e: e.reverse(), 1),
        (lambda e: pl.concat([e[:5], e[5:7].reverse(), e[7:]]), 6),
        (lambda e: pl.concat([e, e[:1]]), 3000),
        (lambda e: e.with_columns(event_time=pl.col("event_time").reverse()), 1),
        (lambda e: e.with_columns(event_seq=pl.lit(0)), 1),
    ],
)
def test_events_out_of_order_are_refused(events, profiles, splits, tokenizer, disorder, row):
    with pytest.raises(ConfigurationError, match=rf"row {row} is out of order.*--pipelines=validate"):
        build_sequences(disorder(events), profiles, tokenizer, splits)


def test_an_empty_ledger_builds_empty_sequences(events, profiles, splits, tokenizer):
    sequences = build_sequences(events.clear(), profiles, tokenizer, splits)
    assert (sequences.num_events, sequences.num_users) == (0, 0)
    assert sequences.offsets_U1.tolist() == [0]
    assert sequences.profile_ids_UP.shape == (0, 2)


def test_full_temporary_folder_is_told_before_anything_is_written(events, profiles, splits, make_config, monkeypatch):
    def no_room(descriptor, offset, num_bytes):
        raise OSError(28, "No space left on device")

    tokenizer = Tokenizer.fit(events, profiles, make_config(), splits)
    monkeypatch.setattr("os.posix_fallocate", no_room)
    with pytest.raises(ConfigurationError, match=r"12,000 bytes of temporary space .* No space left .* TMPDIR"):
        build_sequences(events, profiles, tokenizer, splits)


def test_profiles_whose_cards_have_another_key_are_refused(events, profiles, splits, tokenizer):
    first, second = (CardKey(bytes([byte]) * 32).token("4111111111111111") for byte in (1, 2))
    one_user = events.filter(pl.col("user_id") == events["user_id"][0]).with_columns(user_id=pl.lit(first))
    same = profiles.head(1).with_columns(user_id=pl.lit(first))
    assert build_sequences(one_user, same, tokenizer, splits).user_ids == [first]
    with pytest.raises(ArtifactError, match="different keys"):
        build_sequences(one_user, same.with_columns(user_id=pl.lit(second)), tokenizer, splits)
