"""Search and metadata over HTTP: `isocenter serve` beside Orthanc with its DICOMweb plugin.

Both hold the same study of 1,000 CT instances, stored by the same sender. "Cold" is the first request of all to a
server just started on a copy of an archive that was never asked before; "warm" is the same request repeated. The client
is http.client without compression, and the clock stops when the last byte is there. Every answer is parsed afterwards
and must have 1,000 entries.
"""

from __future__ import annotations

import http.client
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import harness
import objects
import sender
from harness import peers

LOAD = sender.Load(39 * 1024, 990, 1)
INSTANCES = 1000  # with the ten that warm the sender up
STUDY = f"{objects.ROOT}.1000.1"
GOAL_WARM, GOAL_COLD = 10.0, 2.0
REPEAT = 3


@dataclass(frozen=True)
class Site:
    """A running server: loopback HTTP port and the path of its DICOMweb root."""

    http: int
    root: str
    dimse: int
    aet: str

    def get(self, path: str) -> tuple[float, list[object]]:
        """Milliseconds to the last byte, and the parsed answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=300)
        connection.connect()
        start = time.perf_counter()
        connection.request("GET", self.root + path, headers={"Accept": "application/dicom+json"})
        answer = connection.getresponse()
        content = answer.read()
        elapsed = (time.perf_counter() - start) * 1000
        connection.close()
        if answer.status != 200:
            raise RuntimeError(f"{path}: HTTP {answer.status}")
        return elapsed, json.loads(content)


@contextmanager
def ours(folder: Path) -> Iterator[Site]:
    """`isocenter serve` over what `folder` already holds."""
    dimse, web = peers.free_port(), peers.free_port()
    arguments = ["serve", "--data", folder / "isocenter", "--dimse", f"127.0.0.1:{dimse}"]
    with harness.isocenter(
        *arguments, "--http", f"127.0.0.1:{web}", "--aet", "BENCH", ports=[dimse, web], log=folder / "isocenter.log"
    ):
        yield Site(web, "/dicomweb", dimse, "BENCH")


@contextmanager
def orthanc(folder: Path) -> Iterator[Site]:
    """Orthanc over what `folder` already holds."""
    with peers.orthanc(folder / "orthanc", MaximumPduLength=131072) as peer:
        yield Site(int(peer.url.rpartition(":")[2]), "/dicom-web", peer.port, peer.aet)


Start = Callable[[Path], AbstractContextManager[Site]]


@contextmanager
def fresh(folder: Path, start: Start) -> Iterator[Site]:
    """A server on a copy of `folder`, so that what one round makes it prepare is not there for the next."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        copy = Path(name) / "copy"
        shutil.copytree(folder, copy)
        with start(copy) as site:
            yield site


def cold(folder: Path, start: Start, path: str) -> float:
    """The first answer of a server just started."""
    with fresh(folder, start) as site:
        return _checked(site, path)


def warm(folder: Path, start: Start, path: str) -> float:
    """The median of some answers after the first."""
    with fresh(folder, start) as site:
        _checked(site, path)
        return statistics.median(_checked(site, path) for _ in range(REPEAT))


def _checked(site: Site, path: str) -> float:
    elapsed, entries = site.get(path)
    if len(entries) != INSTANCES:
        raise RuntimeError(f"{site.root}{path}: {len(entries)} entries and not {INSTANCES}")
    return elapsed


def main() -> None:
    """The command line."""
    options = harness.arguments(__doc__).parse_args()
    harness.enter_private_network()
    requests = {
        "QIDO-RS, 1,000 instances": f"/studies/{STUDY}/instances?limit=1000",
        "metadata of 1,000 instances": f"/studies/{STUDY}/metadata",
    }
    with tempfile.TemporaryDirectory(prefix="isocenter-bench-", dir=options.folder) as name:
        folder = Path(name)
        for start in (ours, orthanc):
            with start(folder) as site:
                sender.rate(site.dimse, site.aet, LOAD)
        comparisons = [
            harness.Comparison(
                f"{what}, {state}",
                "ms",
                lambda ask=ask, path=path: ask(folder, ours, path),
                {"Orthanc": lambda ask=ask, path=path: ask(folder, orthanc, path)},
                goal,
                "lower",
            )
            for what, path in requests.items()
            for state, ask, goal in (("cold", cold, GOAL_COLD), ("warm", warm, GOAL_WARM))
        ]
        harness.run("dicomweb", "DICOMweb", comparisons, options, folder)


if __name__ == "__main__":
    main()
