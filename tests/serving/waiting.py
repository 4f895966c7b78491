"""Waiting for what a service does in the background; the test's own limit ends it if that never comes."""

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], object]) -> None:
    """Return as soon as the condition holds."""
    while not condition():
        await asyncio.sleep(0.005)
