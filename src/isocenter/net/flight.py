"""Several requests in the air on one association, whose outcomes come out in the order in which they went in."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_KEPT = 4  # times the window: outcomes that wait for an older one at most


class Flight(Generic[T]):
    """Up to `window` tasks at a time. A slow one does not stop those behind it, until _KEPT times as many wait for it.

    What is added must not raise: outcomes are values. After the last, or when nobody wants them any more, rest() or
    settle(); cancel() in any case.
    """

    def __init__(self) -> None:
        self._outcomes: deque[asyncio.Future[T]] = deque()
        self._running: set[asyncio.Task[T]] = set()

    def add(self, work: Coroutine[Any, Any, T]) -> None:
        """Begin `work`."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        self._outcomes.append(task)

    def put(self, outcome: T) -> None:
        """An outcome that is there already, in its turn."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        done.set_result(outcome)
        self._outcomes.append(done)

    async def room(self, window: int) -> list[T]:
        """Wait until one more task may begin; the outcomes that came out meanwhile."""
        out: list[T] = []
        while True:
            out += self._done()
            if len(self._outcomes) >= _KEPT * window:
                await asyncio.wait(self._first())
            elif len(self._running) >= window:
                await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
            else:
                return out

    async def until(self, other: asyncio.Future[Any]) -> list[T]:
        """Wait for `other`, but give outcomes as soon as there are any."""
        while not other.done() and not (self._outcomes and self._outcomes[0].done()):
            await asyncio.wait({other, *self._first()}, return_when=asyncio.FIRST_COMPLETED)
        return self._done()

    async def rest(self) -> list[T]:
        """All outcomes that are left."""
        await self.settle()
        return self._done()

    def _first(self) -> set[asyncio.Future[T]]:
        return set() if not self._outcomes else {self._outcomes[0]}

    def _done(self) -> list[T]:
        """The outcomes before the first that is not there."""
        out: list[T] = []
        while self._outcomes and self._outcomes[0].done():
            out.append(self._outcomes.popleft().result())
        return out

    async def settle(self) -> None:
        """Wait until nothing is in the air, whatever comes of it."""
        if self._running:
            await asyncio.wait(self._running)

    def cancel(self) -> None:
        """Begun tasks are cancelled."""
        for task in self._running:
            task.cancel()
