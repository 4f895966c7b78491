"""Where a call runs, and that no two run at a time."""

import asyncio
import threading
import time
from itertools import pairwise

import pytest

from panther_pipeline.serving import turns as turns_module
from panther_pipeline.serving.turns import Turns


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """Ten times as long is still short: these tests share their processor."""
    monkeypatch.setattr(turns_module, "_SHORT_S", 0.02)


@pytest.fixture
def take():
    """Runs a coroutine function with fresh turns."""

    def take(conversation):
        async def main():
            turns = Turns()
            try:
                return await asyncio.wait_for(conversation(turns), 20)
            finally:
                turns.end()

        return asyncio.run(main())

    return take


def in_loop():
    return threading.current_thread() is threading.main_thread()


def slowly(seconds):
    time.sleep(seconds)
    return in_loop()


def test_call_runs_in_the_thread(take):
    assert take(lambda turns: turns.call(in_loop)) is False


def test_short_call_runs_in_the_loop_once_it_is_known_to_be_short(take):
    async def conversation(turns):
        return [await turns.call_parts(1, in_loop) for _ in range(3)]

    assert take(conversation) == [False, True, True]


def test_call_of_many_parts_runs_in_the_thread(take):
    async def conversation(turns):
        await turns.call_parts(1, slowly, 0.001)
        return [await turns.call_parts(num, in_loop) for num in (1, 2, 3)]

    assert take(conversation) == [True, True, False]


def test_call_of_slow_parts_runs_in_the_thread(take):
    async def conversation(turns):
        await turns.call_parts(1, slowly, 0.015)
        return await turns.call_parts(2, in_loop)

    assert take(conversation) is False


def test_call_that_may_block_runs_in_the_thread(take):
    async def conversation(turns):
        await turns.call_parts(1, in_loop)
        return await turns.call_parts(1, in_loop, may_block=True)

    assert take(conversation) is False


def test_calls_that_become_slow_leave_the_loop_and_come_back(take):
    async def conversation(turns):
        await turns.call_parts(1, in_loop)
        await turns.call_parts(1, slowly, 0.5)  # the one that nobody could foresee
        slow = await turns.call_parts(1, slowly, 0.5)
        quick = [await turns.call_parts(1, in_loop) for _ in range(100)]
        return slow, quick[0], quick[-1]

    assert take(conversation) == (False, False, True)


def test_no_two_calls_run_at_a_time(take):
    running = threading.Lock()

    def alone(seconds):
        assert running.acquire(blocking=False)
        time.sleep(seconds)
        running.release()
        return in_loop()

    async def conversation(turns):
        await turns.call_parts(1, alone, 0)
        calls = [turns.call_parts(1, alone, 0.0005) if i % 2 else turns.call(alone, 0.003) for i in range(20)]
        return await asyncio.gather(*calls)

    assert set(take(conversation)) == {True, False}


def test_call_that_was_given_up_still_runs_alone(take):
    ended = []

    async def conversation(turns):
        await turns.call_parts(1, in_loop)
        given_up = asyncio.create_task(turns.call(lambda: ended.append(slowly(0.2))))
        await asyncio.sleep(0.05)
        given_up.cancel()
        await asyncio.sleep(0.02)
        given_up.cancel()  # by somebody else, too
        num_ended = await turns.call_parts(1, lambda: len(ended))
        with pytest.raises(asyncio.CancelledError):
            await given_up
        return num_ended

    assert take(conversation) == 1


def test_others_are_looked_at_between_two_calls_in_the_loop(take):
    async def conversation(turns):
        seen = []
        await turns.call_parts(1, in_loop)
        calls = asyncio.gather(*[turns.call_parts(1, seen.append, "score") for _ in range(3)])
        while not calls.done():
            seen.append("look")
            await asyncio.sleep(0)
        return seen

    scores = [i for i, what in enumerate(take(conversation)) if what == "score"]
    assert len(scores) == 3
    assert all(later - earlier > 1 for earlier, later in pairwise(scores))


def test_failure_reaches_the_caller_and_the_turn_passes_on(take):
    def fail():
        raise ValueError("no")

    async def conversation(turns):
        await turns.call_parts(1, in_loop)
        for call in (turns.call_parts(1, fail), turns.call(fail)):
            with pytest.raises(ValueError, match="no"):
                await call
        return await turns.call_parts(1, in_loop)

    assert take(conversation) is True


def test_failures_that_are_slow_leave_the_loop(take):
    threads = []

    def fail_late():
        threads.append(slowly(0.5))
        raise ValueError("no")

    async def conversation(turns):
        await turns.call_parts(1, in_loop)
        for _ in range(2):
            with pytest.raises(ValueError, match="no"):
                await turns.call_parts(1, fail_late)

    take(conversation)
    assert threads == [True, False]
