"""A scorer is closed once, by the last that used it, and not before it has a successor."""

import asyncio

import pytest

from panther_pipeline.serving.config import ServingConfig
from panther_pipeline.serving.loaded import Loaded


@pytest.fixture
def loaded(scorer):
    return Loaded(scorer, ServingConfig())


def test_scorer_in_use_is_closed_by_its_last_user(loaded):
    closed = []
    with loaded.in_use(), loaded.in_use():
        loaded.retire(lambda: closed.append(True))
        assert not closed
        with loaded.in_use():
            pass
        assert not closed
    assert closed == [True]


def test_scorer_that_nobody_uses_is_closed_at_once(loaded):
    closed = []
    loaded.retire(lambda: closed.append(True))
    assert closed == [True]
    with loaded.in_use():
        pass
    assert closed == [True]


def test_scorer_without_a_successor_stays_open(loaded):
    with loaded.in_use():
        pass
    assert not loaded.scorer.closed
    assert not loaded.has_successor.is_set()


def test_user_that_fails_is_no_user_any_more(loaded):
    def fail() -> None:
        with loaded.in_use():
            loaded.retire(lambda: closed.append(True))
            raise ValueError("scoring failed")

    closed = []
    with pytest.raises(ValueError, match="scoring failed"):
        fail()
    assert closed == [True]


def test_whoever_waits_learns_of_the_successor(loaded):
    async def wait():
        waiting = asyncio.create_task(loaded.has_successor.wait())
        await asyncio.sleep(0)
        loaded.retire(lambda: None)
        await asyncio.wait_for(waiting, 5)

    asyncio.run(wait())
