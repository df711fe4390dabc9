"""The Asynchronous Operations Window on a slow line: up to eight C-STOREs under way beside one at a time.

A proxy passes bytes on 20 ms later, either way: between our client and `isocenter serve`, which answers when an object
is durable, or sends objects by C-GET; or between `isocenter serve`, which sends objects by C-MOVE, and a receiver. With
one at a time, each object waits for the line twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import harness
import objects
from harness import peers
from isocenter.net.address import parse_address
from isocenter.net.blocking import BlockingPeer, connect
from isocenter.net.retrieve import Progress
from isocenter.services.base import Refusal, Reply, Request
from isocenter.settings import Settings
from ours import background, sinking

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


@contextlib.contextmanager
def serving(folder: Path, destination: int | None = None) -> Iterator[int]:
    """`isocenter serve` with a new archive, on this port. THERE is at `destination`, to which there is one association
    at a time: several would do on a slow line what the window does, and this is about the window."""
    data = Path(tempfile.mkdtemp(prefix="isocenter-", dir=folder))
    dimse, http = peers.free_port(), peers.free_port()
    config = data / "isocenter.toml"
    there = f'[[peer]]\nname = "there"\naet = "THERE"\nhost = "127.0.0.1"\nport = {destination}\n'
    config.write_text("[dimse]\nmove_associations = 1\n" + (there if destination is not None else ""))
    arguments = ["serve", "--data", data / "archive", "--config", config]
    arguments += ["--dimse", f"127.0.0.1:{dimse}", "--http", f"127.0.0.1:{http}"]
    with harness.isocenter(*arguments, ports=[dimse, http], log=folder / "isocenter.log"):
        yield dimse


def files(folder: Path) -> list[Path]:
    """The objects of all rounds."""
    made = folder / "files"
    if not made.exists():
        objects.write_files(made, SIZE, COUNT)
    return sorted(made.iterdir())


def connected(port: int, **rows: int) -> BlockingPeer:
    """Our client."""
    return connect(f"ISOCENTER@127.0.0.1:{port}", settings=Settings().replace(**rows))


def stored(folder: Path, window: int) -> float:
    """Objects a second by C-STORE. The clock starts when the first one is stored."""
    with (
        serving(folder) as dimse,
        background(lambda: proxy(dimse)) as port,
        connected(port, dimse_window=window) as peer,
    ):
        first, *rest = files(folder)
        list(peer.store([first]))
        begun = time.perf_counter()
        statuses = {outcome.status for outcome in peer.store(rest)}
        elapsed = time.perf_counter() - begun
    if statuses != {0}:
        raise RuntimeError(f"statuses {statuses}")
    return len(rest) / elapsed


def filled(folder: Path, dimse: int) -> str:
    """Have the archive take all objects, on a quick line; the UID of their study."""
    with connected(dimse) as peer:
        if {outcome.status for outcome in peer.store(files(folder))} != {0}:
            raise RuntimeError("not all were stored")
        (study,) = peer.find("STUDY", StudyInstanceUID="")
    return str(study.StudyInstanceUID)


def got(folder: Path, window: int) -> float:
    """Objects a second by C-GET, where the requestor performs so many at a time."""
    with serving(folder) as dimse:
        study = filled(folder, dimse)
        with background(lambda: proxy(dimse)) as port, connected(port, dimse_operations=window) as peer:
            begun = time.perf_counter()
            *_, last = peer.get(
                "STUDY", into=_nothing_kept, sop_classes=[objects.CT_IMAGE_STORAGE], StudyInstanceUID=study
            )
            return _rate(last, begun)


def moved(folder: Path, window: int) -> float:
    """Objects a second by C-MOVE over a slow line to a receiver that performs so many at a time."""
    with (
        sinking(_nothing_kept, dimse_operations=window) as receiver,
        background(lambda: proxy(parse_address(receiver).port)) as port,
        serving(folder, port) as dimse,
    ):
        study = filled(folder, dimse)
        with connected(dimse) as peer:
            begun = time.perf_counter()
            *_, last = peer.move("THERE", "STUDY", StudyInstanceUID=study)
            return _rate(last, begun)


def _nothing_kept(_: Request) -> Refusal:
    return Refusal(Reply())


def _rate(last: Progress, begun: float) -> float:
    elapsed = time.perf_counter() - begun
    if last.completed != COUNT:
        raise RuntimeError(f"{last.completed} objects instead of {COUNT}")
    return COUNT / elapsed


def main() -> None:
    """The command line."""
    options = harness.arguments(__doc__).parse_args()
    harness.enter_private_network()
    with tempfile.TemporaryDirectory(prefix="isocenter-bench-", dir=options.folder) as name:
        comparisons = [
            harness.Comparison(
                f"{service} of 39 KiB, 20 ms each way, window of {WINDOW}",
                "objects/s",
                partial(rate, Path(name), WINDOW),
                {"window of 1": partial(rate, Path(name), 1)},
                5.0,
            )
            for service, rate in (("C-STORE", stored), ("C-GET", got), ("C-MOVE", moved))
        ]
        harness.run("window", "Asynchronous operations", comparisons, options, Path(name))


if __name__ == "__main__":
    main()
