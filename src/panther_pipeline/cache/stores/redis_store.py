"""Records of users and counterparties in Redis 7: for a fleet of machines that answer for the same users.

What survives a crash of the server is the server's matter: `appendonly yes` with `appendfsync everysec` loses at most
the last second. A client killed at any point leaves each update whole.
"""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import redis

from panther_pipeline.cache.stores.record_store import Change, Key, Replay
from panther_pipeline.cache.stores.redis_carry import finish_move, read_live, take_over
from panther_pipeline.cache.stores.redis_connection import answering
from panther_pipeline.cache.stores.redis_generation import read_manifest, remove_stale, verify_generation
from panther_pipeline.cache.stores.redis_layers import Layers, MovedError
from panther_pipeline.cache.stores.redis_names import Names, check_client
from panther_pipeline.cache.stores.tally import expected_tally
from panther_pipeline.errors import ArtifactError, StoreError, StoreMovedError

Answer = TypeVar("Answer")


class RedisStore:
    """The current generation of a store and its live records. Threads may share it.

    A read is one MGET within one generation. Between the instant another process moves to a new generation and this
    one's `reopen_if_changed`, reads are whole but lack what has since been written; an update moves at once. A
    connection that breaks during an update is no reason to count it twice: an update with a journal row looks for its
    row before it tries again.
    """

    def __init__(
        self,
        client: redis.Redis,
        name: str,
        *,
        replay: Replay | None = None,
        verify: bool = False,
        follow: bool = True,
    ) -> None:
        """Open the current generation.

        Args:
            client: connected with decode_responses=False; it stays the caller's, to close.
            name: as in `publish_generation`.
            replay: applies rows of the journal to a new generation; needed wherever events arrive.
            verify: read all records and compare counts and digest with the facts, now and whenever a generation is
                opened. Takes a while, and the server's time.
            follow: whether to go where another process has moved the records. Without it the store stays in one
                generation until `reopen_if_changed`: for whoever holds more that must be of the same run.

        Raises:
            ArtifactError: nothing is published, another version, or not what was written.
            ConfigurationError: the client or the server would change or lose records.
            StoreError: events of an older generation are to be carried over and there is no `replay`.
            StoreAwayError: the server cannot be used now.
        """
        self._client, self._name, self._names = client, name, Names(name)
        self._replay, self._verify, self._may_follow = replay, verify, follow
        self._moving = threading.Lock()
        with answering(client):
            check_client(client)
            self._layers: Layers | None = self._open_current()

    @property
    def generation(self) -> str:
        return self._current().generation

    @property
    def facts(self) -> dict[str, Any]:
        return self._current().facts

    def get(self, key: Key) -> bytes | None:
        return self.get_many([key])[0]

    def get_many(self, keys: Sequence[Key]) -> list[bytes | None]:
        return self._with_layers(lambda layers: layers.get_many(keys))

    def update(self, keys: Sequence[Key], change: Change, journal: bytes | None = None) -> None:
        self._with_layers(lambda layers: layers.update(keys, change, journal))

    def journal(self, after: int = 0) -> Iterator[tuple[int, bytes]]:
        while rows := self._with_layers(lambda layers, after=after: layers.rows(after)):
            yield from rows
            after = rows[-1][0]

    def is_outdated(self) -> bool:
        generation = self._current().generation
        with answering(self._client):
            live, _ = read_live(self._client, self._names)
            return read_manifest(self._client, self._name)["generation"] != generation or live != generation

    def sample_users(self, num: int) -> list[str]:
        """None: to list keys, Redis looks at those of every store it keeps."""
        return []

    def reopen_if_changed(self) -> bool:
        before = self._current()
        with answering(self._client):
            if read_manifest(self._client, self._name)["generation"] == before.generation:
                return False
            after = self._open_current()
            with self._moving:
                if read_manifest(self._client, self._name)["generation"] != self.generation:
                    self._layers = after
        return self.generation != before.generation

    def close(self) -> None:
        """Let go of the generation; the client stays open."""
        self._layers = None

    def _with_layers(self, ask: Callable[[Layers], Answer]) -> Answer:
        """The answer of the current layers, or of those that took over if the current ones are done."""
        while True:
            layers = self._current()
            with answering(self._client):
                try:
                    return ask(layers)
                except MovedError:
                    if not self._may_follow:
                        raise StoreMovedError(
                            f"The records of the store {self._name!r} are no longer in generation {layers.generation}. "
                            "Open the store again, with all that must be of the same run."
                        ) from None
                    self._follow(layers)

    def _current(self) -> Layers:
        if (layers := self._layers) is None:
            raise StoreError(f"The store {self._name!r} is closed. Open it again.")
        return layers

    def _follow(self, layers: Layers) -> None:
        """Go to the generation that takes updates; another process has opened it, and so verified it."""
        with self._moving:
            if self._layers is not layers:
                return
            finish_move(self._client, self._names, self._replay)
            live, _ = read_live(self._client, self._names)
            self._layers = self._find(live) or self._open_current()

    def _open_current(self) -> Layers:
        while True:
            manifest = read_manifest(self._client, self._name)
            try:
                return self._open(manifest["generation"])
            except MovedError:
                continue
            except ArtifactError:
                if read_manifest(self._client, self._name) == manifest:
                    raise
                # published anew, twice, meanwhile

    def _open(self, generation: str) -> Layers:
        if (layers := self._find(generation)) is None:
            raise ArtifactError(
                f"Generation {generation} of the store {self._name!r} is named current but is not there: somebody "
                "removed its keys. Publish it again, and look who else uses this Redis."
            )
        if self._verify:
            verify_generation(self._client, self._name, generation)
        take_over(self._client, self._names, layers, self._replay)
        remove_stale(self._client, self._name)
        return layers

    def _find(self, generation: str | None) -> Layers | None:
        """The generation if it is there."""
        facts = self._client.get(self._names.facts(generation)) if generation else None
        if facts is None:
            return None
        expected_tally(f"Generation {generation} of the store {self._name!r}", found := json.loads(facts))
        return Layers(self._client, self._names, generation, found)


@dataclass(frozen=True)
class RedisSource:
    """A store in Redis that several services share: a `StoreSource`."""

    client: redis.Redis
    name: str
    verify: bool = True

    def facts(self) -> dict[str, Any]:
        with answering(self.client):
            return read_manifest(self.client, self.name)["facts"]

    def open(self, replay: Replay) -> RedisStore:
        return RedisStore(self.client, self.name, replay=replay, verify=self.verify, follow=False)
