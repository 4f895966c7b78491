"""A process of its own that works on a store: `python child.py '{"address": [...], "task": "increment", ...}'`."""

import json
import sys
from pathlib import Path

import redis
from counting import PAIR, plus_one, replay

from panther_pipeline.cache.stores.lmdb_store import LmdbStore
from panther_pipeline.cache.stores.record_store import RecordStore
from panther_pipeline.cache.stores.redis_store import RedisStore


def open_store(address: list[str], replay=None) -> RecordStore:
    kind, where, *name = address
    if kind == "lmdb":
        return LmdbStore.open(Path(where), replay=replay)
    return RedisStore(redis.Redis(port=int(where)), name[0], replay=replay)


def increment(store: RecordStore, times: int, name: str) -> None:
    """Count both records of the pair up; each time leaves a row with this process's name and number."""
    for i in range(times):
        store.update(PAIR, plus_one, f"{name} {i}".encode())


def main(address: list[str], task: str, times: int, name: str) -> None:
    assert task == "increment"
    store = open_store(address, replay)
    print("READY", flush=True)
    increment(store, times, name)
    store.close()
    print("DONE", flush=True)


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
