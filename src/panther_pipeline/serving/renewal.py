"""A new online store is published: its scorer is loaded beside the old one, and takes over between two requests.

Nothing of it happens in the thread that scores: the look, the load with its digests, the end of the old scorer. What is
not what was written, or of another run than the model and the head that are there, does not take over; it is tried
again, since a run publishes its head some time after its store.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable

from panther_pipeline.serving.config import ServingConfig
from panther_pipeline.serving.loaded import Loaded
from panther_pipeline.serving.logs import SERVICE_LOGGER
from panther_pipeline.serving.metrics import Metrics

_LONGEST_PAUSE_S = 60.0  # after failures: a load takes a core for as long as it lasts


class Renewal:
    """Keeps a service on the newest store.

    Args:
        config: how often to look.
        metrics: counts.
        load: loads and verifies; called in a thread of its own.
        current: who scores now; None = nobody yet.
        replace: puts another one in place.
    """

    def __init__(
        self,
        config: ServingConfig,
        metrics: Metrics,
        *,
        load: Callable[[], Loaded],
        current: Callable[[], Loaded | None],
        replace: Callable[[Loaded], None],
    ) -> None:
        self._config, self._metrics = config, metrics
        self._load, self._current, self._replace = load, current, replace
        self._look_now = asyncio.Event()
        self._num_failures = 0

    def look_now(self) -> None:
        """Do not wait for the next look."""
        self._look_now.set()

    async def run(self) -> None:
        """Look, and load what is new, without end."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._look_now.wait(), self.pause_s)
            self._look_now.clear()
            if (current := self._current()) is not None:
                await self._renew(current)

    @property
    def pause_s(self) -> float:
        """Until the next look: longer after each failure."""
        longest_s = max(self._config.reload_interval_s, _LONGEST_PAUSE_S)
        return min(self._config.reload_interval_s * 2.0 ** min(self._num_failures, 16), longest_s)

    async def _renew(self, current: Loaded) -> None:
        start = time.perf_counter()
        try:
            if not await asyncio.to_thread(current.scorer.is_outdated):
                self._num_failures = 0
                return
            renewed = await asyncio.to_thread(self._load)
        except Exception as error:  # whatever it is, the old scorer goes on
            self._num_failures += 1
            self._metrics.count_failed_reload()
            SERVICE_LOGGER.error("the new store could not be loaded, the old one stays", exc_info=error)
            return
        self._num_failures = 0
        self._replace(renewed)
        self._metrics.count_reload()
        fields = {"load_s": round(time.perf_counter() - start, 3), "identity": renewed.scorer.identity}
        SERVICE_LOGGER.info("reloaded", extra={"fields": fields})
