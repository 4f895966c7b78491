"""Records of users and counterparties in LMDB: for one machine, any number of processes.

Layout: `folder/manifest.json` and `folder/<generation>/records.mdb` as publish_folder leaves them, and
`folder/live/<generation>.mdb`, which events change. Roll back with `panther_pipeline.publish.roll_back(folder)`: open
stores notice it as they notice a new generation.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from panther_pipeline.cache.stores.lmdb_carry import LIVE, Layers, take_over
from panther_pipeline.cache.stores.lmdb_generation import GenerationFile
from panther_pipeline.cache.stores.lmdb_live import LiveFile, LiveSettings, SealedError
from panther_pipeline.cache.stores.record_store import Change, Key, Replay, encode_key
from panther_pipeline.errors import ArtifactError, StoreError, StoreMovedError
from panther_pipeline.lock import taken
from panther_pipeline.publish import read_manifest


class LmdbStore:
    """The current generation of a folder and its live records. Threads may share it; a forked child must open its own.

    Reads: the live record, else the generation's, in one read transaction. Between the instant another process moves to
    a new generation and this one's `reopen_if_changed`, reads are whole but lack what that process has since written;
    an update moves at once, and waits for the move that another process is in the middle of.
    """

    def __init__(self, open_layers: Callable[..., Layers], folder: Path, follow: bool = True) -> None:
        self._open_layers, self._folder, self._may_follow = open_layers, folder, follow
        self._moving = threading.Lock()
        self._layers: Layers | None = open_layers()

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        replay: Replay | None = None,
        verify: bool = True,
        follow: bool = True,
        sync_every_s: float = LiveSettings.sync_every_s,
        live_map_bytes: int = LiveSettings.map_bytes,
    ) -> Self:
        """Open the current generation.

        Args:
            folder: what `write_generation` has published.
            replay: applies rows of the journal to a new generation; needed wherever events arrive.
            verify: compare the SHA-256 of the generation's file, here and whenever a new one is opened.
            follow: whether an update goes where another process has moved the records. Without it the store stays in
                one generation until `reopen_if_changed`: for whoever holds more that must be of the same run.
            sync_every_s: seconds between syncs of the live file. Updates survive kill -9 of every process at once,
                whatever this says. Losing power loses what was not synced, and can damage the live file, since the
                disk may write its pages in any order: LMDB's MDB_NOSYNC. 0 syncs each update before it returns, after
                which power loss does no harm that the disk does not do.
            live_map_bytes: the most a live file may grow to; the same in all processes.

        Raises:
            ArtifactError: missing, damaged, or of another version.
            StoreError: events of an older generation are to be carried over and there is no `replay`.
        """
        settings = LiveSettings(map_bytes=live_map_bytes, sync_every_s=sync_every_s)

        def open_layers(wanted: str | None = None) -> Layers:
            return _open_layers(Path(folder), wanted, replay, verify, settings)

        return cls(open_layers, Path(folder), follow)

    @property
    def generation(self) -> str:
        return self._current().generation

    @property
    def facts(self) -> dict[str, Any]:
        return self._current().facts

    def get(self, key: Key) -> bytes | None:
        return self._current().get(key)

    def get_many(self, keys: Sequence[Key]) -> list[bytes | None]:
        return self._current().get_many(keys)

    def update(self, keys: Sequence[Key], change: Change, journal: bytes | None = None) -> None:
        while True:
            layers = self._current()
            try:
                return layers.update(keys, change, journal)
            except SealedError as sealed:
                self._follow(layers, sealed.to)

    def journal(self, after: int = 0) -> Iterator[tuple[int, bytes]]:
        return self._current().live.rows(after)

    def is_outdated(self) -> bool:
        layers = self._current()
        return read_manifest(self._folder)["generation"] != layers.generation or layers.live.sealed_to is not None

    def sample_users(self, num: int) -> list[str]:
        """The first in the order of their ids. One whose id is longer than a key is not among them."""
        keys = self._current().base.first_keys(encode_key(("user", "?"))[:1], num)
        return [key[1:].decode("utf-8") for key in keys]

    def reopen_if_changed(self) -> bool:
        if read_manifest(self._folder)["generation"] == self.generation:
            return False
        before, after = self._current(), self._open_layers()
        with self._moving:  # not while opening: an update that must follow another process would wait for that
            if read_manifest(self._folder)["generation"] != self.generation:
                self._layers = after
        return self.generation != before.generation

    def close(self) -> None:
        """Sync the live file and let go of it. Files close when the last read that uses them has ended."""
        if self._layers is not None:
            self._layers.live.sync()
        self._layers = None

    def _current(self) -> Layers:
        """The layers of this moment: whoever holds them goes on reading them while the store moves."""
        if (layers := self._layers) is None:
            raise StoreError(f"The store of {self._folder} is closed. Open it again.")
        return layers

    def _follow(self, layers: Layers, generation: str) -> None:
        """Go where another process has carried the live records.

        Raises:
            StoreMovedError: the store was opened not to follow.
        """
        if not self._may_follow:
            raise StoreMovedError(
                f"The live records of {self._folder} are no longer in generation {layers.generation}. Open the store "
                "again, with all that must be of the same run."
            )
        with self._moving:
            if self._layers is layers:
                self._layers = self._open_layers(generation)


@dataclass(frozen=True)
class LmdbSource:
    """The online store of a run: a `StoreSource`."""

    folder: Path

    def facts(self) -> dict[str, Any]:
        return read_manifest(self.folder)["facts"]

    def open(self, replay: Replay) -> LmdbStore:
        return LmdbStore.open(self.folder, replay=replay, follow=False)


def count_live_rows(folder: Path) -> int:
    """Rows of the longest journal of a folder; 0 where nothing has arrived."""
    files = [LiveFile.open(path, LiveSettings()) for path in (folder / LIVE).glob("*.mdb")]
    return max((sum(1 for _ in file.rows(0)) for file in files), default=0)


def _open_layers(
    folder: Path, wanted: str | None, replay: Replay | None, verify: bool, settings: LiveSettings
) -> Layers:
    """Open a generation that takes updates, or the current one and make it take them.

    Args:
        wanted: a generation to which another process of this machine has carried the live records; it has verified it.
            The current one if None, or if the records are no longer there either.
    """
    while True:
        manifest = _find(folder, wanted)
        try:
            base = GenerationFile.open(folder, manifest, verify and manifest["generation"] != wanted)
        except ArtifactError:
            if _find(folder, wanted) == manifest:
                raise
            continue  # published anew, twice, while it was read
        with taken(folder / LIVE, wait=True):
            if _find(folder, wanted) != manifest:
                continue
            layers = Layers(base, LiveFile.open(folder / LIVE / f"{base.name}.mdb", settings))
            if manifest == read_manifest(folder) or layers.live.is_open:
                take_over(folder, layers, replay, settings)
                return layers
        wanted = None


def _find(folder: Path, wanted: str | None) -> Mapping[str, Any]:
    manifest = read_manifest(folder)
    previous = manifest.get("previous")
    return previous if previous is not None and previous["generation"] == wanted else manifest
