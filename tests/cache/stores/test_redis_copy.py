"""What is copied into Redis is what the run published, under the same keys and facts."""

from contextlib import closing

import pytest

from panther_pipeline.cache.stores.lmdb_generation import RECORDS
from panther_pipeline.cache.stores.redis_copy import copy_generation
from panther_pipeline.cache.stores.redis_generation import publish_encoded, read_manifest, verify_generation
from panther_pipeline.errors import ArtifactError
from panther_pipeline.publish import read_manifest as read_folder

from .counting import PAIR, pair_of, plus_one, replay

MANY = {("user", "x" * 600): b"long id", ("user", "Zoë"): b"", **{("user", f"{i:04d}"): b"%d" % i for i in range(5000)}}


@pytest.fixture
def client(redis_backend):
    return redis_backend.client


def test_copy_is_the_generation_of_the_folder(lmdb_backend, redis_backend, client):
    facts, told = lmdb_backend.publish(MANY.items(), {"as_of_us": 7}), []
    assert copy_generation(lmdb_backend.folder, client, "test", told.append)
    with closing(redis_backend.open(verify=True)) as store:
        assert store.facts == facts
        assert store.get_many(list(MANY)) == list(MANY.values())
    assert told[-1] == len(MANY)


def test_generation_that_is_current_is_not_copied_again(lmdb_backend, client):
    lmdb_backend.publish(pair_of(b"1"))
    assert copy_generation(lmdb_backend.folder, client, "test")
    before = set(client.keys("*"))
    assert not copy_generation(lmdb_backend.folder, client, "test")
    assert set(client.keys("*")) == before


@pytest.mark.parametrize("lost", ["facts", "base"])
def test_current_generation_that_lost_a_key_is_copied_again(lmdb_backend, redis_backend, client, lost):
    lmdb_backend.publish(pair_of(b"1"))
    copy_generation(lmdb_backend.folder, client, "test")
    (key, *_) = [key for key in client.keys("*") if f":{lost}".encode() in key]
    client.delete(key)
    assert copy_generation(lmdb_backend.folder, client, "test")
    with closing(redis_backend.open(verify=True)) as store:
        assert store.get_many(PAIR) == [b"1", b"1"]


def test_next_generation_takes_over_what_arrived(lmdb_backend, redis_backend, client):
    lmdb_backend.publish(pair_of(b"0"))
    copy_generation(lmdb_backend.folder, client, "test")
    with closing(redis_backend.open(replay)) as store:
        store.update(PAIR, plus_one, b"row")
        lmdb_backend.publish(pair_of(b"100"))
        assert copy_generation(lmdb_backend.folder, client, "test")
        assert store.reopen_if_changed()
        assert store.get_many(PAIR) == [b"101", b"101"]


def test_damaged_file_is_not_copied(lmdb_backend, client):
    lmdb_backend.publish(pair_of(b"0"))
    path = lmdb_backend.folder / read_folder(lmdb_backend.folder)["generation"] / RECORDS
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="has changed"):
        copy_generation(lmdb_backend.folder, client, "test")
    assert not client.keys("*")


def test_records_that_are_not_those_of_the_facts_are_not_published(client):
    published = publish_encoded(client, "test", [[(b"ua", b"1")]], {})
    before = set(client.keys("*"))
    with pytest.raises(ArtifactError, match="their facts say"):
        publish_encoded(client, "test", [[(b"ua", b"2")]], published)
    assert set(client.keys("*")) == before
    manifest = read_manifest(client, "test")
    assert manifest["facts"] == published
    verify_generation(client, "test", manifest["generation"])
