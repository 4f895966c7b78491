"""Sequences on disk: the same arrays come back, mapped; damage is noticed."""

from dataclasses import fields

import numpy as np
import polars as pl
import pytest

from panther_pipeline.errors import ArtifactError
from panther_pipeline.publish import publish_folder
from panther_pipeline.tokenizer.build import build_sequences
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.tokenizer.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def build(events, profiles, splits, make_config):
    def build(rows, with_profiles=True):
        users = profiles if with_profiles else pl.DataFrame()
        return build_sequences(rows, users, Tokenizer.fit(events, users, make_config(), splits), splits)

    return build


def assert_equal(left: TokenSequences, right: TokenSequences) -> None:
    for field in fields(TokenSequences):
        a, b = getattr(left, field.name), getattr(right, field.name)
        if isinstance(a, np.ndarray):
            assert (a.dtype, a.shape) == (b.dtype, b.shape), field.name
            assert np.array_equal(a, b), field.name
        else:
            assert a == b, field.name


@pytest.mark.parametrize("with_profiles", [True, False])
@pytest.mark.parametrize("num_rows", [3000, 1, 0])
def test_sequences_come_back_as_saved(events, build, tmp_path, num_rows, with_profiles):
    sequences = build(events[:num_rows], with_profiles)
    sequences.save(tmp_path / "sequences")
    assert_equal(TokenSequences.load(tmp_path / "sequences"), sequences)


def test_loaded_arrays_are_mapped_not_read(events, build, tmp_path):
    build(events).save(tmp_path)
    loaded = TokenSequences.load(tmp_path)
    assert not loaded.token_ids_N.flags.owndata
    assert not loaded.token_ids_N.flags.writeable
    assert not loaded.attribute_ids_NF.flags.owndata


def test_users_index_their_rows(events, build):
    sequences = build(events)
    assert np.bincount(sequences.user_ix_N()).tolist() == np.diff(sequences.offsets_U1).tolist()
    assert sequences.num_users == events["user_id"].n_unique()


@pytest.mark.parametrize("name", ["events.arrow", "users.arrow"])
def test_a_damaged_file_is_noticed(events, build, tmp_path, name):
    build(events).save(tmp_path)
    (file,) = tmp_path.glob(f"*/{name}")
    damaged = bytearray(file.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    file.write_bytes(damaged)
    with pytest.raises(ArtifactError, match=name):
        TokenSequences.load(tmp_path)
    file.unlink()
    with pytest.raises(ArtifactError, match="missing"):
        TokenSequences.load(tmp_path)


def test_another_artifact_is_not_taken_for_sequences(tmp_path):
    publish_folder(tmp_path, lambda folder: (folder / "model.bin").write_bytes(b"x"), facts={"width": 3})
    with pytest.raises(ArtifactError, match="does not hold token sequences"):
        TokenSequences.load(tmp_path)
