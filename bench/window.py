"""The Asynchronous Operations Window on a slow line: up to eight C-STOREs under way beside one at a time.

Both go from our client through a proxy that passes bytes on 20 ms later, either way, to `isocenter serve`, which
answers when an object is durable. With one at a time, each object waits for the line twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import harness
import isocenter
import objects
from harness import peers
from isocenter.settings import Settings
from ours import background

DELAY = 0.020  # seconds each way
COUNT = 200
SIZE = 39 * 1024
WINDOW = 8


class _Late(asyncio.Protocol):
    """One direction of a connection: what comes is written to the other side DELAY later."""

    def __init__(self) -> None:
        self.other: asyncio.Future[asyncio.Transport] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        asyncio.get_running_loop().call_later(DELAY, self._pass_on, data)

    def connection_lost(self, exc: Exception | None) -> None:
        asyncio.get_running_loop().call_later(DELAY, self._end)

    def _pass_on(self, data: bytes) -> None:
        if self.other.done():
            self.other.result().write(data)
        else:
            self.other.add_done_callback(lambda other: other.result().write(data))

    def _end(self) -> None:
        if self.other.done():
            self.other.result().close()


@contextlib.asynccontextmanager
async def proxy(port: int) -> AsyncIterator[int]:
    """A slow line to `port`; its own port."""
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    async def join(near: _Late) -> None:
        far = _Late()
        await loop.create_connection(lambda: far, "127.0.0.1", port)
        assert near.transport is not None
        assert far.transport is not None
        far.other.set_result(near.transport)
        near.other.set_result(far.transport)

    def accept() -> _Late:
        near = _Late()
        task = loop.create_task(join(near))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return near

    server = await loop.create_server(accept, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await asyncio.sleep(3 * DELAY)


def rate(folder: Path, window: int) -> float:
    """Objects a second of one round, with a new archive. The clock starts when the first object is stored."""
    files = folder / "files"
    if not files.exists():
        objects.write_files(files, SIZE, COUNT)
    data = Path(tempfile.mkdtemp(prefix="isocenter-", dir=folder))
    dimse, http = peers.free_port(), peers.free_port()
    arguments = ["serve", "--data", data, "--dimse", f"127.0.0.1:{dimse}", "--http", f"127.0.0.1:{http}"]
    with (
        harness.isocenter(*arguments, ports=[dimse, http], log=folder / "isocenter.log"),
        background(lambda: proxy(dimse)) as port,
        isocenter.sync.connect(f"ISOCENTER@127.0.0.1:{port}", settings=Settings().replace(dimse_window=window)) as peer,
    ):
        first, *rest = sorted(files.iterdir())
        list(peer.store([first]))
        begun = time.perf_counter()
        statuses = {outcome.status for outcome in peer.store(rest)}
        elapsed = time.perf_counter() - begun
    if statuses != {0}:
        raise RuntimeError(f"statuses {statuses}")
    return len(rest) / elapsed


def main() -> None:
    """The command line."""
    options = harness.arguments(__doc__).parse_args()
    harness.enter_private_network()
    with tempfile.TemporaryDirectory(prefix="isocenter-bench-", dir=options.folder) as name:
        folder = Path(name)
        comparison = harness.Comparison(
            f"C-STORE of 39 KiB, 20 ms each way, window of {WINDOW}",
            "objects/s",
            lambda: rate(folder, WINDOW),
            {"window of 1": lambda: rate(folder, 1)},
            5.0,
        )
        harness.run("window", "Asynchronous operations", [comparison], options, folder)


if __name__ == "__main__":
    main()
