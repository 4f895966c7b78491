import asyncio

import pytest

from panther_pipeline.serving.admission import Admission


def test_admission_lets_in_so_many_and_no_more():
    house = Admission(2)
    assert [house.enter() for _ in range(3)] == [True, True, False]
    assert house.is_full
    house.leave()
    assert house.enter()
    house.leave()
    house.leave()
    assert house.is_empty


@pytest.mark.parametrize("num_inside", [0, 1, 2])
def test_who_waits_for_an_empty_house_is_told_when_the_last_has_left(num_inside):
    async def main():
        house, told = Admission(3), []
        for _ in range(num_inside):
            house.enter()
        waiting = asyncio.create_task(house.wait_until_empty(10))
        waiting.add_done_callback(lambda _: told.append(house.inside))
        for _ in range(num_inside):
            await asyncio.sleep(0.01)
            assert not told
            house.leave()
        await asyncio.wait_for(waiting, 1)
        await asyncio.sleep(0)
        return told

    assert asyncio.run(main()) == [0]


def test_somebody_who_comes_as_the_last_one_leaves_goes_first():
    async def main():
        house = Admission(3)
        house.enter()
        waiting = asyncio.create_task(house.wait_until_empty(10))
        await asyncio.sleep(0.01)
        house.leave()
        house.enter()  # before the one who waits is told
        await asyncio.sleep(0.01)
        goes_first = not waiting.done()
        house.leave()
        await asyncio.wait_for(waiting, 1)
        return goes_first

    assert asyncio.run(main())


def test_house_that_is_never_empty_is_not_waited_for_for_ever():
    async def main():
        house = Admission(3)
        house.enter()
        await asyncio.wait_for(house.wait_until_empty(0.02), 1)

    asyncio.run(main())
