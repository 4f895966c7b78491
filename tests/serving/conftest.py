"""A service in this process, around the fake scorer."""

import asyncio
from contextlib import asynccontextmanager

import httpx
import pytest

from panther_pipeline.serving.app import guard
from panther_pipeline.serving.config import ServingConfig
from panther_pipeline.serving.contracts import EventContract
from panther_pipeline.serving.service import Service

NOW_US = 1_700_000_000_000_000


@pytest.fixture
def scorer(fake_serving):
    return fake_serving.FakeScorer()


@pytest.fixture
def contract(fake_serving):
    return EventContract(fake_serving.SCHEMA, ServingConfig(), now_us=lambda: NOW_US)


@pytest.fixture
def event(contract):
    """An event that is accepted."""
    return contract.example()


@asynccontextmanager
async def running(load_scorer, *, key=None, card_key=None, ready=True, **config):
    service = Service(load_scorer, ServingConfig(**config), card_key=card_key)
    transport = httpx.ASGITransport(guard(service, key), raise_app_exceptions=True)
    await service.start()
    try:
        while ready and service.state == "loading":
            await asyncio.sleep(0.005)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            client.service = service
            yield client
    finally:
        await service.stop()


@pytest.fixture
def talk(scorer):
    """Runs a coroutine function with a client of a service; keyword arguments as of `running`."""

    def talk(conversation, load_scorer=lambda: scorer, **options):
        async def main():
            async with running(load_scorer, **options) as client:
                return await asyncio.wait_for(conversation(client), 30)

        return asyncio.run(main())

    return talk
