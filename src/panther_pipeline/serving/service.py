"""The one scorer of a process, the one thread that calls it, and what is known of both.

Scoring holds the interpreter and shares its caches, so a second thread would make no answer earlier; one thread makes
all calls come one after the other, and the event loop stays free to refuse what has no room.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from panther_pipeline.serving.admission import Admission
from panther_pipeline.serving.config import ServingConfig
from panther_pipeline.serving.contracts import EventContract
from panther_pipeline.serving.logs import SERVICE_LOGGER
from panther_pipeline.serving.metrics import Metrics
from panther_pipeline.serving.scorer import Scorer

T = TypeVar("T")


class Service:
    """State of the service: loading, ready, stopping or failed.

    Args:
        load_scorer: loads and verifies; runs in the thread that will call the scorer.
        config: limits and intervals.
        on_failure: called in the event loop if loading fails.
    """

    def __init__(
        self, load_scorer: Callable[[], Scorer], config: ServingConfig, on_failure: Callable[[], None] = lambda: None
    ) -> None:
        self.config = config
        self.admission = Admission(config.max_in_house)
        self.metrics = Metrics(self.admission)
        self.scorer: Scorer | None = None
        self.contract: EventContract | None = None
        self.failure: Exception | None = None
        self.is_stopping = False
        self._load_scorer, self._on_failure = load_scorer, on_failure
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="scorer")
        self._is_stale = False  # whether events came in since users were embedded
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def state(self) -> str:
        """loading, ready, stopping or failed."""
        if self.is_stopping:
            return "stopping"
        if self.failure is not None:
            return "failed"
        return "ready" if self.contract is not None else "loading"

    async def start(self) -> None:
        """Begin to load; requests are answered 503 until that is done."""
        self._tasks = [asyncio.create_task(self.load()), asyncio.create_task(self._keep_fresh())]

    async def stop(self) -> None:
        """End the background tasks and wait for the call that is under way."""
        self.stop_soon()
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await asyncio.to_thread(self._worker.shutdown, cancel_futures=True)

    def stop_soon(self) -> None:
        """Not ready from here on; what is asked is still answered."""
        self.is_stopping = True
        self.metrics.ready.set(0)

    async def call(self, function: Callable[..., T], *args: Any) -> T:
        """Call the scorer in its thread."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, function, *args)

    def note_events(self) -> None:
        """Events came in: users wait to be embedded."""
        self._is_stale = True

    async def load(self) -> None:
        """Load and verify, once."""
        if self.contract is not None:
            return
        start = time.perf_counter()
        try:
            scorer = await self.call(self._load_scorer)
            contract = EventContract(scorer.schema, self.config)
        except Exception as error:  # whatever it is, nothing is served
            self.failure = error
            SERVICE_LOGGER.error("the scorer could not be loaded", exc_info=error)
            self._on_failure()
            return
        self.scorer, self.contract = scorer, contract
        self._is_stale = True  # events of before the start may be waiting
        self.metrics.ready.set(0 if self.is_stopping else 1)
        fields = {"load_s": round(time.perf_counter() - start, 3), "identity": scorer.identity}
        SERVICE_LOGGER.info("ready", extra={"fields": fields})

    async def _keep_fresh(self) -> None:
        """Embed users that events touched: between requests, or at last after `refresh_latest_s`."""
        last = time.monotonic()
        while True:
            await asyncio.sleep(self.config.refresh_interval_s)
            if self.scorer is None or not self._is_stale:
                last = time.monotonic()
                continue
            is_late = time.monotonic() - last > self.config.refresh_latest_s
            if self.admission.is_empty or is_late:
                await self._refresh(self.scorer, once=is_late)
                last = time.monotonic()

    async def _refresh(self, scorer: Scorer, *, once: bool) -> None:
        """Batch after batch while nobody is in the house; one batch if somebody is."""
        while True:
            self._is_stale = False  # before the call: events that come during it are seen next time
            try:
                num_users = await self.call(scorer.refresh)
            except Exception as error:  # scoring goes on with the embeddings there are
                self._is_stale = True
                self.metrics.count_failed_refresh()
                SERVICE_LOGGER.error("users could not be embedded", exc_info=error)
                return
            self.metrics.count_refreshed(num_users)
            if num_users == 0:
                return
            self._is_stale = True
            if once or not self.admission.is_empty:
                return
