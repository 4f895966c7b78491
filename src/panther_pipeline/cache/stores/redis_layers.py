"""One generation in Redis and the live records over it."""

import random
import secrets
import time
from collections.abc import Iterator, Sequence
from typing import Any

import redis

from panther_pipeline.cache.stores.record_store import Change, Key, check_changes, encode_key
from panther_pipeline.cache.stores.redis_names import Names
from panther_pipeline.errors import StoreError

_JOURNAL_CHUNK = 1000
_PATIENCE_S = 10.0  # of an update that other writers keep coming before
_LATEST = 1000  # rows looked through for one's own after a connection broke


class MovedError(Exception):
    """This generation takes no updates any more, or is not there any more."""


class Layers:
    """Reads and changes the records of one generation."""

    def __init__(self, client: redis.Redis, names: Names, generation: str, facts: dict[str, Any]) -> None:
        self._client, self._names = client, names
        self.generation, self.facts = generation, facts
        self.journal_name = names.journal(generation)

    def get(self, key: Key) -> bytes | None:
        return self.get_many([key])[0]

    def get_many(self, keys: Sequence[Key]) -> list[bytes | None]:
        """One MGET, which also asks whether the generation is still there.

        Raises:
            MovedError: it is not.
        """
        encoded = [encode_key(key) for key in keys]
        there, *found = self._client.mget(self._names.facts(self.generation), *self._record_names(encoded))
        if there is None:
            raise MovedError
        return _merged(found)

    def update(self, keys: Sequence[Key], change: Change, journal: bytes | None = None) -> None:
        self._update(keys, change, journal, seq=None)

    def carry(self, keys: Sequence[Key], change: Change, journal: bytes, seq: int) -> None:
        """Apply a row of the predecessor's journal under its number, unless another process has."""
        self._update(keys, change, journal, seq)

    def rows(self, after: int) -> list[tuple[int, bytes]]:
        """At most 1000 rows of the journal above `after`.

        Raises:
            MovedError: the generation is not there any more.
        """
        with self._client.pipeline() as pipe:
            pipe.exists(self._names.facts(self.generation))
            pipe.xrange(self.journal_name, min=f"(0-{after}", count=_JOURNAL_CHUNK)
            there, entries = pipe.execute()
        if not there:
            raise MovedError
        return [(_seq(entry_id), fields[b"row"]) for entry_id, fields in entries]

    def _update(self, keys: Sequence[Key], change: Change, journal: bytes | None, seq: int | None) -> None:
        encoded, token = {key: encode_key(key) for key in keys}, secrets.token_bytes(8)
        for _ in _attempts():
            with self._client.pipeline() as pipe:
                try:
                    self._attempt(pipe, encoded, change, journal, seq, token)
                    return
                except (redis.WatchError, redis.ConnectionError, redis.TimeoutError) as error:
                    # redis-py reports a connection that broke as a WatchError too: EXEC may have been executed.
                    other_writer = "changed" in str(error)
                    if not other_writer and journal is not None and self._has_row(token):
                        return
                    if not isinstance(error, redis.WatchError):
                        raise
        raise StoreError(
            f"Other writers came first for {_PATIENCE_S:.0f} s. Too many processes change the same records: route the "
            "events of one user or counterparty to one process."
        )

    def _attempt(
        self,
        pipe: redis.client.Pipeline,
        encoded: dict[Key, bytes],
        change: Change,
        journal: bytes | None,
        seq: int | None,
        token: bytes,
    ) -> None:
        changed = {key: self._names.changed(self.generation, code) for key, code in encoded.items()}
        facts_name = self._names.facts(self.generation)
        pipe.watch(self._names.live, facts_name, *changed.values())
        if seq is not None:
            pipe.watch(self.journal_name)
            if last_seq(pipe, self.journal_name) >= seq:
                return
        live, there, *found = pipe.mget(self._names.live, facts_name, *self._record_names(list(encoded.values())))
        if there is None or (seq is None and live != self.generation.encode()):
            raise MovedError
        changes = check_changes(encoded, change(dict(zip(encoded, _merged(found), strict=True))))
        pipe.multi()
        if changes:
            pipe.mset({changed[key]: record for key, record in changes.items()})
        if journal is not None:
            entry_id = "0-*" if seq is None else f"0-{seq}"
            pipe.xadd(self.journal_name, {b"row": journal, b"token": token}, id=entry_id)
        pipe.execute()

    def _has_row(self, token: bytes) -> bool:
        latest = self._client.xrevrange(self.journal_name, count=_LATEST)
        return any(fields.get(b"token") == token for _, fields in latest)

    def _record_names(self, encoded: list[bytes]) -> list[bytes]:
        """Of each record, where the changed one is, then where the published one is."""
        return [
            name
            for key in encoded
            for name in (self._names.changed(self.generation, key), self._names.base(self.generation, key))
        ]


def last_seq(client: redis.Redis, journal_name: str) -> int:
    """The highest number a journal has given, of rows that were removed too; 0 if it has none."""
    try:
        return _seq(client.xinfo_stream(journal_name)["last-generated-id"])
    except redis.ResponseError:  # no such key
        return 0


def _seq(entry_id: bytes) -> int:
    return int(entry_id.partition(b"-")[2])


def _merged(found: list[bytes | None]) -> list[bytes | None]:
    """The changed record where there is one, else the published one."""
    return [base if changed is None else changed for changed, base in zip(found[::2], found[1::2], strict=True)]


def _attempts() -> Iterator[None]:
    """Tries with growing random pauses between them, for 10 s."""
    deadline, pause_s = time.monotonic() + _PATIENCE_S, 0.0002
    while True:
        yield
        if time.monotonic() > deadline:
            return
        time.sleep(random.uniform(0, pause_s))
        pause_s = min(2 * pause_s, 0.01)
