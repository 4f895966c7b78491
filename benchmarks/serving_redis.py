"""A Redis server of the benchmark's own, where redis-server is installed."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from panther_pipeline.cache.stores.record_store import Key, RecordStore


@contextmanager
def served_by_redis(records: Iterable[tuple[Key, bytes]], folder: Path) -> Iterator[RecordStore | None]:
    """A store of the records on a free port of this machine, kept in memory; None without redis-server or redis-py."""
    try:
        import redis
    except ImportError:
        yield None
        return
    if (binary := shutil.which("redis-server")) is None:
        yield None
        return
    from panther_pipeline.cache.stores.redis_generation import publish_generation
    from panther_pipeline.cache.stores.redis_store import RedisStore

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = subprocess.Popen([*command, "--dir", str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        client = redis.Redis(port=port)
        _wait_until_it_answers(client, process)
        publish_generation(client, "bench", records, {})
        store = RedisStore(client, "bench")
        yield store
        store.close()
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait_until_it_answers(client: Any, process: subprocess.Popen) -> None:
    import redis

    for _ in range(200):
        try:
            client.ping()
            return
        except redis.ConnectionError:
            if process.poll() is not None:
                raise RuntimeError("redis-server ended") from None
            time.sleep(0.05)
    raise RuntimeError("redis-server does not answer")
