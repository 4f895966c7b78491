"""A row of the old generation's journal on its way into the new one, whatever keeps them."""

from collections.abc import Sequence
from typing import Protocol

from panther_pipeline.cache.stores.record_store import Change, Key, Records, Replay
from panther_pipeline.errors import StoreError

FEW_ROWS = 64  # carried while updates wait


class Target(Records, Protocol):
    """The new generation, which takes no other updates yet."""

    def carry(self, keys: Sequence[Key], change: Change, journal: bytes, seq: int) -> None:
        """An update whose row keeps its number."""
        ...


class _Carried:
    """The new records as a replay sees them: its one update gets the number of the row it applies."""

    def __init__(self, target: Target, row: bytes, seq: int) -> None:
        self._target, self._row, self._seq = target, row, seq
        self.generation, self.facts = target.generation, target.facts
        self.get, self.get_many = target.get, target.get_many

    def update(self, keys: Sequence[Key], change: Change, journal: bytes | None = None) -> None:
        """The row that is applied is kept whatever `journal` says; a second update would lose it, so it is refused."""
        if self._seq == 0:
            raise StoreError("A replay updates once per row of the journal. Name all keys in one update.")
        seq, self._seq = self._seq, 0
        self._target.carry(keys, change, self._row if journal is None else journal, seq)


def apply_row(replay: Replay | None, target: Target, seq: int, row: bytes) -> None:
    """Apply row number `seq` to the new generation.

    Raises:
        StoreError: there is no `replay`, or it updates twice.
    """
    if replay is None:
        raise StoreError(
            f"Events that arrived since generation {target.generation} was built are not in it yet. Open the store "
            "with the function that applies them (replay)."
        )
    replay(_Carried(target, row, seq), row)
