"""Our own servers for tests: in this process, on an event loop in a thread of its own, on free loopback ports."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from isocenter.dimse.endpoint import dimse_listeners, dimse_server
from isocenter.dimse.folder import FolderStorage
from isocenter.known_peers import KnownPeer
from isocenter.net.server import DimseServer
from isocenter.services.base import Request, Sink
from isocenter.services.storage import StorageService
from isocenter.services.verification import VerificationService
from isocenter.settings import Settings

if TYPE_CHECKING:
    from isocenter.archive.routing import Rule
    from isocenter.server import Node

T = TypeVar("T")


@contextlib.contextmanager
def background(make: Callable[[], AbstractAsyncContextManager[T]]) -> Iterator[T]:
    """Enter an async context manager on a loop in another thread, for the time of a `with` block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def run(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(60)

    async def enter() -> tuple[AbstractAsyncContextManager[T], T]:
        manager = make()
        return manager, await manager.__aenter__()

    try:
        manager, value = run(enter())
        try:
            yield value
        finally:
            run(manager.__aexit__(None, None, None))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@dataclass
class Receiver:
    """A plain Storage SCP of ours; `stored` lists files and requests in the order they were answered."""

    server: DimseServer
    folder: Path
    stored: list[tuple[str, Request]] = field(default_factory=list)

    @property
    def port(self) -> int:
        return self.server.address[1]

    @property
    def address(self) -> str:
        return f"ISOCENTER@127.0.0.1:{self.port}"

    @property
    def tls_port(self) -> int:
        assert self.server.tls_address is not None
        return self.server.tls_address[1]

    @property
    def tls_address(self) -> str:
        return f"ISOCENTER@127.0.0.1:{self.tls_port}"


@contextlib.contextmanager
def receiver(folder: Path, *, private: bool = False, **settings: Any) -> Iterator[Receiver]:
    """What `isocenter receive` runs."""
    chosen = Settings().replace(**{"dimse_port": 0, "dimse_tls_port": 0, **settings})

    @contextlib.asynccontextmanager
    async def make() -> AsyncIterator[Receiver]:
        stored: list[tuple[str, Request]] = []
        storage = FolderStorage(folder, lambda path, request: stored.append((path, request)))
        services = (VerificationService(), StorageService(storage, private=private))
        server = dimse_server(services, chosen)
        for listener in dimse_listeners(chosen):
            await server.listen(listener.socket, listener.tls)
        yield Receiver(server, folder, stored)
        await server.close()

    with background(make) as value:
        yield value


@contextlib.contextmanager
def sinking(open_sink: Callable[[Request], Sink], **settings: Any) -> Iterator[str]:
    """A Storage SCP with sinks of the test's own; its address."""
    chosen = Settings().replace(**{"dimse_port": 0, "dimse_drain_timeout": 0.1, **settings})

    @contextlib.asynccontextmanager
    async def make() -> AsyncIterator[str]:
        server = dimse_server((VerificationService(), StorageService(open_sink)), chosen)
        for listener in dimse_listeners(chosen):
            await server.listen(listener.socket, listener.tls)
        yield f"ISOCENTER@127.0.0.1:{server.address[1]}"
        await server.close()

    with background(make) as value:
        yield value


@contextlib.contextmanager
def node(
    data: Path,
    *,
    peers: Iterable[KnownPeer] = (),
    rules: Iterable[Rule] = (),
    clock: Callable[[], float] = time.time,
    **settings: Any,
) -> Iterator[Node]:
    """What `isocenter serve` runs, on free ports; `clock` says when jobs are due."""
    from isocenter.server import running

    chosen = Settings().replace(
        archive_data=data,
        **{"dimse_port": 0, "dimse_tls_port": 0, "web_port": 0, "dimse_drain_timeout": 2.0, **settings},
    )
    with background(lambda: running(chosen, peers, rules, clock=clock)) as value:
        yield value
