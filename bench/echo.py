"""C-ECHO round trips, and what 200 connections that say nothing do to them.

`isocenter receive` beside storescp on an idle machine, each with one association of a requestor that costs almost
nothing (asker.py). Then the slowest of the round trips of `isocenter receive`, a new association for each, while 200
connections are open that never ask for one; the bound stands for the same without them. storescp serves one connection
at a time, so the silent ones stop it altogether.
"""

from __future__ import annotations

import socket
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import asker
import harness
import isocenter
from harness import peers

ECHOES = 500
SILENT = 200


@contextmanager
def receiver(folder: Path) -> Iterator[int]:
    """`isocenter receive`; its port."""
    port = peers.free_port()
    arguments = ["receive", folder / "in", "--listen", f"127.0.0.1:{port}"]
    with harness.isocenter(*arguments, ports=[port], log=folder / "isocenter.log"):
        yield port


def echo(port: int) -> float:
    """Median milliseconds of one C-ECHO on an open association."""
    association = asker.Asker(port, "SCP", [asker.Context(asker.VERIFICATION)])
    times = [association.echo() for _ in range(ECHOES)]
    association.release()
    return statistics.median(times) * 1000


def ours(folder: Path) -> float:
    """One round of ours."""
    with receiver(folder) as port:
        return echo(port)


def storescp(folder: Path) -> float:
    """One round of DCMTK's."""
    with peers.storescp(folder / "storescp") as scp:
        return echo(scp.port)


def slowest(folder: Path, silent: int) -> float:
    """The longest of 50 times for connection, association and C-ECHO, with `silent` connections open."""
    times = []
    with receiver(folder) as port, ExitStack() as stack:
        for _ in range(silent):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        for _ in range(50):
            begun = time.perf_counter()
            with isocenter.sync.connect(f"SCP@127.0.0.1:{port}") as peer:
                peer.echo()
            times.append((time.perf_counter() - begun) * 1000)
    return max(times)


def main() -> None:
    """The command line."""
    options = harness.arguments(__doc__).parse_args()
    harness.enter_private_network()
    with tempfile.TemporaryDirectory(prefix="isocenter-bench-", dir=options.folder) as name:
        folder = Path(name)
        comparisons = [
            harness.Comparison(
                "C-ECHO, median", "ms", lambda: ours(folder), {"storescp": lambda: storescp(folder)}, None, "lower"
            ),
            harness.Comparison(
                "association and C-ECHO, slowest of 50, 200 silent connections",
                "ms",
                lambda: slowest(folder, SILENT),
                {"isocenter without them": lambda: slowest(folder, 0)},
                None,
                "lower",
            ),
        ]
        harness.run("echo", "C-ECHO", comparisons, options, folder)


if __name__ == "__main__":
    main()
