"""What a store of records promises, whatever keeps them: a read is of one moment, a change is whole or not at all.

A *generation* is built offline and never changes. *Live* records, which events change as they arrive, lie over it. Each
change appends a row to the *journal* in the same step. When a new generation is published, the rows of the journal are
applied to it, then the store moves over: what arrived since the new generation was built is not lost.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, Protocol

from panther_pipeline.errors import StoreError

Kind = Literal["user", "counterparty"]
Key = tuple[Kind, str]  # the text is the id as in the ledger
Change = Callable[[dict[Key, bytes | None]], dict[Key, bytes]]
MAX_KEY_BYTES = 511  # what LMDB takes
_LETTERS = {"user": (b"u", b"U"), "counterparty": (b"c", b"C")}


class Records(Protocol):
    """One generation with its live records."""

    @property
    def generation(self) -> str: ...

    @property
    def facts(self) -> dict[str, Any]:
        """What the generation was built from, as given to its writer, and under "records" counts and digest."""
        ...

    def get(self, key: Key) -> bytes | None:
        """The record, or None for an id the store has never seen."""
        ...

    def get_many(self, keys: Sequence[Key]) -> list[bytes | None]:
        """Records in the order of `keys`, all of one moment: never of two generations, never half an update."""
        ...

    def update(self, keys: Sequence[Key], change: Change, journal: bytes | None = None) -> None:
        """Read, change and write all of `keys` as one step.

        Args:
            keys: the records to change.
            change: gets the record of each key (None: not there), returns those to write. It may be called again when
                another writer came first, and other writers wait for it: short, without side effects, no store calls.
            journal: appended to the journal in the same step. A change without a row is not carried to the next
                generation.

        Raises:
            StoreError: a key without an id, a record for a key that was not asked for, no room, too many writers.
            StoreAwayError: the server that keeps the records cannot be used now, here and with every other question.
            StoreMovedError: another process has moved on to a new generation, and this store was opened not to follow.
        """
        ...


Replay = Callable[[Records, bytes], None]
"""Applies a row of the journal to the records of a new generation: calls `update` once, or not at all if the generation
already has the event, which leaves the row behind."""


class RecordStore(Records, Protocol):
    """The current generation, whichever that is."""

    def journal(self, after: int = 0) -> Iterator[tuple[int, bytes]]:
        """Rows with a sequence number above `after`, in order. A row keeps its number in the next generation."""
        ...

    def is_outdated(self) -> bool:
        """Whether another generation is published, or updates go to another one: a look, far cheaper than to open it.

        Raises:
            ArtifactError: what is published cannot be read.
        """
        ...

    def sample_users(self, num: int) -> list[str]:
        """Ids of at most `num` users of the generation, to look at; none where the store cannot list them."""
        ...

    def reopen_if_changed(self) -> bool:
        """Move to the published generation if it is another one; whether it was.

        Everything slow happens before the move, while reads and updates go on in the old generation: call it from a
        thread of its own.

        Raises:
            ArtifactError: the published generation is not what was written; the store stays where it is.
        """
        ...

    def close(self) -> None:
        """Let go of everything; no other call may be running."""
        ...


class StoreSource(Protocol):
    """Where a store is. What is published there can be looked at before the store is opened, which moves records."""

    def facts(self) -> dict[str, Any]:
        """Of the published generation.

        Raises:
            ArtifactError: nothing is published.
            StoreAwayError: the server that keeps it cannot be used now.
        """
        ...

    def open(self, replay: Replay) -> RecordStore:
        """A store that stays in the published generation until it is opened again.

        Args:
            replay: applies rows of the journal to a new generation.
        """
        ...


def encode_key(key: Key) -> bytes:
    """The key as bytes, at most 511: a letter for the kind, then the id, or the SHA-256 of one that is too long.

    Plain keys sort as their ids do. The letters differ between kinds and between plain and hashed, so that no id can be
    taken for the digest of another.

    Raises:
        StoreError: an unknown kind, no id, or an id that is no text in UTF-8.

    Example:
        >>> encode_key(("user", "4711")), len(encode_key(("counterparty", "x" * 1000)))
        (b'u4711', 33)
    """
    kind, name = key
    if kind not in _LETTERS:
        raise StoreError(f"A key is of kind {' or '.join(_LETTERS)}, not {kind!r}.")
    if not name:
        raise StoreError(f"A {kind} without an id has no record. Events without an id belong into quarantine.")
    try:
        text = name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise StoreError(f"The id of a {kind} cannot be written in UTF-8 ({error.reason}). Mend the source.") from None
    plain, hashed = _LETTERS[kind]
    return plain + text if len(text) < MAX_KEY_BYTES else hashed + hashlib.sha256(text).digest()


def check_changes(keys: Iterable[Key], changes: dict[Key, bytes]) -> dict[Key, bytes]:
    """What `change` returned, once it is known to be records of keys that were asked for.

    Raises:
        StoreError: another key, whose old record nobody has looked at; or a record that is not bytes.
    """
    if unasked := set(changes) - set(keys):
        raise StoreError(f"A change wrote {len(unasked)} keys that update() was not given. Name all keys it may write.")
    if not all(isinstance(value, bytes) for value in changes.values()):
        raise StoreError("A change returned a record that is not bytes. Encode records before they are stored.")
    return changes
