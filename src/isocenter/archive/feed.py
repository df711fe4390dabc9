"""Whoever wants to know at once what happens in the archive: followers of the change feed, and of reports on work.

They are woken by the transaction that changed something, and read its rows themselves; so none is missed, and a
follower that is slow costs memory to nobody. With no follower a commit costs one look at an empty list.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final, Generic, Protocol, TypeVar

from isocenter.errors import ArchiveBusy

MOST: Final = 200  # followers at a time


class Entry(Protocol):
    """What is followed; later entries have higher numbers."""

    @property
    def seq(self) -> int: ...


T = TypeVar("T", bound=Entry)
Read = Callable[[int], Awaitable[list[T]]]


class Feed(Generic[T]):
    """`wake` may be called from any thread, the rest in the event loops of the followers."""

    def __init__(self, read: Read[T] | None = None) -> None:
        """`read` gives some of the entries after one, oldest first, to whoever brings no reader of his own."""
        self._read = read
        self._lock = threading.Lock()
        self._followers: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._ended = False

    def wake(self) -> None:
        """Something was committed."""
        if not self._followers:
            return
        with self._lock:
            followers = list(self._followers)
        for loop, event in followers:
            with contextlib.suppress(RuntimeError):  # the loop ended, and its follower with it
                loop.call_soon_threadsafe(event.set)

    def end(self) -> None:
        """Followers get what there is and then no more: the server is about to stop."""
        self._ended = True
        self.wake()

    async def follow(
        self, since: int, quiet: float, read: Read[T] | None = None, most: int = MOST
    ) -> AsyncGenerator[list[T], None]:
        """Entries after `since` as they come, some at a time; [] after so many seconds in which nothing came. `read`
        gives those that are this follower's.

        Raises ArchiveBusy when there are `most` followers already.
        """
        reader = read or self._read
        assert reader is not None
        event = asyncio.Event()
        follower = (asyncio.get_running_loop(), event)
        with self._lock:
            if len(self._followers) >= most:
                raise ArchiveBusy(f"{most} clients follow already")
            self._followers.append(follower)
        try:
            while True:
                event.clear()
                ended = self._ended
                found = await reader(since)
                if found:
                    since = found[-1].seq
                    yield found
                elif ended:
                    return
                else:
                    try:
                        await asyncio.wait_for(event.wait(), quiet)
                    except TimeoutError:
                        yield []
        finally:
            with self._lock:
                self._followers.remove(follower)
