"""A generation as one LMDB file: written once, published, then only read."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice, takewhile
from pathlib import Path
from typing import Any, Self

import lmdb

from panther_pipeline.cache.stores.open_files import once_per_process
from panther_pipeline.cache.stores.record_store import Key
from panther_pipeline.cache.stores.tally import (
    RecordsTally,
    encoded_batches,
    expected_tally,
    facts_without_tally,
)
from panther_pipeline.errors import ArtifactError
from panther_pipeline.publish import check_files, publish_folder

RECORDS = "records.mdb"
_BUILDING = "building.mdb"
_BATCH_RECORDS = 20_000
_FIRST_MAP_BYTES = 1 << 24


def write_generation(
    folder: Path, records: Iterable[tuple[Key, bytes]], facts: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Publish `records` as the new generation of `folder`; readers of the old one are not disturbed.

    Records may come in any order and need not fit in memory; sorted by kind and id (counterparties first) they are
    appended, which is fastest.

    Args:
        folder: the artifact's folder.
        records: each key once.
        facts: JSON values that identify the generation (digests of backbone and tokenizer, as_of_us, ...).

    Returns:
        The facts as published: those given and "records" (format, counts by kind, digest).

    Raises:
        ArtifactError: a key that comes twice.
        StoreError: a key without an id.
        OSError, lmdb.Error: disk full and the like. The old generation stays current, whatever is raised.
    """
    published, tally = facts_without_tally(facts), RecordsTally()

    def write(folder: Path) -> None:
        _write_file(folder / RECORDS, records, tally)
        published["records"] = tally.facts()  # publish_folder writes the facts after the files

    publish_folder(folder, write, published)
    return published


class GenerationFile:
    """A published generation, open to read. Made by `open`."""

    def __init__(self, path: Path, name: str, facts: dict[str, Any]) -> None:
        self.name, self.facts = name, facts
        # Nobody writes the file, so that no lock is needed; users are asked for in no order, so no reading ahead.
        self._env = lmdb.open(str(path), subdir=False, readonly=True, lock=False, readahead=False)

    @classmethod
    def open(cls, folder: Path, manifest: Mapping[str, Any], verify: bool = True) -> Self:
        """Open the generation that a manifest describes.

        Args:
            folder: the artifact's folder.
            manifest: "generation", "files", "facts".
            verify: read the file and compare its SHA-256. Hashing lets other threads go on.

        Raises:
            ArtifactError: a file is missing or not what was written, another format, counts that differ from the facts.
        """
        where = folder / manifest["generation"]
        tally = expected_tally(str(where), manifest["facts"])
        if verify:
            check_files(folder, manifest)
        path = where / RECORDS
        try:
            opened = once_per_process(path, lambda: cls(path, manifest["generation"], manifest["facts"]))
        except lmdb.Error as error:
            raise ArtifactError(f"{path} cannot be opened ({error}). Run pipeline 'embed' again.") from None
        if opened.num_records != sum(tally["counts"].values()):
            raise ArtifactError(
                f"{path} holds {opened.num_records} records, its facts say {tally['counts']}. Run 'embed' again."
            )
        return opened

    @property
    def num_records(self) -> int:
        return self._env.stat()["entries"]

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        with self._env.begin() as txn:
            return [txn.get(key) for key in keys]

    def batches(self, size: int) -> Iterator[list[tuple[bytes, bytes]]]:
        """All records with encoded keys, in the order of their keys, in lists of at most `size`."""
        with self._env.begin() as txn:
            records = iter(txn.cursor())
            while batch := list(islice(records, size)):
                yield batch

    def first_keys(self, prefix: bytes, num: int) -> list[bytes]:
        """At most `num` keys that begin so, in their order."""
        with self._env.begin() as txn:
            cursor = txn.cursor()
            if not cursor.set_range(prefix):
                return []
            keys = takewhile(lambda key: key.startswith(prefix), cursor.iternext(values=False))
            return list(islice(keys, num))


def _write_file(path: Path, records: Iterable[tuple[Key, bytes]], tally: RecordsTally) -> None:
    building = path.with_name(_BUILDING)
    # No syncs and no lock: nobody reads the file before publish_folder has synced and renamed it.
    env = lmdb.open(str(building), subdir=False, lock=False, sync=False, map_size=_FIRST_MAP_BYTES)
    last = b""
    for batch in encoded_batches(records, _BATCH_RECORDS):
        while not _put(env, batch, last):
            env.set_mapsize(2 * env.info()["map_size"])
        last = max(last, batch[-1][0])
        for key, record in batch:
            tally.add(key, record)
    env.copy(str(path), compact=True)  # without the pages that commits have freed
    env.close()
    building.unlink()


def _put(env: lmdb.Environment, batch: list[tuple[bytes, bytes]], last: bytes) -> bool:
    """Whether the map had room for a batch of ascending keys; `last` is the greatest key so far."""
    try:
        with env.begin(write=True) as txn:
            for key, record in batch:
                if not txn.put(key, record, overwrite=False, append=key > last):
                    raise ArtifactError(f"Two records for one {_kind(key)}. Give each key once.")
                last = max(last, key)
    except lmdb.MapFullError:
        return False
    return True


def _kind(key: bytes) -> str:
    return "user" if key[:1].lower() == b"u" else "counterparty"
