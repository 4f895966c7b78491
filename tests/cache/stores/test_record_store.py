"""What every record store promises, asked of each backend."""

import random
import signal
import threading
import time
from collections import Counter
from contextlib import closing

import pytest

from panther_pipeline.cache.stores.record_store import check_changes, encode_key
from panther_pipeline.errors import ArtifactError, ConfigurationError, StoreError, StoreMovedError

from .counting import PAIR, pair_of, plus_one, replay

LONG = "ü" * 255 + "x"  # 511 bytes: with its letter one more than a plain key may have
IDS = ["a", "A", "4711", "Zoë 😀", "a\x00b", "x" * 510, "x" * 511, LONG, LONG + "y", "x" * 100_000]


def rows_of(store) -> list[bytes]:
    return [row for _, row in store.journal()]


def test_records_come_back_as_written(backend):
    records = {(kind, name): f"{kind} {name}".encode()[:50] for kind in ("user", "counterparty") for name in IDS}
    backend.publish(records.items(), {"as_of_us": 7})
    with closing(backend.open()) as store:
        assert store.get_many(list(records)) == list(records.values())
        assert [store.get(key) for key in records] == list(records.values())


def test_empty_record_is_a_record(backend):
    backend.publish([(("user", "a"), b"")])
    with closing(backend.open()) as store:
        assert store.get(("user", "a")) == b""
        store.update([("user", "a"), ("user", "b")], lambda before: dict.fromkeys(before, b""))
        assert store.get_many([("user", "a"), ("user", "b"), ("user", "c")]) == [b"", b"", None]


def test_unknown_key_is_none(backend):
    backend.publish(pair_of(b"0"))
    with closing(backend.open()) as store:
        assert store.get(("user", "nobody")) is None
        assert store.get_many([("user", "b"), *PAIR, ("counterparty", "a")]) == [None, b"0", b"0", None]
        assert store.get_many([]) == []


def test_sample_lists_users_alone_or_nobody(backend):
    backend.publish(pair_of(b"0"))
    with closing(backend.open()) as store:
        assert store.sample_users(9) in (["a"], [])  # Redis lists nobody
        assert store.sample_users(0) == []


def test_empty_generation_is_a_generation(backend):
    facts = backend.publish([], {"as_of_us": 7})
    with closing(backend.open()) as store:
        assert store.facts == facts
        assert facts["records"]["counts"] == {"user": 0, "counterparty": 0}
        assert store.get(PAIR[0]) is None
        store.update(PAIR, plus_one, b"row")
        assert store.get_many(PAIR) == [b"1", b"1"]


def test_facts_count_and_digest_records_in_any_order(backend):
    records = [(("user", str(i)), b"%d" % i) for i in range(3000)] + pair_of(b"x")
    ordered = backend.publish(records, {"backbone": "b"})
    random.Random(0).shuffle(records)
    shuffled = backend.publish(iter(records), {"backbone": "b"})
    assert ordered == shuffled
    assert ordered["records"]["counts"] == {"user": 3001, "counterparty": 1}
    other = backend.publish([*records[:-1], (records[-1][0], b"other")])
    assert other["records"]["digest"] != ordered["records"]["digest"]
    assert other["records"]["counts"] == ordered["records"]["counts"]
    with closing(backend.open()) as store:
        assert store.facts == other


def test_more_records_than_a_batch_holds(backend):
    records = {("user", str(i)): b"%d" % i * 9 for i in random.Random(1).sample(range(10**6), 45_000)}
    backend.publish(records.items())
    with closing(backend.open()) as store:
        assert store.get_many(list(records)) == list(records.values())


@pytest.mark.parametrize("apart", [0, 30_000])
def test_two_records_for_a_key_are_refused(backend, apart):
    backend.publish(pair_of(b"old"))
    between = ((("user", str(i)), b"") for i in range(apart))
    with pytest.raises(ArtifactError, match="Two records for one"):
        backend.publish([(PAIR[0], b"1"), *between, (PAIR[0], b"2")])
    with closing(backend.open()) as store:
        assert store.get_many(PAIR) == [b"old", b"old"]


@pytest.mark.parametrize(("key", "message"), [
    (("user", ""), "without an id"), (("merchant", "a"), "user or counterparty"), (("user", "\ud800"), "UTF-8"),
])  # fmt: skip
def test_key_without_an_id_is_refused(backend, key, message):
    with pytest.raises(StoreError, match=message):
        backend.publish([(key, b"")])
    backend.publish([])
    with closing(backend.open()) as store:
        for ask in (store.get, lambda key: store.get_many([key]), lambda key: store.update([key], plus_one)):
            with pytest.raises(StoreError, match=message):
                ask(key)


def test_encoded_keys_never_collide():
    digest_like = encode_key(("user", LONG))[1:].decode("latin-1")
    keys = [(kind, name) for kind in ("user", "counterparty") for name in [*IDS, digest_like, "U" + digest_like]]
    encoded = [encode_key(key) for key in keys]
    assert len(set(encoded)) == len(keys)
    assert max(map(len, encoded)) == 511
    of_each_form = [encode_key((kind, name)) for kind in ("user", "counterparty") for name in ("a", LONG)]
    assert len({key[:1] for key in of_each_form}) == 4


def test_reserved_fact_is_refused(backend):
    with pytest.raises(ConfigurationError, match="records"):
        backend.publish([], {"records": 1})


def test_nothing_published_says_what_to_do(backend):
    with pytest.raises(ArtifactError, match="Run"):
        backend.open()


def test_change_sees_old_records_and_writes_new_ones(backend):
    backend.publish([(PAIR[0], b"5")])
    with closing(backend.open()) as store:
        seen = []
        store.update(PAIR, lambda before: seen.append(before) or {PAIR[0]: b"6"}, b"row")
        store.update(PAIR, lambda before: seen.append(before) or {}, b"seen only")
        assert seen == [{PAIR[0]: b"5", PAIR[1]: None}, {PAIR[0]: b"6", PAIR[1]: None}]
        assert store.get_many(PAIR) == [b"6", None]
        assert rows_of(store) == [b"row", b"seen only"]


def test_failed_change_changes_nothing(backend):
    backend.publish(pair_of(b"0"))

    def fail(before):
        raise RuntimeError("no")

    with closing(backend.open()) as store:
        for change in (fail, lambda before: {("user", "other"): b""}, lambda before: {PAIR[0]: "text"}):
            with pytest.raises((RuntimeError, StoreError)):
                store.update(PAIR, change, b"row")
        assert store.get_many([*PAIR, ("user", "other")]) == [b"0", b"0", None]
        assert rows_of(store) == []
        store.update(PAIR, plus_one, b"row")
        assert store.get_many(PAIR) == [b"1", b"1"]


def test_change_may_only_write_what_it_was_given():
    with pytest.raises(StoreError, match="1 keys that update"):
        check_changes(PAIR, {PAIR[0]: b"", ("user", "other"): b""})


def test_threads_and_processes_lose_no_update(backend, start_child):
    backend.publish(pair_of(b"0"))
    children = [start_child("increment", times=500, name=f"p{i}") for i in range(2)]
    torn = []
    with closing(backend.open()) as store:

        def count_up(name: str) -> None:
            for i in range(500):
                store.update(PAIR, plus_one, f"{name} {i}".encode())
                torn.append(len(set(store.get_many(PAIR))) != 1)

        threads = [threading.Thread(target=count_up, args=(f"t{i}",)) for i in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [child.wait(timeout=60) for child in children] == [0, 0]
        assert store.get_many(PAIR) == [b"2000", b"2000"]
        assert len(torn) == 1000
        assert not any(torn)
        by_writer: dict[str, list[int]] = {}
        for row in rows_of(store):
            name, number = row.decode().split()
            by_writer.setdefault(name, []).append(int(number))
    assert by_writer == {name: list(range(500)) for name in by_writer}
    assert len(by_writer) == 4


def test_journal_keeps_order_over_reopening(backend):
    backend.publish(pair_of(b"0"))
    rows = [b"%d" % i for i in range(2500)]
    for part in (rows[:1200], rows[1200:]):
        with closing(backend.open()) as store:
            for row in part:
                store.update([], lambda before: {}, row)
    with closing(backend.open()) as store:
        assert list(store.journal()) == list(enumerate(rows, start=1))
        assert list(store.journal(after=1100)) == list(enumerate(rows, start=1))[1100:]
        assert list(store.journal(after=2500)) == []


def test_closed_store_says_so(backend):
    backend.publish(pair_of(b"0"))
    store = backend.open()
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.get(PAIR[0])


def test_two_stores_in_a_process_share_records(backend):
    backend.publish(pair_of(b"0"))
    with closing(backend.open()) as second:
        with closing(backend.open()) as first:
            first.update(PAIR, plus_one, b"row")
        assert second.get_many(PAIR) == [b"1", b"1"]
        second.update(PAIR, plus_one, b"row")
        assert second.get_many(PAIR) == [b"2", b"2"]


def test_swap_carries_the_journal(backend):
    backend.publish(pair_of(b"100"), {"n": 1})
    with closing(backend.open(replay)) as store:
        for i in range(3):
            store.update(PAIR, plus_one, b"%d" % i)
        backend.publish(pair_of(b"200"), {"n": 2})
        old = store.generation
        assert (store.get_many(PAIR), store.facts["n"]) == ([b"103", b"103"], 1)
        assert store.reopen_if_changed()
        assert not store.reopen_if_changed()
        assert (store.get_many(PAIR), store.facts["n"]) == ([b"203", b"203"], 2)
        assert store.generation != old
        store.update(PAIR, plus_one, b"3")
        assert list(store.journal()) == [(1, b"0"), (2, b"1"), (3, b"2"), (4, b"3")]


def test_rows_left_behind_keep_their_numbers_from_use(backend):
    backend.publish(pair_of(b"0"))
    with closing(backend.open(lambda store, row: None)) as store:
        for i in range(3):
            store.update(PAIR, plus_one, b"%d" % i)
        backend.publish(pair_of(b"200"))
        store.reopen_if_changed()
        assert (store.get_many(PAIR), rows_of(store)) == ([b"200", b"200"], [])
        store.update(PAIR, plus_one, b"new")
        assert list(store.journal()) == [(4, b"new")]


def test_rows_keep_their_numbers_when_others_are_left_behind(backend):
    backend.publish(pair_of(b"0"))
    with closing(backend.open(lambda store, row: int(row) % 2 and replay(store, row))) as store:
        for i in range(5):
            store.update(PAIR, plus_one, b"%d" % i)
        backend.publish(pair_of(b"100"))
        store.reopen_if_changed()
        store.update(PAIR, plus_one, b"5")
        assert list(store.journal()) == [(2, b"1"), (4, b"3"), (6, b"5")]
        assert store.get_many(PAIR) == [b"103", b"103"]


def test_rows_are_carried_by_whoever_opens_first(backend):
    backend.publish(pair_of(b"0"))
    with closing(backend.open()) as store:
        store.update(PAIR, plus_one, b"row")
    for start in (b"100", b"200", b"300"):  # the generation that the row arrived in is removed on the way
        backend.publish(pair_of(start))
    with pytest.raises(StoreError, match="replay"):
        backend.open()
    with closing(backend.open(replay)) as store:
        assert (store.get_many(PAIR), rows_of(store)) == ([b"301", b"301"], [b"row"])


def test_replay_updates_once_per_row(backend):
    backend.publish(pair_of(b"0"))

    def twice(store, row):
        replay(store, row)
        replay(store, row)

    with closing(backend.open(twice)) as store:
        store.update(PAIR, plus_one, b"row")
        backend.publish(pair_of(b"100"))
        with pytest.raises(StoreError, match="once per row"):
            store.reopen_if_changed()
        assert store.get_many(PAIR) == [b"1", b"1"]
        store.update(PAIR, plus_one, b"row")
        assert store.get_many(PAIR) == [b"2", b"2"]


def test_failing_replay_leaves_the_store_where_it_is_and_is_taken_up_again(backend):
    backend.publish(pair_of(b"0"))
    broken = [True]

    def fail_at_the_third(store, row):
        if row == b"2" and broken:
            raise RuntimeError("cannot apply")
        replay(store, row)

    with closing(backend.open(fail_at_the_third)) as store:
        for i in range(5):
            store.update(PAIR, plus_one, b"%d" % i)
        backend.publish(pair_of(b"100"))
        with pytest.raises(RuntimeError):
            store.reopen_if_changed()
        store.update(PAIR, plus_one, b"5")
        assert store.get_many(PAIR) == [b"6", b"6"]
        broken.clear()
        assert store.reopen_if_changed()
        assert store.get_many(PAIR) == [b"106", b"106"]
        assert list(store.journal()) == [(i + 1, b"%d" % i) for i in range(6)]


def test_other_store_follows_with_its_next_update(backend):
    backend.publish(pair_of(b"0"))
    with closing(backend.open(replay)) as first, closing(backend.open(replay)) as second:
        first.update(PAIR, plus_one, b"0")
        backend.publish(pair_of(b"100"))
        assert first.reopen_if_changed()
        assert second.get_many(PAIR) == [b"1", b"1"]
        second.update(PAIR, plus_one, b"1")
        assert second.get_many(PAIR) == first.get_many(PAIR) == [b"102", b"102"]
        assert rows_of(first) == rows_of(second) == [b"0", b"1"]
        assert not second.reopen_if_changed()


def test_roll_back_brings_the_old_records_with_all_events(backend):
    backend.publish(pair_of(b"0"), {"n": 1})
    with closing(backend.open(replay)) as store:
        first = store.generation
        store.update(PAIR, plus_one, b"0")
        backend.publish(pair_of(b"100"), {"n": 2})
        store.reopen_if_changed()
        store.update(PAIR, plus_one, b"1")
        assert backend.roll_back() == first
        assert store.reopen_if_changed()
        assert (store.get_many(PAIR), store.facts["n"]) == ([b"2", b"2"], 1)
        store.update(PAIR, plus_one, b"2")
        backend.roll_back()  # and forth again
        assert store.reopen_if_changed()
        assert (store.get_many(PAIR), store.facts["n"]) == ([b"103", b"103"], 2)
        assert list(store.journal()) == [(1, b"0"), (2, b"1"), (3, b"2")]
        backend.publish(pair_of(b"200"), {"n": 3})
        assert store.reopen_if_changed()
        assert store.get_many(PAIR) == [b"203", b"203"]


def test_roll_back_without_a_previous_generation_is_refused(backend):
    backend.publish([])
    with pytest.raises(ArtifactError, match="no generation before"):
        backend.roll_back()


def test_follower_is_not_led_back_by_a_roll_back(backend):
    backend.publish(pair_of(b"0"))
    with closing(backend.open(replay)) as first, closing(backend.open(replay)) as second:
        start = first.generation
        backend.publish(pair_of(b"100"))
        first.reopen_if_changed()
        backend.roll_back()
        first.reopen_if_changed()
        second.update(PAIR, plus_one, b"0")
        assert first.generation == second.generation == start
        assert first.get_many(PAIR) == second.get_many(PAIR) == [b"1", b"1"]


def test_follower_that_missed_two_moves_goes_to_the_last(backend):
    backend.publish(pair_of(b"0"))
    with closing(backend.open(replay)) as first, closing(backend.open(replay)) as second:
        for start in (b"100", b"200"):
            backend.publish(pair_of(start))
            first.reopen_if_changed()
        second.update(PAIR, plus_one, b"0")
        assert second.generation == first.generation
        assert first.get_many(PAIR) == second.get_many(PAIR) == [b"201", b"201"]


def test_store_that_may_not_follow_stays_whole_and_says_that_it_was_left(backend):
    backend.publish(pair_of(b"0"))
    with closing(backend.open(replay)) as first, closing(backend.open(replay, follow=False)) as second:
        start = second.generation
        second.update(PAIR, plus_one, b"0")
        backend.publish(pair_of(b"100"))
        first.reopen_if_changed()
        with pytest.raises(StoreMovedError, match="Open the store again"):
            second.update(PAIR, plus_one, b"1")
        assert (second.generation, second.get_many(PAIR)) == (start, [b"1", b"1"])
        assert first.get_many(PAIR) == [b"101", b"101"]
        assert second.reopen_if_changed()
        second.update(PAIR, plus_one, b"1")
        assert first.get_many(PAIR) == second.get_many(PAIR) == [b"102", b"102"]


def test_store_is_outdated_once_another_generation_is_published(backend):
    backend.publish(pair_of(b"0"))
    with closing(backend.open(replay)) as store:
        assert not store.is_outdated()
        backend.publish(pair_of(b"100"))
        assert store.is_outdated()
        store.reopen_if_changed()
        assert not store.is_outdated()


def test_store_whose_updates_go_elsewhere_is_outdated_whatever_is_published(backend):
    backend.publish(pair_of(b"0"))
    with closing(backend.open(replay)) as first, closing(backend.open(replay, follow=False)) as second:
        backend.publish(pair_of(b"100"))
        first.reopen_if_changed()
        backend.roll_back()
        assert second.is_outdated()


def test_readers_see_one_generation_during_swaps(backend):
    """20 swaps under a writer and three readers: the pair is always of one generation and one update."""
    backend.publish(pair_of(b"0"))
    stop, mixed, reads, errors = threading.Event(), [], Counter(), []
    with closing(backend.open(replay)) as store:

        def read() -> None:
            try:
                while not stop.is_set():
                    first, second = store.get_many(PAIR)
                    reads[int(first) // 10**6] += 1
                    if first != second:
                        mixed.append((first, second))
                    time.sleep(0.0002)
            except Exception as error:
                errors.append(error)

        def write() -> None:
            try:
                while not stop.is_set():
                    store.update(PAIR, plus_one, b"row")
                    time.sleep(0.01)  # each swap applies all rows so far
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=target) for target in (read, read, read, write)]
        for thread in threads:
            thread.start()
        try:
            for i in range(1, 21):
                backend.publish([*pair_of(b"%d" % (i * 10**6)), *((("user", str(j)), b"x") for j in range(100))])
                assert store.reopen_if_changed()
                time.sleep(0.02)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert (mixed, errors) == ([], [])
        assert set(reads) == set(range(21))
        assert store.get_many(PAIR) == [b"%d" % (20 * 10**6 + len(rows_of(store)))] * 2
        assert len(rows_of(store)) > 20


def test_processes_lose_no_update_during_swaps(backend, start_child):
    """Two processes count up while a third swaps: each of the events is in the last generation once."""
    backend.publish(pair_of(b"0"))
    children = [start_child("increment", times=1000, name=f"p{i}") for i in range(2)]
    with closing(backend.open(replay)) as store:
        swaps = 0
        while any(child.poll() is None for child in children):
            swaps += 1
            backend.publish(pair_of(b"%d" % (swaps * 10**6)))
            store.reopen_if_changed()
        assert [child.returncode for child in children] == [0, 0]
        assert swaps > 2
        assert store.get_many(PAIR) == [b"%d" % (swaps * 10**6 + 2000)] * 2
        assert Counter(rows_of(store)) == Counter(f"p{j} {i}".encode() for i in range(1000) for j in range(2))


def test_killed_writer_leaves_no_half_update(backend, start_child):
    backend.publish(pair_of(b"0"))
    rng = random.Random(5)
    for kill in range(6):
        children = [start_child("increment", times=10**6, name=f"{kill}.{i}") for i in range(2)]
        for child in children:
            assert child.stdout.readline() == "READY\n"
        time.sleep(rng.uniform(0.01, 0.1))
        for child in children:
            child.send_signal(signal.SIGKILL)
        assert [child.wait() for child in children] == [-9, -9]
        with closing(backend.open()) as store:
            num_rows = b"%d" % len(rows_of(store))
            assert store.get_many(PAIR) == [num_rows, num_rows]
            before = int(num_rows)
            store.update(PAIR, plus_one, b"goes on")
            assert store.get_many(PAIR) == [b"%d" % (before + 1)] * 2
    assert before > 20
