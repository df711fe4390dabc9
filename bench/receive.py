"""C-STORE into files: `isocenter receive` beside DCMTK's storescp, fed by the same sender.

Neither makes its files durable. storescp runs as it comes, with +B (bit preserving, the data set goes to the file as it
was received), and with +B and the largest PDU it can take, which is its fastest setting. With several associations it
forks a process for each. `null SCP` keeps nothing: it bounds what the sender and this machine allow.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import harness
import sender
from harness import peers

GOAL = 1.2
WARMUP = 10
LOADS = [sender.Load(size, count, n) for size, count in ((512 * 1024, 800), (39 * 1024, 4000)) for n in (1, 4)]


def ours(folder: Path, load: sender.Load) -> float:
    """One round of `isocenter receive`."""
    port = peers.free_port()
    received = folder / "isocenter"
    arguments = ["receive", received, "--listen", f"127.0.0.1:{port}", "--aet", "BENCH-SCP"]
    with harness.isocenter(*arguments, ports=[port], log=folder / "isocenter.log"):
        rate = sender.rate(port, "BENCH-SCP", load)
    _expect_files(received, load)
    return rate


def storescp(folder: Path, load: sender.Load, *options: str) -> float:
    """One round of DCMTK's storescp."""
    received = folder / "storescp"
    forking = ["--fork"] if load.associations > 1 else []
    with peers.storescp(received, *options, *forking) as scp:
        rate = sender.rate(scp.port, scp.aet, load)
    _expect_files(received, load)
    return rate


def null_scp(folder: Path, load: sender.Load) -> float:
    """One round against a receiver that does nothing."""
    port = peers.free_port()
    argv = [sys.executable, str(Path(__file__).with_name("null_scp.py")), str(port)]
    with peers.running(argv, ports=[port], log=folder / "null.log"):
        return sender.rate(port, "NULL", load)


def _expect_files(folder: Path, load: sender.Load) -> None:
    found = sum(1 for path in folder.rglob("*") if path.is_file() and path.stat().st_size > load.size)
    wanted = load.count + WARMUP * load.associations
    shutil.rmtree(folder)
    if found != wanted:
        raise RuntimeError(f"{folder.name} kept {found} files of {wanted}")


def comparisons(folder: Path, load: sender.Load) -> list[harness.Comparison]:
    """One load against storescp as it is usually started, and against its fastest setting."""
    return [
        harness.Comparison(
            load.name,
            "objects/s",
            lambda: ours(folder, load),
            {
                "storescp": lambda: storescp(folder, load),
                "storescp +B": lambda: storescp(folder, load, "+B"),
            },
            GOAL,
            bounds={"null SCP": lambda: null_scp(folder, load)},
        ),
        harness.Comparison(
            f"{load.name}, its largest PDU",
            "objects/s",
            lambda: ours(folder, load),
            {"storescp +B -pdu 131072": lambda: storescp(folder, load, "+B", "-pdu", "131072")},
        ),
    ]


def main() -> None:
    """The command line."""
    options = harness.arguments(__doc__).parse_args()
    harness.enter_private_network()
    with tempfile.TemporaryDirectory(prefix="isocenter-bench-", dir=options.folder) as name:
        folder = Path(name)
        wanted = [one for load in LOADS for one in comparisons(folder, load)]
        harness.run("receive", "C-STORE to files", wanted, options, folder)


if __name__ == "__main__":
    main()
