"""Waiting for responses: where those to one request of ours come in, and how long a peer may be silent meanwhile."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Protocol

from isocenter.errors import NetworkError, PeerTimeout
from isocenter.services.base import Answered, Response


class Places:
    """Places in a window. As asyncio.Semaphore, but a place can be had without a coroutine, and one that is given back
    belongs to whoever has waited longest from then on."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._queue: deque[asyncio.Future[None]] = deque()

    def take(self) -> bool:
        """Take a place, if there is one; there is none while somebody waits."""
        if not self._free:
            return False
        self._free -= 1
        return True

    async def wait(self) -> None:
        """Take a place as soon as there is one."""
        if self.take():
            return
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it came in the same moment
                self.give_back()
            raise

    def give_back(self) -> None:
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():  # else whoever waited was cancelled
                turn.set_result(None)
                return
        self._free += 1


class Mailbox:
    """Responses to one request, in order, for the one task that asked; an error in place of the next."""

    __slots__ = ("_came", "_waiter", "since", "taker")

    def __init__(self) -> None:
        self._came: deque[Response | NetworkError] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self.taker: Answered | None = None  # of the next one, in place of a task
        self.since: float | None = None  # when somebody began to wait for the next one, on the loop's clock

    def __len__(self) -> int:
        return len(self._came)

    def put(self, one: Response | NetworkError) -> None:
        taker, self.taker = self.taker, None
        if taker is not None:
            self.since = None
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


class Expected:
    """In place of a mailbox, where one response is expected and no task waits for it: `taker` gets what comes first,
    and its place among those that wait is left. There is one for each object that is sent, so it does nothing else."""

    __slots__ = ("_message_id", "_taker", "_waiting", "since")

    def __init__(self, waiting: dict[int, Mailbox | Expected], message_id: int, taker: Answered, now: float) -> None:
        self._waiting = waiting
        self._message_id = message_id
        self._taker = taker
        self.since: float | None = now
        waiting[message_id] = self

    def __len__(self) -> int:
        return 0

    def put(self, one: Response | NetworkError) -> None:
        del self._waiting[self._message_id]
        self._taker(one)


class Hearing(Protocol):
    """What is listened to."""

    heard: float  # when the peer's last bytes came, on the loop's clock

    def abort(self, why: str) -> None:
        """End it."""


class Patience:
    """Gives up on a peer of which nothing was heard for so many `seconds` while somebody waited at one of `mailboxes`.

    One timer for all who wait, set anew only when it fires: a timer for each response cost a tenth of what sending a
    small object does.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        seconds: float,
        link: Hearing,
        mailboxes: Mapping[int, Mailbox | Expected],
    ) -> None:
        self._loop = loop
        self._seconds = seconds
        self._link: Hearing | None = link
        self._mailboxes = mailboxes
        self.timer: asyncio.TimerHandle | None = None

    async def next(self, mailbox: Mailbox) -> Response:
        """The next response. Raises PeerTimeout and what came instead of one."""
        if not mailbox:
            self._begin(mailbox)
            try:
                await mailbox.arrival(self._loop)
            finally:
                mailbox.since = None
        one = mailbox.take()
        if isinstance(one, NetworkError):
            raise one
        return one

    def watch(self, mailbox: Mailbox, answered: Answered) -> None:
        """The same without a task that waits: `answered` is called later, with what next() would give or raise."""
        if mailbox:
            self._loop.call_soon(lambda: answered(mailbox.take()))
            return
        self._begin(mailbox)
        mailbox.taker = answered

    def _begin(self, mailbox: Mailbox) -> None:
        """From now on somebody waits."""
        mailbox.since = now = self._loop.time()
        if self.timer is None:
            self.begin(now)

    def begin(self, now: float) -> None:
        """Somebody waits; to be called where there is no `timer`."""
        self.timer = self._loop.call_at(now + self._seconds, self._look)

    def end(self) -> None:
        """Nobody will wait any more. The link is let go of, as it holds us: what is over is to be gone at once, and not
        when the collector comes."""
        self._link = None
        if self.timer is not None:
            self.timer.cancel()

    def _look(self) -> None:
        self.timer, link = None, self._link
        waiting = {mailbox: mailbox.since for mailbox in self._mailboxes.values() if mailbox.since is not None}
        if not waiting or link is None:
            return
        # Whoever sends the objects of a C-GET is not silent, though its last response may take long.
        until = max(min(waiting.values()), link.heard) + self._seconds
        if self._loop.time() < until:
            self.timer = self._loop.call_at(until, self._look)
            return
        for mailbox in waiting:
            mailbox.put(PeerTimeout(f"no response within {self._seconds:g} s"))
        link.abort("no response in time")
