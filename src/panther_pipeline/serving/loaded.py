"""A scorer with what was made from it, and how many requests use it: the last one out closes it.

A request keeps to one scorer from the check of its body to the identity in its answer, so that nothing in an answer is
of two stores. While the last requests of an old scorer end, those of the new one have begun.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from panther_pipeline.cards.keys import CardKey
from panther_pipeline.serving.config import ServingConfig
from panther_pipeline.serving.contracts import EventContract
from panther_pipeline.serving.scorer import Scorer


class NotReadyError(Exception):
    """There is no scorer yet, or none that takes this request."""


class Loaded:
    """One scorer. Used from the event loop alone, so it needs no lock."""

    def __init__(self, scorer: Scorer, config: ServingConfig, card_key: CardKey | None = None) -> None:
        self.scorer = scorer
        self.contract = EventContract(scorer.schema, config, card_key=card_key)
        self.description: dict[str, Any] | None = None  # of the interface, once it was asked for
        self.has_successor = asyncio.Event()
        self._num_users = 0
        self._close: Callable[[], None] | None = None  # set when it is retired

    @contextmanager
    def in_use(self) -> Iterator["Loaded"]:
        """Nobody closes it meanwhile."""
        self._num_users += 1
        try:
            yield self
        finally:
            self._num_users -= 1
            self._close_if_unused()

    def retire(self, close: Callable[[], None]) -> None:
        """It has a successor: `close` is called once, when nobody uses it any more."""
        self._close = close
        self.has_successor.set()
        self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self._num_users == 0 and self._close is not None:
            close, self._close = self._close, None
            close()
