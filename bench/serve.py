"""C-STORE into an archive: `isocenter serve` beside Orthanc, fed by the same sender, each with a new, empty archive.

Isocenter answers when bytes, directory entry and index row are durable (fdatasync, SQLite synchronous=FULL). Orthanc
runs with its defaults: SyncStorageArea (fdatasync of each file) on, SQLite index not synchronised at commit, four
DICOM threads, MD5 of each attachment. Its MaximumPduLength is raised to the largest it takes, which helps it.

Nothing is deleted before the last round: without a journal, ext4 looks for minutes after a deletion at each freed inode
before it makes a new file, which took a third of our processor time and some of Orthanc's.
"""

from __future__ import annotations

import json
import tempfile
import urllib.request
from pathlib import Path

import harness
import sender
from harness import peers

GOALS = {1: 2.5, 4: 4.0}
WARMUP = 10
LOADS = [sender.Load(size, count, n) for size, count in ((512 * 1024, 1200), (39 * 1024, 3200)) for n in (1, 4)]


def ours(folder: Path, load: sender.Load) -> float:
    """One round of `isocenter serve` with full durability."""
    dimse, http = peers.free_port(), peers.free_port()
    data = Path(tempfile.mkdtemp(prefix="isocenter-", dir=folder))
    arguments = ["serve", "--data", data, "--dimse", f"127.0.0.1:{dimse}", "--http", f"127.0.0.1:{http}"]
    with harness.isocenter(*arguments, "--aet", "BENCH", ports=[dimse, http], log=folder / "isocenter.log"):
        rate = sender.rate(dimse, "BENCH", load)
        _expect(_count(f"http://127.0.0.1:{http}/dicomweb/instances?limit=100000"), load, "isocenter")
    return rate


def orthanc(folder: Path, load: sender.Load) -> float:
    """One round of Orthanc."""
    data = Path(tempfile.mkdtemp(prefix="orthanc-", dir=folder))
    with peers.orthanc(data, MaximumPduLength=131072) as peer:
        rate = sender.rate(peer.port, peer.aet, load)
        _expect(peer.request("/statistics")["CountInstances"], load, "Orthanc")
    return rate


def _count(url: str) -> int:
    request = urllib.request.Request(url, headers={"Accept": "application/dicom+json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return len(json.load(answer))


def _expect(found: int, load: sender.Load, name: str) -> None:
    wanted = load.count + WARMUP * load.associations
    if found != wanted:
        raise RuntimeError(f"{name} holds {found} instances of {wanted}")


def comparison(folder: Path, load: sender.Load) -> harness.Comparison:
    """Both contenders with one load."""
    return harness.Comparison(
        load.name,
        "objects/s",
        lambda: ours(folder, load),
        {"Orthanc": lambda: orthanc(folder, load)},
        GOALS[load.associations],
        writes=True,
    )


def main() -> None:
    """The command line."""
    options = harness.arguments(__doc__).parse_args()
    harness.enter_private_network()
    with tempfile.TemporaryDirectory(prefix="isocenter-bench-", dir=options.folder) as name:
        folder = Path(name)
        harness.run("serve", "C-STORE to the archive", [comparison(folder, load) for load in LOADS], options, folder)


if __name__ == "__main__":
    main()
