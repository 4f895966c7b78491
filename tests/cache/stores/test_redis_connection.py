"""A server that is away, hangs or lets nobody in: one error, which names the address and no password."""

import time

import pytest
import redis

from panther_pipeline.cache.stores.config import PASSWORD_VARIABLE, RedisConfig
from panther_pipeline.cache.stores.redis_connection import address_of, answering, connect
from panther_pipeline.cache.stores.redis_generation import publish_generation
from panther_pipeline.cache.stores.redis_store import RedisSource
from panther_pipeline.errors import ArtifactError, StoreAwayError

from ...redis_server import running_redis
from .counting import PAIR, pair_of, plus_one, replay

PASSWORD = "canary-4711"


@pytest.fixture
def server(tmp_path):
    with running_redis(tmp_path, "--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


def config_of(server, **changes) -> RedisConfig:
    return RedisConfig(kind="redis", name="test", **{"url": server.url, "timeout_s": 0.3, **changes})


@pytest.fixture
def store(server):
    client = connect(config_of(server), environment={})
    publish_generation(client, "test", pair_of(b"0"))
    store = RedisSource(client, "test").open(replay)
    yield store
    store.close()


def test_connection_has_what_the_settings_say(server):
    config = config_of(server, url=f"redis://me@127.0.0.1:{server.port}/3")
    client = connect(config, environment={PASSWORD_VARIABLE: PASSWORD})
    asked = client.connection_pool.connection_kwargs
    assert (asked["db"], asked["username"], asked["password"], asked["socket_timeout"]) == (3, "me", PASSWORD, 0.3)
    assert (asked["socket_connect_timeout"], asked["retry"].get_retries()) == (0.3, 0)
    assert connect(config, 60.0, {}).connection_pool.connection_kwargs["socket_timeout"] == 60.0
    assert address_of(client) == f"redis://127.0.0.1:{server.port}/3"


def test_encrypted_connection_checks_whom_it_speaks_to():
    client = connect(
        RedisConfig(kind="redis", name="test", url="rediss://[::2]:6380", ca_file="ca.pem"), environment={}
    )
    asked = client.connection_pool.connection_kwargs
    assert issubclass(client.connection_pool.connection_class, redis.SSLConnection)
    assert (asked["ssl_cert_reqs"], asked["ssl_check_hostname"], asked["ssl_ca_certs"]) == ("required", True, "ca.pem")
    assert address_of(client) == "rediss://[::2]:6380/0"


def ask_everything(store) -> None:
    for ask in (
        lambda: store.get(PAIR[0]),
        lambda: store.update(PAIR, plus_one, b"row"),
        lambda: list(store.journal()),
        store.is_outdated,
        store.reopen_if_changed,
    ):
        with pytest.raises(StoreAwayError, match="cannot be used now"):
            ask()


def test_store_says_that_its_server_is_away_and_finds_it_again(server, store):
    store.update(PAIR, plus_one, b"row")
    server.stop()
    ask_everything(store)
    server.start()
    assert store.get_many(PAIR) == [b"1", b"1"]
    store.update(PAIR, plus_one, b"row")
    assert [row for _, row in store.journal()] == [b"row", b"row"]


def test_restart_of_the_server_between_two_questions_is_not_noticed(server, store):
    assert store.get(PAIR[0]) == b"0"
    server.stop()
    server.start()
    assert store.get(PAIR[0]) == b"0"
    server.stop()
    server.start()
    store.update(PAIR, plus_one, b"row")
    assert store.get_many(PAIR) == [b"1", b"1"]


def test_server_that_hangs_is_waited_for_as_long_as_allowed(server, store):
    server.hang()
    start = time.monotonic()
    with pytest.raises(StoreAwayError):
        store.get(PAIR[0])
    assert time.monotonic() - start < 5  # of 0.3 s
    server.go_on()
    assert store.get(PAIR[0]) == b"0"


def test_server_that_refuses_to_write_is_away_for_writers_alone(server, store):
    client = redis.Redis(port=server.port)
    client.replicaof("127.0.0.1", "1")  # as after a fail-over
    with pytest.raises(StoreAwayError, match="ReadOnlyError"):
        store.update(PAIR, plus_one, b"row")
    client.replicaof("NO", "ONE")
    store.update(PAIR, plus_one, b"row")
    client.config_set("maxmemory", "1mb")
    with pytest.raises(StoreAwayError, match="OutOfMemoryError"):
        store.update(PAIR, plus_one, b"row")
    assert store.get_many(PAIR) == [b"1", b"1"]


@pytest.mark.parametrize("given", [{}, {PASSWORD_VARIABLE: "wrong-" + PASSWORD}])
def test_wrong_password_is_refused_with_the_address_alone(tmp_path, given):
    with running_redis(tmp_path, "--requirepass", PASSWORD) as server:
        source = RedisSource(connect(config_of(server), environment=given), "test")
        with pytest.raises(StoreAwayError, match=PASSWORD_VARIABLE) as refused:
            source.facts()
        assert f"127.0.0.1:{server.port}" in str(refused.value)
        assert PASSWORD not in str(refused.value)
        allowed = RedisSource(connect(config_of(server), environment={PASSWORD_VARIABLE: PASSWORD}), "test")
        with pytest.raises(ArtifactError, match="Nothing is published"):
            allowed.facts()


def test_message_quotes_no_key(server, store):
    """The client puts the command that failed into its message, and keys hold the ids of users."""
    client = redis.Redis(port=server.port)
    client.config_set("maxmemory", "1mb")
    pipe = client.pipeline(transaction=False)
    pipe.set("user-canary-17", "x" * 1000)
    with pytest.raises(StoreAwayError) as refused, answering(client):
        pipe.execute()
    assert "canary" not in str(refused.value)


def test_server_that_cannot_save_is_away(server, store, tmp_path):
    client = redis.Redis(port=server.port)
    client.config_set("min-replicas-to-write", "1")  # NOREPLICAS, for which the client has no class
    with pytest.raises(StoreAwayError):
        store.update(PAIR, plus_one, b"row")
    client.config_set("min-replicas-to-write", "0")
    store.update(PAIR, plus_one, b"row")


def test_other_errors_pass(redis_port):
    client = redis.Redis(port=redis_port)
    with pytest.raises(redis.ResponseError, match="unknown command"), answering(client):
        client.execute_command("NO.SUCH.COMMAND")
