"""A generation as it was published: for a copy that nobody writes to, in a folder that may be read-only."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from panther_pipeline.cache.stores.lmdb_generation import GenerationFile
from panther_pipeline.cache.stores.record_store import Change, Key, Replay, encode_key
from panther_pipeline.errors import StoreError
from panther_pipeline.publish import read_manifest


class PublishedStore:
    """A `RecordStore` that takes in nothing and writes nothing: no live records, no journal, no lock."""

    def __init__(self, generation: GenerationFile) -> None:
        self._file: GenerationFile | None = generation

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open the current generation of what `write_generation` has published.

        Raises:
            ArtifactError: missing, damaged, or of another version.
        """
        return cls(GenerationFile.open(folder, read_manifest(folder)))

    @property
    def generation(self) -> str:
        return self._opened().name

    @property
    def facts(self) -> dict[str, Any]:
        return self._opened().facts

    def get(self, key: Key) -> bytes | None:
        return self.get_many([key])[0]

    def get_many(self, keys: Sequence[Key]) -> list[bytes | None]:
        return self._opened().get_many([encode_key(key) for key in keys])

    def update(self, keys: Sequence[Key], change: Change, journal: bytes | None = None) -> None:
        """Refuse.

        Raises:
            StoreError: always.
        """
        raise StoreError(
            "This store is a published copy and takes in no events. Send them to a service on the run's own online "
            "store (python -m panther_pipeline.serving)."
        )

    def journal(self, after: int = 0) -> Iterator[tuple[int, bytes]]:
        return iter(())

    def reopen_if_changed(self) -> bool:
        return False  # a copy holds one generation

    def close(self) -> None:
        self._file = None

    def _opened(self) -> GenerationFile:
        if self._file is None:
            raise StoreError("This store is closed. Open it again.")
        return self._file


@dataclass(frozen=True)
class PublishedSource:
    """A published copy: a `StoreSource`."""

    folder: Path

    def facts(self) -> dict[str, Any]:
        return read_manifest(self.folder)["facts"]

    def open(self, replay: Replay) -> PublishedStore:
        return PublishedStore.open(self.folder)
