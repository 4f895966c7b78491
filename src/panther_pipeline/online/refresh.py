"""Embed users again after events have arrived: the states a ledger-wide run would compute, of a few users.

Each state is read off the window that `cache.states.window_start` gives its position, so it is that of the batch run up
to rounding; events whose surprise is known cost nothing.

Shape letters: V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from panther_pipeline.cache.as_of import boundary_us, window_start
from panther_pipeline.cache.surprises import log_share
from panther_pipeline.errors import TooLateError
from panther_pipeline.online.deviation import EventDeviation
from panther_pipeline.online.history import CachedForecast, UserHistory
from panther_pipeline.online.served_backbone import ServedBackbone

NO_EVENT = -1


@dataclass(frozen=True, kw_only=True)
class Refresher:
    """What it takes to bring histories up to date."""

    backbone: ServedBackbone
    counts_V: np.ndarray  # int64, how often each token was seen in training: expected without history
    refresh: str  # how often the cache is renewed: `embedding.events.refresh`
    num_next: int  # likeliest next transactions kept

    def warm_up(self) -> None:
        """Import torch and build the model, which the first refresh would do else."""
        from panther_pipeline.online import recompute  # noqa: F401

        _ = self.backbone.model

    def as_of(self, history: UserHistory, time_us: int, place: int) -> int:
        """Position of the event whose state an event at kept position `place` meets in the cache, or NO_EVENT."""
        boundary = boundary_us(time_us, self.refresh)
        if boundary is not None:
            place = int(np.searchsorted(history.time_us_R[:place], boundary, side="left"))
        return history.num_older + place - 1

    def first_kept(self, history: UserHistory, num_recent: int) -> int:
        """How many of the kept events may be forgotten: all but the newest, and what the newest states read."""
        newest = self.as_of(history, int(history.time_us_R[-1]), history.num_kept) if history.num_kept else NO_EVENT
        needed = int(window_start(newest, self.backbone.config.max_events)) - history.num_older if newest >= 0 else 0
        return max(0, min(history.num_kept - num_recent, needed))

    def can_measure(self, history: UserHistory, place: int) -> bool:
        """Whether all that the events from a kept position on met in the cache can still be computed."""
        if place == history.num_kept or not history.num_older:
            return True
        position = self.as_of(history, int(history.time_us_R[place]), place)
        return position < 0 or int(window_start(position, self.backbone.config.max_events)) >= history.num_older

    def refresh_histories(
        self, histories: Sequence[UserHistory], now_us: Sequence[int | None] | None = None
    ) -> list[UserHistory]:
        """Measure what has arrived, and forecast.

        Args:
            histories: of any users.
            now_us: for each the instant it is made for, which matters where the cache is renewed by the clock; None =
                right after its newest event.

        Returns:
            The same histories with every surprise measured and the forecast an event at that instant meets.
        """
        instants = now_us or [None] * len(histories)
        targets = [self._target(history, now) for history, now in zip(histories, instants, strict=True)]
        return self._reach(histories, targets)

    def forecast_at(self, history: UserHistory, position: int) -> tuple[UserHistory, CachedForecast]:
        """The history measured, and the forecast after the event at a position.

        Raises:
            TooLateError: that state reads events that are no longer known one by one.
        """
        if int(window_start(position, self.backbone.config.max_events)) < history.num_older:
            raise TooLateError(
                f"event {position} of {history.num_events} of a user lies before the {history.num_kept} that the store "
                "knows one by one: it cannot be scored as of then. Score it in bulk, or keep more events "
                "(embedding.store.num_recent_events)."
            )
        (reached,) = self._reach([history], [position])
        assert reached.forecast is not None
        return reached, reached.forecast

    def _target(self, history: UserHistory, now_us: int | None) -> int:
        if not history.num_kept:
            return NO_EVENT
        if now_us is None:
            return self.as_of(history, int(history.time_us_R[-1]), history.num_kept)
        return self.as_of(history, now_us, int(np.searchsorted(history.time_us_R, now_us, "right")))

    def _reach(self, histories: Sequence[UserHistory], targets: Sequence[int]) -> list[UserHistory]:
        """Every surprise measured, the forecast that of the target."""
        plans = [self._plan(history, target) for history, target in zip(histories, targets, strict=True)]
        wanted = sorted({(h, p) for h, plan in enumerate(plans) for p in plan.states_to_compute})
        computed = dict(zip(wanted, self._compute(histories, wanted), strict=True)) if wanted else {}
        return [
            self._apply(history, plan, {p: computed[h, p] for p in plan.states_to_compute})
            for h, (history, plan) in enumerate(zip(histories, plans, strict=True))
        ]

    def _plan(self, history: UserHistory, target: int) -> "_Plan":
        measured = history.unmeasured
        as_of = [self.as_of(history, int(history.time_us_R[i]), int(i)) for i in measured]
        return _Plan(history=history, measured=measured, as_of=as_of, target=target)

    def _compute(self, histories: Sequence[UserHistory], wanted: list[tuple[int, int]]) -> list[CachedForecast]:
        """The forecasts after (history, position) pairs, sorted. The first call imports torch."""
        from panther_pipeline.online.recompute import forecast_states

        return forecast_states(self.backbone.model, histories, wanted, self.num_next)

    def _apply(self, history: UserHistory, plan: "_Plan", forecasts: dict[int, CachedForecast]) -> UserHistory:
        if history.forecast is not None and history.forecast.position not in forecasts:
            forecasts[history.forecast.position] = history.forecast
        surprise_R = history.surprise_R.copy()
        for i, position in zip(plan.measured, plan.as_of, strict=True):
            cached = forecasts.get(position)
            token, attributes = int(history.token_ids_R[i]), history.attribute_ids_RF[i]
            surprise_R[i] = self.deviation(cached, token, attributes)[0]
        return replace(history, surprise_R=surprise_R, forecast=forecasts.get(plan.target))

    def deviation(self, cached: CachedForecast | None, token_id: int, attribute_ids: np.ndarray) -> tuple[float, float]:
        """Surprise in nats and cosine of an event, as `cache.embed.measure_surprises` gives them."""
        if cached is None:
            return float(-self._log_share_V[token_id]), 0.0
        return self._deviation.measure(cached, token_id, np.asarray(attribute_ids))

    def likeliest(self, cached: CachedForecast, num: int) -> tuple[np.ndarray, np.ndarray]:
        """Ids and probabilities of the likeliest next transactions, also of more than are cached."""
        if num <= len(cached.probs_K):
            return cached.likeliest[:num], cached.probs_K[:num]
        from panther_pipeline.online.recompute import rank_next

        return rank_next(self.backbone.model, cached, num)

    @cached_property
    def _deviation(self) -> EventDeviation:
        return EventDeviation(self.backbone)

    @cached_property
    def _log_share_V(self) -> np.ndarray:
        return log_share(self.counts_V)


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What one history lacks."""

    history: UserHistory
    measured: np.ndarray  # kept positions of the events to measure
    as_of: list[int]  # for each the position of the state it met
    target: int  # position of the state to forecast from

    @property
    def states_to_compute(self) -> list[int]:
        cached = self.history.forecast
        known = {NO_EVENT} | ({cached.position} if cached is not None else set())
        return sorted({*self.as_of, self.target} - known)
