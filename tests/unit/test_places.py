"""Places in the window of an association: who has one when."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from isocenter.net.waiting import Places


def played(play: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        await asyncio.wait_for(play(), 20)

    asyncio.run(run())


async def turns() -> None:
    """Let everybody run who can."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_there_are_as_many_as_was_said() -> None:
    places = Places(2)
    assert [True, True, False] == [places.take() for _ in range(3)]
    places.give_back()
    assert [True, False] == [places.take() for _ in range(2)]


def test_who_has_waited_longest_is_next_and_nobody_passes_by() -> None:
    async def play() -> None:
        places, order = Places(1), list[int]()

        async def wait(number: int) -> None:
            await places.wait()
            order.append(number)

        assert places.take()
        waiting = [asyncio.create_task(wait(number)) for number in range(3)]
        await turns()
        for number in range(3):
            assert list(range(number)) == order
            places.give_back()
            assert not places.take()
            await turns()
        await asyncio.gather(*waiting)
        assert [0, 1, 2] == order
        places.give_back()
        assert places.take()

    played(play)


def test_a_place_is_not_lost_with_whoever_no_longer_wants_it() -> None:
    """Cancelled while it waits, and in the moment in which the place is given."""

    async def play() -> None:
        places = Places(1)
        assert places.take()
        waiting = [asyncio.create_task(places.wait()) for _ in range(3)]
        await turns()
        waiting[0].cancel()
        await turns()
        places.give_back()
        waiting[1].cancel()
        await waiting[2]
        assert [True, True, False] == [one.cancelled() for one in waiting]
        assert not places.take()
        places.give_back()
        assert places.take()

    played(play)
