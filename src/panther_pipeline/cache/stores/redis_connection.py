"""A connection to the Redis of a fleet, and one error for all that it cannot do now."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from panther_pipeline.cache.stores.config import PASSWORD_VARIABLE, RedisConfig
from panther_pipeline.errors import StoreAwayError

# A replica after a fail-over is read-only, a full server refuses to write: both pass without the caller.
_AWAY = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.NoPermissionError,
    redis.exceptions.MasterDownError,
    redis.exceptions.TryAgainError,
)
# What the client has no class for: writes refused since a snapshot failed, or since too few replicas are there.
_AWAY_CODES = ("MISCONF", "NOREPLICAS")


def connect(
    config: RedisConfig, timeout_s: float | None = None, environment: Mapping[str, str] = os.environ
) -> redis.Redis:
    """A client of the server that `config` names; it connects with the first command.

    Args:
        config: address and limits.
        timeout_s: in place of that of `config`, for whoever has time.
        environment: holds the password, if there is one.
    """
    limit_s = timeout_s or config.timeout_s
    encrypted = {"ssl": True, "ssl_ca_certs": config.ca_file} if config.is_encrypted else {}
    return redis.Redis(
        host=config.host,
        port=config.port,
        db=config.database,
        username=config.user,
        password=environment.get(PASSWORD_VARIABLE) or None,
        socket_timeout=limit_s,
        socket_connect_timeout=limit_s,
        # The client's own three tries take seconds in which nobody else is scored; the caller asks again, or not.
        retry=Retry(NoBackoff(), 0),
        **encrypted,
    )


@contextmanager
def answering(client: redis.Redis) -> Iterator[None]:
    """What is asked of the server within, or one error.

    Raises:
        StoreAwayError: it is not there, does not answer in time, lets nobody in or takes no writes; names its address.
    """
    try:
        yield
    except redis.RedisError as error:
        if not isinstance(error, _AWAY) and not any(code in str(error) for code in _AWAY_CODES):
            raise
        # Not the message: of a pipeline it quotes the command, and keys hold the ids of users.
        raise StoreAwayError(
            f"Redis at {address_of(client)} cannot be used now ({type(error).__name__}). See that it runs and can be "
            f"reached, has room, takes writes, that address and user are right (serving.store.url), and the password "
            f"({PASSWORD_VARIABLE})."
        ) from None


def address_of(client: redis.Redis) -> str:
    """Where a client connects to, without user and password."""
    pool = client.connection_pool
    host, port, db = (pool.connection_kwargs.get(name) for name in ("host", "port", "db"))
    scheme = "rediss" if issubclass(pool.connection_class, redis.SSLConnection) else "redis"
    return f"{scheme}://{f'[{host}]' if ':' in str(host) else host}:{port}/{db}"
