"""The live records of one generation in an LMDB file of their own, shared by the processes of a machine.

Tables: "records" (what lies over the generation), "journal" (sequence number, 8 bytes big-endian, to row), "meta".
A live file is *filling* until the rows of its predecessor are carried over, then *open*, and *sealed* once its own rows
are carried on; only an open one takes updates, and at most one of a folder is open.
"""

import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import lmdb

from panther_pipeline.cache.stores.open_files import once_per_process
from panther_pipeline.errors import StoreError

_STATE, _LAST = b"state", b"last_seq"
_OPEN, _SEALED = b"open", b"sealed:"
_MAX_READERS = 1024  # threads of all processes that read in the same instant
_JOURNAL_CHUNK = 1000


@dataclass(frozen=True, kw_only=True)
class LiveSettings:
    """How live files are opened; see LmdbStore.open."""

    map_bytes: int = 1 << 36  # 64 GiB of addresses; the file takes what is used
    sync_every_s: float = 1.0


class SealedError(Exception):
    """The live file takes no updates any more; `to` is the generation to go to, "" if it is not open yet."""

    def __init__(self, to: str) -> None:
        super().__init__(f"sealed, go on in {to}")
        self.to = to


class LiveFile:
    """Live records and journal of one generation. Made by `open`.

    A process killed at any point leaves the last whole update: LMDB writes pages that nobody uses yet, then one page
    that makes them current. Losing power is another matter, see `sync_every_s` of LmdbStore.
    """

    def __init__(self, path: Path, settings: LiveSettings) -> None:
        self.path = path
        each = settings.sync_every_s == 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._env = lmdb.open(
            str(path),
            subdir=False,
            map_size=settings.map_bytes,
            max_dbs=3,
            max_readers=_MAX_READERS,
            sync=each,
            metasync=each,
        )
        self._env.reader_check()  # a killed reader would keep its pages from being used again
        self._records, self._journal, self._meta = (
            self._env.open_db(name) for name in (b"records", b"journal", b"meta")
        )
        self._changed = threading.Event()
        if not each:
            _start_syncer(self, settings.sync_every_s)

    @classmethod
    def open(cls, path: Path, settings: LiveSettings) -> Self:
        return once_per_process(path, lambda: cls(path, settings))

    @property
    def generation(self) -> str:
        return self.path.stem

    @property
    def sealed_to(self) -> str | None:
        """The generation its rows were carried to; None before that."""
        with self.reading() as txn:
            state = txn.get(_STATE, db=self._meta) or b""
        return state.removeprefix(_SEALED).decode() if state.startswith(_SEALED) else None

    @property
    def is_open(self) -> bool:
        with self.reading() as txn:
            return txn.get(_STATE, db=self._meta) == _OPEN

    @property
    def last_seq(self) -> int:
        """The highest sequence number so far, of rows that were left behind too."""
        with self.reading() as txn:
            return self._last_seq(txn)

    @contextmanager
    def reading(self) -> Iterator[lmdb.Transaction]:
        with self._env.begin() as txn:
            yield txn

    @contextmanager
    def writing(self, unless_sealed: bool = True) -> Iterator[lmdb.Transaction]:
        """One atomic step, alone among all processes.

        Raises:
            SealedError: the file is not open, and `unless_sealed`.
            StoreError: it, or the disk, is full.
        """
        try:
            with self._env.begin(write=True) as txn:
                if unless_sealed:
                    self._require_open(txn)
                yield txn
        except (lmdb.MapFullError, lmdb.MapResizedError):
            raise StoreError(
                f"{self.path} has no room in the {self._env.info()['map_size']} bytes of its map. Publish a new "
                "generation, which starts an empty one, or open the store with a larger live_map_bytes everywhere."
            ) from None
        except lmdb.Error as error:
            raise StoreError(
                f"{self.path} cannot be written ({error}). Look at its disk; nothing was changed."
            ) from None
        self._changed.set()

    def get(self, txn: lmdb.Transaction, key: bytes) -> bytes | None:
        return txn.get(key, db=self._records)

    def put(self, txn: lmdb.Transaction, key: bytes, record: bytes) -> None:
        txn.put(key, record, db=self._records)

    def append(self, txn: lmdb.Transaction, row: bytes, seq: int | None = None) -> None:
        """Append to the journal, under the next number or the one a carried row already has."""
        number = (self._last_seq(txn) + 1 if seq is None else seq).to_bytes(8, "big")
        txn.put(number, row, append=True, db=self._journal)
        txn.put(_LAST, number, db=self._meta)

    def rows(self, after: int) -> Iterator[tuple[int, bytes]]:
        """Journal rows above `after`, read in pieces: a long read transaction would keep all freed pages from use."""
        while True:
            with self.reading() as txn:
                piece = self.rows_in(txn, after, _JOURNAL_CHUNK)
            yield from piece
            if len(piece) < _JOURNAL_CHUNK:
                return
            after = piece[-1][0]

    def rows_in(self, txn: lmdb.Transaction, after: int, limit: int | None = None) -> list[tuple[int, bytes]]:
        found: list[tuple[int, bytes]] = []
        cursor = txn.cursor(db=self._journal)
        there = cursor.set_range((after + 1).to_bytes(8, "big"))
        while there and (limit is None or len(found) < limit):
            found.append((int.from_bytes(cursor.key(), "big"), cursor.value()))
            there = cursor.next()
        return found

    def seal(self, txn: lmdb.Transaction, to: str) -> None:
        txn.put(_STATE, _SEALED + to.encode(), db=self._meta)

    def start(self, last_seq: int) -> None:
        """Take updates from now on, with rows numbered above `last_seq`."""
        with self.writing(unless_sealed=False) as txn:
            txn.put(_LAST, max(last_seq, self._last_seq(txn)).to_bytes(8, "big"), db=self._meta)
            txn.put(_STATE, _OPEN, db=self._meta)

    def sync(self) -> None:
        """Everything so far is on disk when this returns."""
        self._changed.clear()
        self._env.sync(True)

    def sync_if_changed(self) -> None:
        if self._changed.is_set():
            self.sync()
            self._env.reader_check()

    def _last_seq(self, txn: lmdb.Transaction) -> int:
        return int.from_bytes(txn.get(_LAST, db=self._meta) or b"", "big")

    def _require_open(self, txn: lmdb.Transaction) -> None:
        state = txn.get(_STATE, db=self._meta) or b""
        if state != _OPEN:
            raise SealedError(state.removeprefix(_SEALED).decode())


def remove_live_file(path: Path) -> None:
    """Remove a live file and its lock; whoever has it open goes on with it."""
    path.unlink(missing_ok=True)
    path.with_name(f"{path.name}-lock").unlink(missing_ok=True)


def _start_syncer(live: LiveFile, every_s: float) -> None:
    """A thread that syncs while `live` is in use; between syncs it holds no reference, which would keep it in use."""
    arguments = (weakref.ref(live), every_s)
    threading.Thread(target=_sync_loop, args=arguments, name="live-records-sync", daemon=True).start()


def _sync_loop(ref: Callable[[], LiveFile | None], every_s: float) -> None:
    while True:
        time.sleep(every_s)
        live = ref()
        if live is None:
            return
        live.sync_if_changed()
        del live
