"""From one generation's live file to the next: no row of the journal is lost, none is applied twice.

Killed at any point, it is taken up again by whoever opens the folder next: the new file says how far it has come, and
the old one takes updates until it is sealed, in the very step that carries its last rows.
"""

from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from panther_pipeline.cache.stores.carried_row import FEW_ROWS, apply_row
from panther_pipeline.cache.stores.lmdb_generation import GenerationFile
from panther_pipeline.cache.stores.lmdb_live import LiveFile, LiveSettings, remove_live_file
from panther_pipeline.cache.stores.record_store import Change, Key, Replay, check_changes, encode_key

LIVE = "live"


class Layers:
    """One generation and the live records over it."""

    def __init__(self, generation: GenerationFile, live: LiveFile) -> None:
        self.base, self.live = generation, live

    @property
    def generation(self) -> str:
        return self.base.name

    @property
    def facts(self) -> dict[str, Any]:
        return self.base.facts

    def get(self, key: Key) -> bytes | None:
        return self.get_many([key])[0]

    def get_many(self, keys: Sequence[Key]) -> list[bytes | None]:
        encoded = [encode_key(key) for key in keys]
        with self.live.reading() as txn:
            return self._read(txn, encoded)

    def update(self, keys: Sequence[Key], change: Change, journal: bytes | None = None) -> None:
        encoded = {key: encode_key(key) for key in keys}
        with self.live.writing() as txn:
            self._update(txn, encoded, change)
            if journal is not None:
                self.live.append(txn, journal)

    def carry(self, keys: Sequence[Key], change: Change, journal: bytes, seq: int) -> None:
        """An update of a file that is still filling, whose row keeps its number."""
        encoded = {key: encode_key(key) for key in keys}
        with self.live.writing(unless_sealed=False) as txn:
            self._update(txn, encoded, change)
            self.live.append(txn, journal, seq)

    def _update(self, txn: Any, encoded: dict[Key, bytes], change: Change) -> None:
        before = dict(zip(encoded, self._read(txn, list(encoded.values())), strict=True))
        for key, record in check_changes(encoded, change(before)).items():
            self.live.put(txn, encoded[key], record)

    def _read(self, txn: Any, encoded: list[bytes]) -> list[bytes | None]:
        found = [self.live.get(txn, key) for key in encoded]
        missing = [i for i, record in enumerate(found) if record is None]
        if missing:
            for i, record in zip(missing, self.base.get_many([encoded[i] for i in missing]), strict=True):
                found[i] = record
        return found


def take_over(folder: Path, layers: Layers, replay: Replay | None, settings: LiveSettings) -> None:
    """Make `layers` take updates, with all that arrived in their predecessor. The caller keeps other processes out.

    Raises:
        StoreError: there are rows to carry and no `replay` to apply them.
    """
    if layers.live.is_open:
        return
    last_seq = 0
    if (source := _predecessor(folder, layers.live, settings)) is not None:
        last_seq = _carry_over(source, layers, replay)
    layers.live.start(last_seq)
    _remove_old(folder, layers.live, settings)


def _predecessor(folder: Path, live: LiveFile, settings: LiveSettings) -> LiveFile | None:
    """The file that takes updates now; if a kill left none, the one with the newest row."""
    others = _others(folder, live, settings)
    return max(others, key=lambda other: (other.is_open, other.last_seq), default=None)


def _others(folder: Path, live: LiveFile, settings: LiveSettings) -> list[LiveFile]:
    paths = sorted(path for path in (folder / LIVE).glob("*.mdb") if path.name != live.path.name)
    return [LiveFile.open(path, settings) for path in paths]


def _carry_over(source: LiveFile, target: Layers, replay: Replay | None) -> int:
    """Apply the rows that `target` lacks and seal `source`; the last number."""
    done = _catch_up(source, target, replay)
    target.live.sync()  # the source is let go below
    with source.writing(unless_sealed=False) as txn:  # from here on nobody appends to the source
        for seq, row in source.rows_in(txn, after=done):
            apply_row(replay, target, seq, row)
        source.seal(txn, target.generation)
        return max(target.live.last_seq, source.last_seq)


def _catch_up(source: LiveFile, target: Layers, replay: Replay | None) -> int:
    """Apply rows while updates go on, until few are left or they arrive about as fast; the last number."""
    done, before = target.live.last_seq, None
    while True:
        end = source.last_seq
        left = end - done
        if left <= FEW_ROWS or (before is not None and 2 * left > before):
            return done
        for seq, row in takewhile(lambda numbered, end=end: numbered[0] <= end, source.rows(after=done)):
            apply_row(replay, target, seq, row)
        before, done = left, end


def _remove_old(folder: Path, live: LiveFile, settings: LiveSettings) -> None:
    """Remove the live files of generations that no longer exist; every row of theirs has been carried on."""
    for other in _others(folder, live, settings):
        if not (folder / other.generation).is_dir():
            remove_live_file(other.path)
