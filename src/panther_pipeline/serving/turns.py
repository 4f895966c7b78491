"""Calls the scorer, one call after the other: a short one in the event loop, any other in a thread.

To hand a call to a thread and its answer back costs as much as half a score, and meanwhile two threads contend for one
interpreter. What is expected to be done within `_SHORT_S` is therefore done where it is asked for. Before each call the
loop looks at what has come, so that those who find no room are told so between two scores.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
_SHORT_S = 0.005
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
            except asyncio.CancelledError:
                await asyncio.wait([running])  # a thread cannot be stopped: the next one waits for it all the same
                raise

    async def call_parts(self, num_parts: int, function: Callable[..., T], *args: Any, may_block: bool = False) -> T:
        """A call that takes longer the more parts it has; in the loop if it will be short by the calls before.

        Args:
            num_parts: of this call, e.g. events to score.
            function: what to call with `args`.
            may_block: it may wait for something else than the processor: never in the loop.
        """

        def timed() -> T:
            start_s = time.perf_counter()
            answer = function(*args)
            self._note((time.perf_counter() - start_s) / max(1, num_parts))
            return answer

        if may_block or self._part_s is None or num_parts * self._part_s > _SHORT_S:
            return await self.call(timed)
        async with self._turn:
            await asyncio.sleep(0)
            return timed()

    def end(self) -> None:
        """Wait for the call that is under way; none is begun after it."""
        self._worker.shutdown(cancel_futures=True)

    def _note(self, part_s: float) -> None:
        self._part_s = part_s if self._part_s is None else self._part_s + _WEIGHT * (part_s - self._part_s)
