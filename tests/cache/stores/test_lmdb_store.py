"""What LMDB adds to the promises of every store: files that are verified, synced, shared and cleared away."""

import gc
import json
import threading
import time
from contextlib import closing

import pytest

from panther_pipeline import publish
from panther_pipeline.cache.stores.lmdb_generation import RECORDS, GenerationFile
from panther_pipeline.cache.stores.lmdb_live import LiveFile
from panther_pipeline.cache.stores.lmdb_store import LmdbSource, LmdbStore, count_live_rows
from panther_pipeline.errors import ArtifactError, StoreError
from panther_pipeline.publish import MANIFEST, publish_folder, read_manifest

from .counting import PAIR, pair_of, plus_one, replay


@pytest.fixture
def folder(lmdb_backend):
    lmdb_backend.publish(pair_of(b"0"))
    return lmdb_backend.folder


def records_file(folder):
    return folder / read_manifest(folder)["generation"] / RECORDS


def flip_a_bit(path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_file_grows_as_needed_and_takes_what_it_holds(lmdb_backend):
    """30 MB of records, in no order: more than the map begins with."""
    lmdb_backend.publish((("user", f"{i * 7919 % 3000:04d}"), bytes(10_000)) for i in range(3000))
    generation = records_file(lmdb_backend.folder)
    assert 30e6 < generation.stat().st_size < 40e6
    assert [path.name for path in generation.parent.iterdir()] == [RECORDS]


def test_rows_that_arrived_are_counted_in_whichever_generation(folder, lmdb_backend):
    assert count_live_rows(folder) == 0
    with closing(LmdbSource(folder).open(replay)) as store:
        for i in range(3):
            store.update(PAIR, plus_one, b"%d" % i)
        assert count_live_rows(folder) == 3
        lmdb_backend.publish(pair_of(b"100"))
        assert count_live_rows(folder) == 3  # nobody has carried them over yet
        assert store.is_outdated()
        assert LmdbSource(folder).facts() != store.facts


@pytest.mark.parametrize("damage", [flip_a_bit, lambda path: path.write_bytes(path.read_bytes()[:-4096])])
def test_damaged_generation_is_refused(folder, damage):
    damage(records_file(folder))
    with pytest.raises(ArtifactError, match=r"records\.mdb has changed"):
        LmdbStore.open(folder)


def test_sample_holds_the_first_users_alone(lmdb_backend):
    names = ["Zoë", "a", "b", "c", "\U0010ffff", "x" * 1000]
    lmdb_backend.publish(((kind, name), b"") for kind in ("user", "counterparty") for name in names)
    with closing(lmdb_backend.open()) as store:
        assert store.sample_users(3) == ["Zoë", "a", "b"]
        assert store.sample_users(10) == ["Zoë", "a", "b", "c", "\U0010ffff"]
        store.update([("user", "A")], lambda _: {("user", "A"): b""})
        assert store.sample_users(1) == ["Zoë"]  # of the generation


def test_first_keys_end_with_their_prefix(folder):
    generation = GenerationFile.open(folder, read_manifest(folder))
    assert (generation.first_keys(b"c", 9), generation.first_keys(b"u", 9)) == ([b"cb"], [b"ua"])
    assert generation.first_keys(b"v", 9) == generation.first_keys(b"a", 9) == generation.first_keys(b"u", 0) == []


@pytest.mark.parametrize("kinds", [(), ("counterparty",)])
def test_sample_of_a_store_without_users_is_empty(lmdb_backend, kinds):
    lmdb_backend.publish(((kind, "a"), b"") for kind in kinds)
    with closing(lmdb_backend.open()) as store:
        assert store.sample_users(3) == []


def test_verification_can_be_left_to_others(folder, monkeypatch):
    monkeypatch.setattr(publish, "file_digest", None)
    with closing(LmdbStore.open(folder, verify=False)) as store:
        assert store.get(PAIR[0]) == b"0"
    with pytest.raises(TypeError):
        LmdbStore.open(folder)


def test_file_that_is_no_lmdb_is_refused_with_verify_or_without(lmdb_backend):
    def write(folder):
        (folder / RECORDS).write_bytes(b"no such thing" * 1000)

    facts = {"records": {"format": 1, "counts": {"user": 0, "counterparty": 0}, "digest": ""}}
    publish_folder(lmdb_backend.folder, write, facts)
    with pytest.raises(ArtifactError, match="cannot be opened"):
        lmdb_backend.open()


@pytest.mark.parametrize(("found", "message"), [
    (None, "another version"), ({"format": 2, "counts": {}}, "another version"),
    ({"format": 1, "counts": {"user": 2, "counterparty": 1}}, "holds 2 records"),
])  # fmt: skip
def test_facts_that_do_not_fit_are_refused(folder, found, message):
    manifest = read_manifest(folder)
    manifest["facts"] = {"records": found}
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match=message):
        LmdbStore.open(folder)


def test_store_stays_where_it_is_when_the_new_generation_is_damaged(lmdb_backend, folder):
    with closing(LmdbStore.open(folder, replay=replay)) as store:
        lmdb_backend.publish(pair_of(b"100"))
        flip_a_bit(records_file(folder))
        with pytest.raises(ArtifactError):
            store.reopen_if_changed()
        store.update(PAIR, plus_one, b"row")
        assert store.get_many(PAIR) == [b"1", b"1"]
        lmdb_backend.roll_back()
        assert not store.reopen_if_changed()


def test_follower_does_not_read_the_file_that_another_has_verified(lmdb_backend, folder, monkeypatch):
    with closing(LmdbStore.open(folder, replay=replay)) as first, closing(LmdbStore.open(folder)) as second:
        lmdb_backend.publish(pair_of(b"100"))
        first.reopen_if_changed()
        monkeypatch.setattr(publish, "file_digest", None)
        second.update(PAIR, plus_one, b"row")
        assert second.get_many(PAIR) == [b"101", b"101"]


def test_live_files_go_with_their_generation(lmdb_backend, folder):
    with closing(LmdbStore.open(folder, replay=replay)) as store:
        for i in range(4):
            store.update(PAIR, plus_one, b"row")
            lmdb_backend.publish(pair_of(b"0"))
            store.reopen_if_changed()
            generations = {path.name for path in folder.iterdir() if publish.is_generation(path)}
            assert {path.name.split(".")[0] for path in (folder / "live").iterdir()} == generations, i
        assert store.get_many(PAIR) == [b"4", b"4"]


def test_live_file_with_rows_outlives_its_generation(lmdb_backend, folder):
    with closing(LmdbStore.open(folder)) as store:
        store.update(PAIR, plus_one, b"row")
    for _ in range(3):
        lmdb_backend.publish(pair_of(b"0"))
    with pytest.raises(StoreError, match="replay"):
        LmdbStore.open(folder)
    with closing(LmdbStore.open(folder, replay=replay)) as store:
        assert store.get_many(PAIR) == [b"1", b"1"]
    assert len(list((folder / "live").glob("*.mdb"))) == 1


def test_full_live_file_refuses_and_keeps_what_it_has(folder):
    with closing(LmdbStore.open(folder, live_map_bytes=1 << 20)) as store:
        store.update(PAIR, plus_one, b"row")
        with pytest.raises(StoreError, match="no room"):
            store.update(PAIR, lambda before: dict.fromkeys(PAIR, bytes(1 << 20)), b"too large")
        assert store.get_many(PAIR) == [b"1", b"1"]
        assert [row for _, row in store.journal()] == [b"row"]


def test_space_of_old_records_is_used_again(folder):
    with closing(LmdbStore.open(folder, live_map_bytes=1 << 20)) as store:
        for i in range(500):  # 50 MB through a map of 1 MB
            store.update(PAIR[:1], lambda before, i=i: {PAIR[0]: b"%d" % i * 30_000})
            assert store.get(PAIR[0])[:1] == b"%d" % (int(str(i)[0]))


def test_changes_are_synced_in_the_background(folder, monkeypatch):
    synced = threading.Event()
    monkeypatch.setattr(LiveFile, "sync", lambda live: (live._changed.clear(), synced.set()))
    with closing(LmdbStore.open(folder, sync_every_s=0.02)) as store:
        time.sleep(0.1)
        synced.clear()  # of opening it
        assert not synced.wait(0.1)
        store.update(PAIR, plus_one, b"row")
        assert synced.wait(5)


@pytest.mark.parametrize(("sync_every_s", "num_threads"), [(0.02, 1), (0, 0)])
def test_no_thread_outlives_the_store(folder, sync_every_s, num_threads):
    def syncers():
        return {thread for thread in threading.enumerate() if thread.name == "live-records-sync"}

    before = syncers()  # of other tests; they may end meanwhile
    store = LmdbStore.open(folder, sync_every_s=sync_every_s)
    store.update(PAIR, plus_one, b"row")
    own = syncers() - before
    assert len(own) == num_threads
    store.close()
    gc.collect()
    for thread in own:
        thread.join(timeout=5)
        assert not thread.is_alive()


def test_read_that_is_under_way_ends_in_the_old_generation(lmdb_backend, folder):
    with closing(LmdbStore.open(folder, replay=lambda store, row: None)) as store:
        for i in range(3):
            store.update(PAIR, plus_one, b"%d" % i)
        rows = store.journal()
        assert next(rows) == (1, b"0")
        for _ in range(2):
            lmdb_backend.publish(pair_of(b"9"))
            store.reopen_if_changed()
        gc.collect()
        assert list(rows) == [(2, b"1"), (3, b"2")]
