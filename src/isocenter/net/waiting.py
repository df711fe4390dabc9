"""Waiting for responses: where those to one request of ours come in, and how long a peer may be silent meanwhile."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from isocenter.errors import NetworkError, PeerTimeout
from isocenter.services.base import Response


def acquired(slots: asyncio.Semaphore) -> bool:
    """Take a place if there is one and nobody waits for it; asyncio has no such call. Its acquire() gets to its end in
    the first step then."""
    if slots.locked():
        return False
    try:
        slots.acquire().send(None)
    except StopIteration:
        return True
    raise RuntimeError("a semaphore that is not locked was waited for")


class Mailbox:
    """Responses to one request, in order, for the one task that asked; an error in place of the next."""

    def __init__(self) -> None:
        self._came: deque[Response | NetworkError] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self.taker: Callable[[Response | NetworkError], None] | None = None  # of the next one, in place of a task

    def __len__(self) -> int:
        return len(self._came)

    def put(self, one: Response | NetworkError) -> None:
        taker, self.taker = self.taker, None
        if taker is not None:
            taker(one)
            return
        self._came.append(one)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def arrival(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
        """Done as soon as something is there; for when nothing is."""
        self._waiter = loop.create_future()
        return self._waiter

    def take(self) -> Response | NetworkError:
        """The next one."""
        return self._came.popleft()


class Hearing(Protocol):
    """What is listened to."""

    heard: float  # when the peer's last bytes came, on the loop's clock

    def abort(self, why: str) -> None:
        """End it."""


class Patience:
    """Gives up on a peer of which nothing was heard for so many `seconds` while somebody waited.

    One timer for all who wait, set anew only when it fires: a timer for each response cost a tenth of what sending a
    small object does.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, link: Hearing) -> None:
        self._loop = loop
        self._seconds = seconds
        self._link: Hearing | None = link
        self._since: dict[Mailbox, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def next(self, mailbox: Mailbox) -> Response:
        """The next response. Raises PeerTimeout and what came instead of one."""
        if not mailbox:
            self._begin(mailbox)
            try:
                await mailbox.arrival(self._loop)
            finally:
                del self._since[mailbox]
        one = mailbox.take()
        if isinstance(one, NetworkError):
            raise one
        return one

    def watch(self, mailbox: Mailbox, answered: Callable[[Response | NetworkError], None]) -> None:
        """The same without a task that waits: `answered` is called later, with what next() would give or raise."""
        if mailbox:
            self._loop.call_soon(lambda: answered(mailbox.take()))
            return

        def hand_over(one: Response | NetworkError) -> None:
            del self._since[mailbox]
            answered(one)

        self._begin(mailbox)
        mailbox.taker = hand_over

    def _begin(self, mailbox: Mailbox) -> None:
        """From now on somebody waits."""
        self._since[mailbox] = now = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_at(now + self._seconds, self._look)

    def end(self) -> None:
        """Nobody will wait any more. The link is let go of, as it holds us: what is over is to be gone at once, and not
        when the collector comes."""
        self._link = None
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer, link = None, self._link
        if not self._since or link is None:
            return
        # Whoever sends the objects of a C-GET is not silent, though its last response may take long.
        until = max(min(self._since.values()), link.heard) + self._seconds
        if self._loop.time() < until:
            self._timer = self._loop.call_at(until, self._look)
            return
        for mailbox in list(self._since):
            mailbox.put(PeerTimeout(f"no response within {self._seconds:g} s"))
        link.abort("no response in time")
