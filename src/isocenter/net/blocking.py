"""The blocking twin of net/client.py: the same names, for scripts without asyncio.

Nothing is written twice: every coroutine of Peer becomes a call and every async generator an iterator, run on one event
loop in a thread of its own.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Self

from isocenter.net import client


class BlockingPeer:
    """A Peer whose methods block. Made by connect(); use it in a `with` block."""

    def __init__(self, peer: client.Peer) -> None:
        self._peer = peer
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="isocenter-sync", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._run(self._peer.__aenter__())
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._run(self._peer.__aexit__(kind, error, trace))
        finally:
            self._stop()

    @property
    def unsupported(self) -> tuple[str, ...]:
        """As of Peer."""
        return self._peer.unsupported

    def cancel(self) -> bool:
        """As of Peer, for another thread than the one that iterates."""

        async def cancelled() -> bool:
            return self._peer.cancel()

        return bool(self._run(cancelled()))

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._peer, name)
        if inspect.isasyncgenfunction(method):
            return lambda *args, **kwargs: self._iterate(method(*args, **kwargs))
        if inspect.iscoroutinefunction(method):
            return lambda *args, **kwargs: self._run(method(*args, **kwargs))
        raise AttributeError(name)

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _iterate(self, items: AsyncIterator[Any]) -> Iterator[Any]:
        async def following() -> tuple[bool, Any]:
            try:
                return True, await anext(items)
            except StopAsyncIteration:
                return False, None

        try:
            while True:
                more, item = self._run(following())
                if not more:
                    return
                yield item
        finally:
            # Left over when the `with` block ended, it has nothing left to cancel.
            if isinstance(items, AsyncGenerator) and not self._loop.is_closed():
                self._run(items.aclose())

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def connect(address: str, **options: Any) -> BlockingPeer:
    """Like isocenter.connect, for a `with` block."""
    return BlockingPeer(client.connect(address, **options))
