"""The service around the artifacts of a run, less what a promise rests on: `spoilt_service.py WHAT SECONDS OPTIONS`.

WHAT is a key of SABOTAGES, SECONDS is what each load takes longer, OPTIONS are those of panther_pipeline.serving.
"""

import asyncio
import sys
import time
from contextlib import contextmanager

from panther_pipeline.online.load import ScorerLoader
from panther_pipeline.serving import __main__ as program
from panther_pipeline.serving import renewal, service


def open_in_the_request_path() -> None:
    """Whoever comes first after a new store is published loads it, and everybody waits."""
    use = service.Service.using

    @contextmanager
    def using(self):
        if self.loaded is not None and self.loaded.scorer.is_outdated():
            self._replace(self._load())
        with use(self) as loaded:
            yield loaded

    async def never(self, current):
        pass

    service.Service.using, renewal.Renewal._renew = using, never


def change_in_place() -> None:
    """The store moves under the scorer that is reading it."""

    async def move(self, current):
        await asyncio.to_thread(current.scorer.store.reopen_if_changed)

    renewal.Renewal._renew = move


SABOTAGES = {
    "nothing": lambda: None,
    "open in the request path": open_in_the_request_path,
    "change in place": change_in_place,
}


def load_slowly(seconds: float) -> None:
    """As a store of many users is."""
    load = ScorerLoader.__call__

    def load_later(loader):
        time.sleep(seconds)
        return load(loader)

    ScorerLoader.__call__ = load_later


if __name__ == "__main__":
    SABOTAGES[sys.argv.pop(1)]()
    load_slowly(float(sys.argv.pop(1)))
    program.main()
