"""Calls the scorer, one call after the other: in a thread, or in the event loop if it will be short.

To hand a call to a thread and its answer back costs as much as half a score, and meanwhile two threads contend for one
interpreter. A score that is expected to be done within `_SHORT_S` is therefore computed where it is asked for. Before
each of these the loop looks at what has come, so that those who find no room are told so between two scores.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")
_SHORT_S = 0.005
_MOST_PARTS = 2  # of a call in the loop: any of them may take ten times the mean
_WEIGHT = 0.05  # of the newest call in the mean: some twenty calls are remembered


class Turns:
    """Whose turn it is. Used from the event loop alone."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="scorer")
        self._part_s: float | None = None  # mean time for a part of a call; None = not known yet

    async def call(self, function: Callable[..., T], *args: Any) -> T:
        """In the thread, and the loop stays free."""
        async with self._turn:
            running = asyncio.get_running_loop().run_in_executor(self._worker, function, *args)
            try:
                return await asyncio.shield(running)
            finally:
                while not running.done():  # given up, but a thread cannot be stopped: the next one waits all the same
                    with suppress(asyncio.CancelledError):
                        await asyncio.wait([running])

    async def call_parts(self, num_parts: int, function: Callable[..., T], *args: Any, may_block: bool = False) -> T:
        """A call that takes longer the more parts it has; in the loop if it will be short by the calls before.

        Args:
            num_parts: of this call: events to score.
            function: what to call with `args`.
            may_block: it may wait for something else than the processor: never in the loop.
        """

        def timed() -> T:
            start_s = time.perf_counter()
            try:
                return function(*args)
            finally:
                self._note((time.perf_counter() - start_s) / max(1, num_parts))

        is_short = self._part_s is not None and num_parts * self._part_s <= _SHORT_S and num_parts <= _MOST_PARTS
        if may_block or not is_short:
            return await self.call(timed)
        async with self._turn:
            await asyncio.sleep(0)
            return timed()

    def end(self) -> None:
        """Wait for the call that is under way in the thread; none is begun there after it."""
        self._worker.shutdown(cancel_futures=True)

    def _note(self, part_s: float) -> None:
        self._part_s = part_s if self._part_s is None else self._part_s + _WEIGHT * (part_s - self._part_s)
