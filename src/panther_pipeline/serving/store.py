"""Where the records of a service are: in the run's own folder, or in a Redis that a fleet shares."""

from typing import TYPE_CHECKING

from panther_pipeline.cache.stores.config import LmdbConfig, RedisConfig
from panther_pipeline.cache.stores.lmdb_store import LmdbSource, count_live_rows
from panther_pipeline.cache.stores.record_store import StoreSource
from panther_pipeline.errors import ConfigurationError
from panther_pipeline.online.artifacts import ScorerArtifacts
from panther_pipeline.online.load import check_store

if TYPE_CHECKING:
    import redis

_PUBLISH_TIMEOUT_S = 60.0  # some thousand records go out before the server answers


def find_source(config: LmdbConfig | RedisConfig, artifacts: ScorerArtifacts) -> StoreSource:
    """The store of `serving.store`.

    Raises:
        ConfigurationError: it is in Redis, and the client for it is not installed.
    """
    if isinstance(config, LmdbConfig):
        return LmdbSource(artifacts.store)
    client = _connect(config)
    from panther_pipeline.cache.stores.redis_store import RedisSource

    return RedisSource(client, config.name, config.verify)


def publish_store(config: LmdbConfig | RedisConfig, artifacts: ScorerArtifacts) -> str:
    """Copy the online store of a run into the Redis of `serving.store`, where every service of the fleet takes it over.

    Returns:
        What was done, in words.

    Raises:
        ArtifactError: the store is damaged, or not of one run with the backbone, the tokenizer and the head.
        ConfigurationError: `serving.store` is no Redis, or its server or client would lose records.
        StoreAwayError: Redis cannot be used now. What was current there stays current.
    """
    if isinstance(config, LmdbConfig):
        raise ConfigurationError(
            "serving.store is lmdb: services on this machine find a new store by themselves. To publish it to a fleet, "
            "set serving.store to {kind: redis, name: ..., url: ...}."
        )
    check_store(artifacts, LmdbSource(artifacts.store))
    client = _connect(config, _PUBLISH_TIMEOUT_S)
    from tqdm import tqdm

    from panther_pipeline.cache.stores.redis_connection import address_of
    from panther_pipeline.cache.stores.redis_copy import copy_generation

    with tqdm(desc="redis", unit="record", unit_scale=True) as bar:
        is_new = copy_generation(artifacts.store, client, config.name, lambda num: bar.update(num - bar.n))
    where = f"in the store {config.name!r} of {address_of(client)}"
    done = f"Published {where}." if is_new else f"Nothing to do: this generation is current {where}."
    if num := count_live_rows(artifacts.store):
        done += (
            f" Up to {num} events that arrived on this machine since it was built are not in it: send them to the fleet"
            " again, repeats do no harm."
        )
    return done


def _connect(config: RedisConfig, timeout_s: float | None = None) -> "redis.Redis":
    try:
        from panther_pipeline.cache.stores.redis_connection import connect
    except ModuleNotFoundError:
        raise ConfigurationError(
            "serving.store is redis, and the client for it is not installed: pip install 'panther_pipeline[fleet]'"
        ) from None
    return connect(config, timeout_s)
