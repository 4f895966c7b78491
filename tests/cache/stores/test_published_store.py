"""A published copy is read as it is: nothing is written beside it, nothing is taken in."""

import pytest

from panther_pipeline.cache.stores.lmdb_generation import write_generation
from panther_pipeline.cache.stores.published_store import PublishedSource, PublishedStore
from panther_pipeline.errors import ArtifactError, StoreError

RECORDS = [(("user", "u1"), b"one"), (("counterparty", "m1"), b"shop")]


@pytest.fixture
def folder(tmp_path):
    write_generation(tmp_path / "store", RECORDS, {"as_of_us": 7})
    return tmp_path / "store"


def test_published_store_reads_the_generation(folder):
    store = PublishedStore.open(folder)
    assert store.facts["as_of_us"] == 7
    assert (folder / store.generation).is_dir()
    assert store.get(("user", "u1")) == b"one"
    assert store.get_many([("counterparty", "m1"), ("user", "nobody")]) == [b"shop", None]
    assert not list(store.journal())
    assert not store.reopen_if_changed()


def test_source_of_a_copy_knows_its_facts_and_opens_it(folder):
    source, replayed = PublishedSource(folder), []
    store = source.open(lambda records, row: replayed.append(row))
    assert store.facts == source.facts()
    assert store.get(("user", "u1")) == b"one"
    assert not replayed


def test_published_store_writes_nothing_beside_the_generation(folder):
    before = sorted(folder.rglob("*"))
    store = PublishedStore.open(folder)
    store.get(("user", "u1"))
    assert sorted(folder.rglob("*")) == before


def test_published_store_takes_in_nothing(folder):
    store = PublishedStore.open(folder)
    with pytest.raises(StoreError, match="takes in no events"):
        store.update([("user", "u1")], lambda before: {("user", "u1"): b"two"})
    assert store.get(("user", "u1")) == b"one"


def test_closed_published_store_says_so(folder):
    store = PublishedStore.open(folder)
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.get(("user", "u1"))


def test_damaged_copy_is_refused(folder):
    (file,) = folder.glob("*/records.mdb")
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ArtifactError, match="has changed"):
        PublishedStore.open(folder)
