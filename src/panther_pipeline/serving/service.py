"""The one scorer of a process, and what is known of it.

Scoring holds the interpreter and shares its caches, so that two calls at a time would make no answer earlier: all come
one after the other (`turns`). When a new store is published, another scorer takes its place between two requests
(`renewal`).
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from panther_pipeline.cards.keys import CardKey
from panther_pipeline.features.event import OnlineEvent as Event
from panther_pipeline.online.card_numbers import is_key_of
from panther_pipeline.online.decision import Decision
from panther_pipeline.serving.admission import Admission
from panther_pipeline.serving.config import ServingConfig
from panther_pipeline.serving.loaded import Loaded, NotReadyError
from panther_pipeline.serving.logs import SERVICE_LOGGER, TurnedAwayLog
from panther_pipeline.serving.metrics import Metrics
from panther_pipeline.serving.renewal import Renewal
from panther_pipeline.serving.scorer import Scorer
from panther_pipeline.serving.turns import Turns

T = TypeVar("T")


class Service:
    """State of the service: loading, ready, stopping or failed.

    Args:
        load_scorer: loads and verifies; runs in a thread. Called again when what it loaded is outdated, while that is
            still in use.
        config: limits and intervals.
        on_failure: called in the event loop if loading fails.
        on_settled: called when something was loaded that stays: the scorer, then the model.
        card_key: see `EventContract`.
    """

    def __init__(
        self,
        load_scorer: Callable[[], Scorer],
        config: ServingConfig,
        on_failure: Callable[[], None] = lambda: None,
        on_settled: Callable[[], None] = lambda: None,
        card_key: CardKey | None = None,
    ) -> None:
        self.config = config
        self.admission = Admission(config.max_in_house)
        self.metrics = Metrics(self.admission)
        self.turned_away = TurnedAwayLog()
        self.loaded: Loaded | None = None
        self.failure: Exception | None = None
        self.is_stopping = False
        self._load_scorer, self._card_key = load_scorer, card_key
        self._on_failure, self._on_settled = on_failure, on_settled
        self._turns = Turns()
        self._is_warm = False  # whether users can be embedded without a wait
        self._is_stale = True  # whether events came in since users were embedded; of before the start, too
        self._tasks: list[asyncio.Task[None]] = []
        self._closing: set[asyncio.Task[None]] = set()
        self._renewal = Renewal(
            config, self.metrics, load=self._load_warm, current=lambda: self.loaded, replace=self._replace
        )

    @property
    def state(self) -> str:
        """loading, ready, stopping or failed."""
        if self.is_stopping:
            return "stopping"
        if self.failure is not None:
            return "failed"
        return "ready" if self.loaded is not None else "loading"

    async def start(self) -> None:
        """Begin to load; requests are answered 503 until that is done."""
        background = (self.load(), self._keep_fresh(), self._renewal.run())
        self._tasks = [asyncio.create_task(work) for work in background]

    async def stop(self) -> None:
        """End the background tasks, wait for the call that is under way, let go of the store."""
        self.stop_soon()
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await asyncio.gather(*self._closing)
        await asyncio.to_thread(self._turns.end)
        if self.loaded is not None:
            await asyncio.to_thread(self.loaded.scorer.close)

    def stop_soon(self) -> None:
        """Not ready from here on; what is asked is still answered."""
        self.is_stopping = True
        self.metrics.ready.set(0)

    def require_ready(self) -> None:
        """Refuse what comes before the scorer is there.

        Raises:
            NotReadyError: it is not.
        """
        if self.loaded is None:
            raise NotReadyError

    @contextlib.contextmanager
    def using(self) -> Iterator[Loaded]:
        """The scorer of this moment, which stays open as long as it is used.

        Raises:
            NotReadyError: there is none yet.
        """
        if self.loaded is None:
            raise NotReadyError
        with self.loaded.in_use() as loaded:
            yield loaded

    async def wait_for_successor(self, loaded: Loaded) -> None:
        """The state has moved to where only the next scorer takes events in.

        Raises:
            NotReadyError: it is not there in time, since another process was first to move: this one has yet to load.
        """
        self._renewal.look_now()
        try:
            await asyncio.wait_for(loaded.has_successor.wait(), self.config.retry_after_s)
        except TimeoutError:
            raise NotReadyError from None

    def note_move(self) -> None:
        """The store of the scorer is no longer where the scorer reads it."""
        self._renewal.look_now()

    async def call(self, function: Callable[..., T], *args: Any) -> T:
        """Call the scorer, or whatever takes long, in the scorer's thread."""
        return await self._turns.call(function, *args)

    async def score(self, scorer: Scorer, events: Sequence[Event], explain: bool) -> list[Decision]:
        """Call `Scorer.score`, which may compute what is not cached, and ask another machine for its records."""
        may_block = not self._is_warm or self.config.store.kind != "lmdb"
        num_parts = len(events) * (2 if explain else 1)  # reasons take as long as the score
        return await self._turns.call_parts(num_parts, scorer.score, events, explain, may_block=may_block)

    def note_events(self) -> None:
        """Events came in: users wait to be embedded."""
        self._is_stale = True

    async def load(self) -> None:
        """Load and verify, once."""
        if self.loaded is not None:
            return
        start = time.perf_counter()
        try:
            loaded = await self.call(self._load)
        except Exception as error:  # whatever it is, nothing is served
            self._fail(error)
            return
        self.loaded = loaded
        self._on_settled()
        self._tasks.append(asyncio.create_task(self._warm_up(loaded.scorer)))
        self.metrics.ready.set(0 if self.is_stopping else 1)
        fields = {"load_s": round(time.perf_counter() - start, 3), "identity": loaded.scorer.identity}
        SERVICE_LOGGER.info("ready", extra={"fields": fields})

    def _load(self) -> Loaded:
        scorer = self._load_scorer()
        if self._card_key is not None and not is_key_of(scorer.schema, self._card_key):
            fields = {"key_id": self._card_key.id, "key_id_of_store": scorer.schema.card_key_id}
            SERVICE_LOGGER.warning(
                "the store was not made with this PANTHER_CARD_KEY: card numbers are refused", extra={"fields": fields}
            )
        return Loaded(scorer, self.config, self._card_key)

    def _load_warm(self) -> Loaded:
        """One that takes over: what it will need is there before it does."""
        loaded = self._load()
        loaded.scorer.warm_up()
        return loaded

    async def _warm_up(self, scorer: Scorer) -> None:
        """Scores are answered meanwhile; users are embedded afterwards."""
        try:
            await asyncio.to_thread(scorer.warm_up)
        except Exception as error:  # the model is not what was promised
            self._fail(error)
            return
        self._on_settled()
        self._is_warm = True
        self.metrics.warm.set(1)

    def _fail(self, error: Exception) -> None:
        self.failure = error
        self.metrics.ready.set(0)
        SERVICE_LOGGER.error("the scorer could not be loaded", exc_info=error)
        self._on_failure()

    def _replace(self, renewed: Loaded) -> None:
        """Requests from here on get another scorer; the old one is closed when the last of its own has ended."""
        replaced, self.loaded = self.loaded, renewed
        self._is_stale = True  # events that were carried over
        if replaced is not None:
            replaced.retire(lambda: self._begin_to_close(replaced.scorer))

    def _begin_to_close(self, scorer: Scorer) -> None:
        task = asyncio.create_task(self._close(scorer))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close(self, scorer: Scorer) -> None:
        await self.call(lambda: None)  # a call whose request was given up may be under way
        try:
            await asyncio.to_thread(scorer.close)  # it syncs, and scoring does not wait for a disk
        except Exception as error:  # nobody uses it any more
            SERVICE_LOGGER.error("an old store could not be closed", exc_info=error)

    async def _keep_fresh(self) -> None:
        """Embed users that events touched, some at a time: between requests, or at last after `refresh_latest_s`."""
        while True:
            await asyncio.sleep(self.config.refresh_interval_s)
            while self.loaded is not None and self._is_warm and self._is_stale:
                await self.admission.wait_until_empty(self.config.refresh_latest_s)
                with self.using() as loaded:
                    if not await self._refresh(loaded.scorer):
                        break

    async def _refresh(self, scorer: Scorer) -> bool:
        """Embed some users; whether any waited."""
        self._is_stale = False  # before the call: events that come during it are seen next time
        try:
            num_users = await self.call(scorer.refresh)
        except Exception as error:  # scoring goes on with the embeddings there are
            self._is_stale = True
            self.metrics.count_failed_refresh()
            SERVICE_LOGGER.error("users could not be embedded", exc_info=error)
            return False
        self.metrics.count_refreshed(num_users)
        if num_users:
            self._is_stale = True
        return num_users > 0
