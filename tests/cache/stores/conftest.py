"""Both stores behind one face, with a Redis server of the tests' own."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from panther_pipeline.cache.stores import lmdb_generation, redis_generation
from panther_pipeline.cache.stores.lmdb_store import LmdbStore
from panther_pipeline.cache.stores.redis_store import RedisStore
from panther_pipeline.publish import roll_back

from ...redis_server import running_redis

CHILD = Path(__file__).with_name("child.py")


@dataclass(frozen=True, kw_only=True)
class LmdbBackend:
    folder: Path

    def publish(self, records: Any, facts: dict | None = None) -> dict[str, Any]:
        return lmdb_generation.write_generation(self.folder, records, facts)

    def open(self, replay: Any = None, **options: Any) -> LmdbStore:
        return LmdbStore.open(self.folder, replay=replay, **options)

    def roll_back(self) -> str:
        return roll_back(self.folder)

    @property
    def address(self) -> list[str]:
        return ["lmdb", str(self.folder)]


@dataclass(frozen=True, kw_only=True)
class RedisBackend:
    port: int
    name: str

    @property
    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port)

    def publish(self, records: Any, facts: dict | None = None) -> dict[str, Any]:
        return redis_generation.publish_generation(self.client, self.name, records, facts)

    def open(self, replay: Any = None, **options: Any) -> RedisStore:
        return RedisStore(self.client, self.name, replay=replay, **options)

    def roll_back(self) -> str:
        return redis_generation.roll_back(self.client, self.name)

    @property
    def address(self) -> list[str]:
        return ["redis", str(self.port), self.name]


@pytest.fixture(scope="session")
def redis_port(tmp_path_factory) -> Iterator[int]:
    """A server on a free loopback port that keeps nothing on disk."""
    with running_redis(tmp_path_factory.mktemp("redis"), "--appendonly", "no") as server:
        yield server.port


@pytest.fixture
def redis_backend(request, redis_port) -> RedisBackend:
    redis.Redis(port=redis_port).flushall()
    return RedisBackend(port=redis_port, name="test")


@pytest.fixture
def lmdb_backend(tmp_path) -> LmdbBackend:
    return LmdbBackend(folder=tmp_path / "store")


@pytest.fixture(params=["lmdb", "redis"])
def backend(request):
    return request.getfixturevalue(f"{request.param}_backend")


@pytest.fixture
def start_child(backend):
    """Start `child.py` on the store; it is killed with the test."""
    children = []

    def start(task: str, **options: Any) -> subprocess.Popen:
        command = [sys.executable, str(CHILD), json.dumps({"address": backend.address, "task": task, **options})]
        children.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return children[-1]

    yield start
    for child in children:
        child.kill()
        child.wait()
