"""SHA-256 of files: of a small one whole, of a large one piece by piece, so that several threads can share the work.

A digest of pieces says so: `pieces-64MiB:` and the SHA-256 of the SHA-256 digests of the file's pieces in order.
"""

import hashlib
import os
from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from threading import Thread

_PIECE_BYTES = 1 << 26  # a file of more than one piece is digested in pieces
_IN_PIECES = "pieces-64MiB:"
_CHUNK_BYTES = 1 << 22  # what a thread holds of a file
_MOST_THREADS = 8
_AHEAD: dict[tuple[int | bool, ...], "_Digest"] = {}  # begun before they are asked for


def file_digest(path: Path, like: str | None = None) -> str:
    """SHA-256 of a file's bytes, hexadecimal; of a file above 64 MiB, that of its pieces, marked as such.

    Args:
        path: the file.
        like: the digest to compare with: a file that was once digested whole is so again, whatever its size.

    Raises:
        OSError: the file cannot be read.
    """
    in_pieces = _is_large(path) if like is None else like.startswith(_IN_PIECES)
    digest = _AHEAD.pop((*_file_identity(path), in_pieces), None)
    if digest is None:
        digest = _Digest(path, in_pieces)
        _compute([digest], num_threads=min(_num_threads(), digest.num_pieces) - 1)
    return digest.result()


def begin_digests(files: Mapping[Path, str]) -> None:
    """Begin to compute the digests of files in other threads; whoever asks for one next waits for it, and helps.

    The threads keep no process from ending.

    Args:
        files: the digest that each should have.

    Raises:
        OSError: a file is missing.
    """
    kinds = {path: like.startswith(_IN_PIECES) for path, like in files.items()}
    begun = {(*_file_identity(path), in_pieces): _Digest(path, in_pieces) for path, in_pieces in kinds.items()}
    _AHEAD.update(begun)
    _compute(begun.values(), num_threads=_num_threads())


class _Digest:
    """The digest of a file, computed piece by piece by whoever is there to."""

    def __init__(self, path: Path, in_pieces: bool) -> None:
        self._path, self._in_pieces = path, in_pieces
        size = path.stat().st_size
        self._length = _PIECE_BYTES if in_pieces else max(size, 1)
        self._pieces: list[Future[bytes]] = [Future() for _ in range(0, max(size, 1), self._length)]
        self._waiting = deque(enumerate(self._pieces))

    @property
    def num_pieces(self) -> int:
        return len(self._pieces)

    def work(self) -> None:
        """Digest pieces until somebody has begun each of them."""
        while True:
            try:
                number, piece = self._waiting.popleft()
            except IndexError:
                return
            try:
                piece.set_result(_digest_part(self._path, number * self._length, self._length))
            except Exception as error:  # for whoever waits
                piece.set_exception(error)

    def result(self) -> str:
        """The digest, once all pieces are."""
        self.work()
        digests = [piece.result() for piece in self._pieces]
        return _IN_PIECES + hashlib.sha256(b"".join(digests)).hexdigest() if self._in_pieces else digests[0].hex()


def _compute(digests: Iterable[_Digest], num_threads: int) -> None:
    def work() -> None:
        for digest in digests:
            digest.work()

    with suppress(RuntimeError):  # no thread to be had: whoever asks for a digest computes it
        for _ in range(num_threads):
            Thread(target=work, name="digest", daemon=True).start()


def _digest_part(path: Path, start: int, length: int) -> bytes:
    digest, buffer = hashlib.sha256(), memoryview(bytearray(min(_CHUNK_BYTES, length)))
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        while num_bytes := file.readinto(buffer[:length]):
            digest.update(buffer[:num_bytes])
            length -= num_bytes
    return digest.digest()


def _is_large(path: Path) -> bool:
    return path.stat().st_size > _PIECE_BYTES


def _num_threads() -> int:
    """A core is left to whoever goes on meanwhile: who starts a service, or has one whose store is renewed."""
    num_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(num_cores - 1, _MOST_THREADS))


def _file_identity(path: Path) -> tuple[int, ...]:
    """A file that was written to or replaced has another one."""
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
