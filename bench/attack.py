"""`isocenter serve` under attack, beside itself at peace: 1,000 silent connections and 200 that send a byte a second.

Attackers come from the same address as everybody else here, which is their best place, and whoever is closed comes
again a second later. What is measured: connection, association and C-ECHO, the 99th percentile of 200; and objects
stored a second by one association.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import harness
import isocenter
import sender
from harness import peers
from isocenter.wire import pdu

SILENT, CRAWLING = 1000, 200
ECHOES = 200
LOAD = sender.Load(512 * 1024, 300, 1)
REQUEST = pdu.encode_associate_rq(
    pdu.AssociateRQ(
        "BENCH",
        "ATTACKER",
        (pdu.ProposedContext(1, "1.2.840.10008.1.1", ("1.2.840.10008.1.2",)),),
        pdu.UserInformation(16384),
    )
)


# --- the attackers, a process of their own ---------------------------------------------------------------------------


async def _one(port: int, crawls: bool) -> None:
    while True:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                if crawls:
                    for byte in REQUEST:
                        writer.write(bytes((byte,)))
                        with contextlib.suppress(TimeoutError):
                            if not await asyncio.wait_for(reader.read(1), 1):
                                break
                else:
                    await reader.read(1)
            finally:
                writer.close()
        await asyncio.sleep(1)


async def _attackers(port: int) -> None:
    tasks = []
    for number in range(SILENT + CRAWLING):
        tasks.append(asyncio.create_task(_one(port, number >= SILENT)))
        if number % 50 == 0:
            await asyncio.sleep(0.02)
    await asyncio.sleep(2)
    print("begun", flush=True)
    await asyncio.gather(*tasks)


@contextlib.contextmanager
def attack(port: int) -> Iterator[None]:
    """Attackers of `port`, all of them connected."""
    command = [sys.executable, __file__, "--attack", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        if process.stdout.readline() != "begun\n":
            raise RuntimeError("the attackers have ended")
        yield
    finally:
        process.kill()
        process.communicate()


# --- what is measured ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def archive(folder: Path, attacked: bool) -> Iterator[int]:
    """`isocenter serve` with a new archive; its port."""
    data = Path(tempfile.mkdtemp(prefix="isocenter-", dir=folder))
    dimse, http = peers.free_port(), peers.free_port()
    arguments = ["serve", "--data", data, "--dimse", f"127.0.0.1:{dimse}", "--http", f"127.0.0.1:{http}"]
    with (
        harness.isocenter(*arguments, "--aet", "BENCH", ports=[dimse, http], log=folder / "isocenter.log"),
        attack(dimse) if attacked else contextlib.nullcontext(),
    ):
        yield dimse


def echo(folder: Path, *, attacked: bool) -> float:
    """Milliseconds."""
    times = []
    with archive(folder, attacked) as port:
        for _ in range(ECHOES):
            begun = time.perf_counter()
            with isocenter.sync.connect(f"BENCH@127.0.0.1:{port}") as peer:
                peer.echo()
            times.append((time.perf_counter() - begun) * 1000)
    return sorted(times)[ECHOES * 99 // 100 - 1]


def ingest(folder: Path, *, attacked: bool) -> float:
    """Objects a second."""
    with archive(folder, attacked) as port:
        return sender.rate(port, "BENCH", LOAD)


def main() -> None:
    """The command line."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--attack", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.attack is not None:
        asyncio.run(_attackers(options.attack))
    harness.enter_private_network()
    with tempfile.TemporaryDirectory(prefix="isocenter-bench-", dir=options.folder) as name:
        folder = Path(name)
        comparisons = [
            harness.Comparison(
                "association and C-ECHO under attack, 99th percentile of 200",
                "ms",
                lambda: echo(folder, attacked=True),
                {"at peace": lambda: echo(folder, attacked=False)},
                None,
                "lower",
            ),
            harness.Comparison(
                f"{LOAD.name}, into the archive under attack",
                "objects/s",
                lambda: ingest(folder, attacked=True),
                {"at peace": lambda: ingest(folder, attacked=False)},
                0.8,
            ),
        ]
        harness.run("attack", "Under attack", comparisons, options, folder)


if __name__ == "__main__":
    main()
