"""What Redis adds to the promises of every store: keys of generations, broken connections, servers that drop keys."""

from contextlib import closing, contextmanager

import pytest
import redis

from panther_pipeline.cache.stores.redis_generation import publish_generation, verify_generation
from panther_pipeline.cache.stores.redis_names import Names
from panther_pipeline.cache.stores.redis_store import RedisSource, RedisStore
from panther_pipeline.errors import ArtifactError, ConfigurationError, StoreAwayError, StoreError, StoreMovedError

from .counting import PAIR, pair_of, plus_one, replay

NAMES = Names("test")


@pytest.fixture
def client(redis_backend):
    return redis_backend.client


@pytest.fixture
def store(redis_backend):
    redis_backend.publish(pair_of(b"0"))
    with closing(redis_backend.open(replay)) as store:
        yield store


def generations(client) -> set[str]:
    """Those that have keys."""
    keys = [key.decode().split(":") for key in client.keys("panther:{test}:*")]
    return {parts[2] for parts in keys if len(parts) > 3}


def test_generations_before_the_previous_one_are_removed(redis_backend, client, store):
    for _ in range(4):
        before = store.generation
        redis_backend.publish(pair_of(b"0"))
        store.reopen_if_changed()
        assert generations(client) == {before, store.generation}
    assert client.smembers(NAMES.generations) == {before.encode(), store.generation.encode()}


def test_generation_that_takes_updates_is_not_removed(redis_backend, client, store):
    start = store.generation
    store.update(PAIR, plus_one, b"row")
    for _ in range(3):
        redis_backend.publish(pair_of(b"100"))
    assert start in generations(client)
    assert store.get_many(PAIR) == [b"1", b"1"]
    assert store.reopen_if_changed()
    assert store.get_many(PAIR) == [b"101", b"101"]
    assert start not in generations(client)


def test_failed_build_leaves_no_keys(redis_backend, client, store):
    def fail_late():
        for i in range(5000):
            yield ("user", str(i)), b""
        raise RuntimeError("no more")

    before = set(client.keys("*"))
    with pytest.raises(RuntimeError):
        redis_backend.publish(fail_late())
    assert set(client.keys("*")) == before


def test_killed_build_is_removed_once_its_lease_ends(redis_backend, client, store):
    client.sadd(NAMES.generations, "dead")
    client.set(NAMES.building("dead"), b"", ex=100)
    client.set(NAMES.base("dead", b"uuser"), b"")
    redis_backend.publish(pair_of(b"1"))
    assert "dead" in generations(client)
    client.delete(NAMES.building("dead"))
    redis_backend.publish(pair_of(b"1"))
    assert "dead" not in generations(client)


def test_build_whose_lease_has_ended_is_not_published(redis_backend, client, store):
    def lose_the_lease():
        for i in range(9000):
            if i == 8999:
                for key in client.keys("*:building"):
                    client.delete(key)
            yield ("user", str(i)), b""

    with pytest.raises(StoreError, match="removed while it was written"):
        redis_backend.publish(lose_the_lease())
    assert not store.reopen_if_changed()


def test_reader_that_slept_through_two_swaps_finds_the_current_generation(redis_backend, store):
    with closing(redis_backend.open(replay)) as sleeper:
        for i in range(1, 4):
            redis_backend.publish(pair_of(b"%d" % i))
            store.reopen_if_changed()
        assert sleeper.get_many(PAIR) == [b"3", b"3"]
        assert sleeper.generation == store.generation


def test_removed_keys_are_an_error_and_not_unknown_users(client, store):
    client.delete(NAMES.facts(store.generation))
    with pytest.raises(ArtifactError, match="is not there"):
        store.get_many(PAIR)
    with pytest.raises(ArtifactError, match="is not there"):
        RedisStore(client, "test")


@pytest.mark.parametrize("after_exec", [True, False])
@pytest.mark.parametrize("error", [redis.WatchError, redis.ConnectionError])
def test_update_is_made_once_when_the_connection_breaks(store, monkeypatch, after_exec, error):
    execute, broken = redis.client.Pipeline.execute, []

    def break_once(pipe, *arguments, **options):
        if broken:
            return execute(pipe, *arguments, **options)
        broken.append(True)
        if after_exec:
            execute(pipe, *arguments, **options)
        raise error("A ConnectionError occurred while watching one or more keys")

    monkeypatch.setattr(redis.client.Pipeline, "execute", break_once)
    if error is redis.ConnectionError and not after_exec:
        with pytest.raises(StoreAwayError):
            store.update(PAIR, plus_one, b"row")
        store.update(PAIR, plus_one, b"row")
    else:
        store.update(PAIR, plus_one, b"row")
    assert store.get_many(PAIR) == [b"1", b"1"]
    assert list(store.journal()) == [(1, b"row")]


def test_update_that_a_move_comes_before_is_made_in_the_new_generation(redis_backend, store):
    with closing(redis_backend.open(replay)) as mover:
        redis_backend.publish(pair_of(b"100"))

        def move_first(before):
            mover.reopen_if_changed()
            return plus_one(before)

        store.update(PAIR, move_first, b"row")
        assert mover.get_many(PAIR) == [b"101", b"101"]
        assert list(mover.journal()) == [(1, b"row")]


def test_verification_reads_every_record(redis_backend, client, store):
    redis_backend.publish([*pair_of(b"0"), *((("user", str(i)), b"%d" % i) for i in range(3000))])
    store.reopen_if_changed()
    store.update(PAIR, plus_one, b"an event changes nothing that was published")
    verify_generation(client, "test", store.generation)
    name = NAMES.base(store.generation, b"u2999")
    for spoil in (lambda: client.set(name, b"x"), lambda: client.delete(name)):
        spoil()
        with pytest.raises(ArtifactError, match="not what was written"):
            verify_generation(client, "test", store.generation)
        with pytest.raises(ArtifactError, match="not what was written"):
            RedisStore(client, "test", verify=True)
    with closing(RedisStore(client, "test")) as unverified:
        assert unverified.get(("user", "2998")) == b"2998"


def test_source_opens_what_is_verified_unless_told_not_to(client, store):
    client.set(NAMES.base(store.generation, b"ua"), b"x")
    with pytest.raises(ArtifactError, match="not what was written"):
        RedisSource(client, "test").open(replay)
    with closing(RedisSource(client, "test", verify=False).open(replay)) as unverified:
        assert unverified.facts == RedisSource(client, "test").facts() == store.facts


def test_store_of_a_source_stays_in_its_generation(redis_backend, client, store):
    with closing(RedisSource(client, "test").open(replay)) as opened:
        redis_backend.publish(pair_of(b"100"))
        store.reopen_if_changed()
        with pytest.raises(StoreMovedError):
            opened.update(PAIR, plus_one, b"row")
        assert opened.is_outdated()


def test_facts_of_another_version_are_refused(client, store):
    client.set(NAMES.facts(store.generation), '{"records": {"format": 2}}')
    with pytest.raises(ArtifactError, match="another version"):
        RedisStore(client, "test")


@pytest.mark.parametrize("by", ["update", "reopening", "opening"])
def test_move_of_a_dead_process_is_finished(redis_backend, client, store, by):
    store.update(PAIR, plus_one, b"0")
    start = store.generation
    redis_backend.publish(pair_of(b"100"))
    current = client.smembers(NAMES.generations) - {start.encode()}
    client.set(NAMES.live, f"{start}>{current.pop().decode()}")  # sealed, nothing carried yet
    if by == "opening":
        redis_backend.open(replay).close()
    elif by == "reopening":
        assert store.reopen_if_changed()
    store.update(PAIR, plus_one, b"1")
    assert store.get_many(PAIR) == [b"102", b"102"]
    assert list(store.journal()) == [(1, b"0"), (2, b"1")]
    assert client.get(NAMES.live) == store.generation.encode() != start.encode()


def test_process_without_replay_leaves_the_move_to_others(redis_backend, client, store):
    store.update(PAIR, plus_one, b"0")
    start = store.generation
    redis_backend.publish(pair_of(b"100"))
    [current] = client.smembers(NAMES.generations) - {start.encode()}
    with pytest.raises(StoreError, match="replay"):
        redis_backend.open()
    assert client.get(NAMES.live) == start.encode()
    with closing(RedisStore(client, "test", replay=replay)) as other:
        assert other.get_many(PAIR) == [b"101", b"101"]
    assert client.get(NAMES.live) == current


def test_late_opener_does_not_lead_the_store_back(redis_backend, client, store):
    """While it applies rows to a generation, another one is published and moved to."""
    for i in range(100):  # more than are applied while updates wait
        store.update(PAIR, plus_one, b"%d" % i)
    redis_backend.publish(pair_of(b"1000"))
    newer = []

    def replay_late(records, row):
        replay(records, row)
        if not newer:
            newer.append(redis_backend.publish(pair_of(b"2000")))
            store.reopen_if_changed()

    with closing(redis_backend.open(replay_late)) as late:
        assert client.get(NAMES.live) == late.generation.encode() == store.generation.encode()
        assert late.facts == newer[0]
        assert late.get_many(PAIR) == [b"2100", b"2100"]


def test_replay_sees_the_facts_of_the_new_generation(redis_backend, store):
    seen = []
    with closing(redis_backend.open(lambda new, row: seen.append(new.facts["as_of_us"]))) as other:
        other.update(PAIR, plus_one, b"row")
        redis_backend.publish(pair_of(b"100"), {"as_of_us": 7})
        other.reopen_if_changed()
    assert set(seen) == {7}


def test_client_that_decodes_is_refused(redis_port):
    client = redis.Redis(port=redis_port, decode_responses=True)
    with pytest.raises(ConfigurationError, match="decode_responses=False"):
        publish_generation(client, "test", [])


def test_server_that_is_too_old_is_refused(client, store, monkeypatch):
    monkeypatch.setattr(client, "info", lambda section: {"redis_version": "6.2.14"} if section == "server" else {})
    with pytest.raises(ConfigurationError, match=r"6\.2\.14; records need version 7"):
        RedisStore(client, "test")


@contextmanager
def configured(client, **settings):
    before = {name: client.config_get(name)[name] for name in settings}
    for name, value in settings.items():
        client.config_set(name, value)
    yield
    for name, value in before.items():
        client.config_set(name, value)


def test_server_that_evicts_is_refused(redis_backend, client):
    with (
        configured(client, **{"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"}),
        pytest.raises(ConfigurationError, match="noeviction"),
    ):
        redis_backend.publish([])
    redis_backend.publish([])


def test_full_server_refuses_and_keeps_the_old_generation(redis_backend, client, store):
    with configured(client, maxmemory="20mb"), pytest.raises(redis.RedisError, match="maxmemory"):
        redis_backend.publish((("user", str(i)), bytes(100_000)) for i in range(400))
    assert not store.reopen_if_changed()
    assert store.get_many(PAIR) == [b"0", b"0"]
    assert generations(client) == {store.generation}


@pytest.mark.parametrize("name", ["", "a:b", "a*", "x" * 65, "a{b}"])
def test_name_that_could_touch_other_keys_is_refused(name):
    with pytest.raises(ConfigurationError, match="cannot name a store"):
        Names(name)


def test_stores_of_two_names_do_not_meet(redis_backend, client, store):
    publish_generation(client, "test2", pair_of(b"7"))
    with closing(RedisStore(client, "test2")) as other:
        for _ in range(3):
            redis_backend.publish(pair_of(b"1"))
        assert other.get_many(PAIR) == [b"7", b"7"]


def test_progress_is_told(client):
    told = []
    publish_generation(client, "test", ((("user", str(i)), b"") for i in range(9000)), progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 9000
    assert len(told) > 1
