"""Ids of the events kept of a user: one text per event, read apart only when one of them is looked at.

A decision asks whether an id is among them, and nearly always it is not: bytes can be searched without being cut.
"""

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Self

import numpy as np


class EventIds:
    """Texts in the order of the events. Immutable."""

    def __init__(self, packed: bytes, lengths_R: np.ndarray) -> None:
        """Texts in UTF-8, end to end, and the number of bytes of each.

        Raises:
            ValueError: the lengths do not add up to the bytes there are.
        """
        if len(lengths_R) and (int(lengths_R.min()) < 0 or int(lengths_R.sum()) != len(packed)):
            raise ValueError(f"ids of {int(lengths_R.sum())} bytes, {len(packed)} there are")
        self.packed, self.lengths_R = packed, lengths_R

    @classmethod
    def of(cls, ids: Iterable[str]) -> Self:
        """From the texts."""
        encoded = [text.encode() for text in ids]
        return cls(b"".join(encoded), np.array([len(text) for text in encoded], np.int32))

    def __len__(self) -> int:
        return len(self.lengths_R)

    def __iter__(self) -> Iterator[str]:
        return iter(self.texts)

    def __getitem__(self, place: int) -> str:
        return self.texts[place]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EventIds) and self.texts == other.texts

    def __hash__(self) -> int:
        return hash(self.packed)

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """All of them.

        Raises:
            ValueError: bytes that are no UTF-8.
        """
        ends = np.cumsum(self.lengths_R).tolist()
        return tuple(self.packed[start:end].decode() for start, end in zip([0, *ends], ends, strict=False))

    def find(self, event_id: str) -> int | None:
        """Where an id stands; None if it is not there."""
        if event_id.encode() not in self.packed:
            return None
        return next((place for place, text in enumerate(self.texts) if text == event_id), None)

    def insert(self, place: int, event_id: str) -> Self:
        """With one more id."""
        return type(self).of((*self.texts[:place], event_id, *self.texts[place:]))

    def drop(self, num: int) -> Self:
        """Without the first `num`."""
        start = int(self.lengths_R[:num].sum())
        return type(self)(self.packed[start:], self.lengths_R[num:])
