"""LMDB allows one opening of a file per process: whoever opens it again gets the same object."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakValueDictionary

Opened = TypeVar("Opened")
_open_files: WeakValueDictionary[str, Any] = WeakValueDictionary()
_opening = threading.Lock()


def once_per_process(path: Path, make: Callable[[], Opened]) -> Opened:
    """What `make` returned for `path` while anyone still holds it, else what it returns now.

    Nobody counts users: the file closes with the last reference, so that a read that is under way ends in peace.
    """
    name = str(path.resolve())
    with _opening:
        opened = _open_files.get(name)
        if opened is None:
            opened = _open_files[name] = make()
        return opened
