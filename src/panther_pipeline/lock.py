"""One process at a time in a folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def taken(folder: Path, wait: bool = False) -> Iterator[bool]:
    """Keep other processes of this machine out of a folder, by a lock file beside it.

    The operating system lets go of the lock of a process that dies, however it dies.

    Args:
        folder: need not exist yet.
        wait: until it is free; or not at all.

    Yields:
        Whether it was free.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f"{folder.name}.lock"), timeout=-1 if wait else 0)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
