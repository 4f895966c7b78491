"""How many records a generation has and a digest over them, which both backends put into its facts."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from panther_pipeline.cache.stores.record_store import Key, encode_key
from panther_pipeline.errors import ArtifactError, ConfigurationError

FORMAT = 1  # of keys and files; a reader refuses any other
_KINDS = {b"u": "user", b"c": "counterparty"}
_MODULUS = 1 << 256


class RecordsTally:
    """Counts by kind and a digest that does not depend on the order: the sum of each record's SHA-256, modulo 2^256.

    Backends and writers keep records in different orders, and a generation need not fit in memory to be sorted. A sum
    notices every accident; it is no defence against an author who wants two sets of records to agree.
    """

    def __init__(self) -> None:
        self.counts = dict.fromkeys(_KINDS.values(), 0)
        self._sum = 0

    def add(self, key: bytes, record: bytes) -> None:
        self.counts[_KINDS[key[:1].lower()]] += 1
        digest = hashlib.sha256(len(key).to_bytes(2, "big") + key + record).digest()
        self._sum = (self._sum + int.from_bytes(digest, "big")) % _MODULUS

    def facts(self) -> dict[str, Any]:
        """JSON values: "format", "counts", "digest"."""
        return {"format": FORMAT, "counts": dict(self.counts), "digest": f"{self._sum:064x}"}


def encoded_batches(records: Iterable[tuple[Key, bytes]], size: int) -> Iterator[list[tuple[bytes, bytes]]]:
    """Records with encoded keys, in lists of at most `size`, each list in the order of its keys."""
    remaining = iter(records)
    while batch := list(islice(remaining, size)):
        yield sorted((encode_key(key), record) for key, record in batch)


def facts_without_tally(facts: Mapping[str, Any] | None) -> dict[str, Any]:
    """A copy of the caller's facts, which "records" is added to when all are written.

    Raises:
        ConfigurationError: the caller uses the name.
    """
    if "records" in (facts or {}):
        raise ConfigurationError('The fact "records" is the store\'s own (counts and digest). Choose another name.')
    return dict(facts or {})


def expected_tally(where: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What the facts of a generation say of its records.

    Raises:
        ArtifactError: nothing, or in another format.
    """
    found = facts.get("records")
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ArtifactError(f"{where} was written by another version of the record store. Run pipeline 'embed' again.")
    return found
