"""Sending a folder: `isocenter store` beside DCMTK's storescu, into the same sink.

The sink is storescp +B --ignore, which receives and keeps nothing, with its largest PDU. The clock runs over the whole
command, start-up included, as a user waits for it. storescu has one association; against `--jobs 4` four of them run
at a time, each with a quarter of the files.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import harness
import objects
from harness import peers

GOAL = 1.0
JOBS = 4


@dataclass(frozen=True)
class Files:
    """`count` files of `size` bytes of pixels in `JOBS` subfolders."""

    folder: Path
    size: int
    count: int

    @property
    def name(self) -> str:
        return f"{self.count} files of {self.size // 1024} KiB"

    def parts(self) -> list[Path]:
        return [self.folder / f"part{number}" for number in range(JOBS)]

    def write(self) -> None:
        for number, part in enumerate(self.parts()):
            objects.write_files(part, self.size, self.count // JOBS, batch=number)


def _timed(folder: Path, files: Files, jobs: int, send: Callable[[peers.DicomPeer], None]) -> float:
    options = ["+B", "--ignore", "-pdu", "131072", *(["--fork"] if jobs > 1 else [])]
    with peers.storescp(folder / "sink", *options, aet="SINK") as sink:
        start = time.perf_counter()
        send(sink)
        return files.count / (time.perf_counter() - start)


def ours(folder: Path, files: Files, jobs: int) -> float:
    """One round of `isocenter store`."""
    return _timed(
        folder,
        files,
        jobs,
        lambda sink: harness.run_isocenter("store", sink.address, files.folder, "--jobs", str(jobs)),
    )


def storescu(folder: Path, files: Files, jobs: int) -> float:
    """One round of storescu, as many at a time as there are jobs."""

    def send(sink: peers.DicomPeer) -> None:
        program = peers.find_program("storescu") or "storescu"
        shares = files.parts() if jobs > 1 else [files.folder]
        commands = [
            [program, "-aec", sink.aet, "+sd", "+r", "127.0.0.1", str(sink.port), str(share)] for share in shares
        ]
        running = [subprocess.Popen(command, env=peers.ENVIRONMENT) for command in commands]
        failed = [process.wait() for process in running]
        if any(failed):
            raise RuntimeError(f"storescu ended with {failed}")

    return _timed(folder, files, jobs, send)


def comparison(folder: Path, files: Files, jobs: int) -> harness.Comparison:
    """Both contenders with one set of files."""
    plural = "association" if jobs == 1 else "associations"
    return harness.Comparison(
        f"{files.name}, {jobs} {plural}",
        "objects/s",
        lambda: ours(folder, files, jobs),
        {"storescu": lambda: storescu(folder, files, jobs)},
        GOAL,
    )


def main() -> None:
    """The command line."""
    options = harness.arguments(__doc__).parse_args()
    harness.enter_private_network()
    with tempfile.TemporaryDirectory(prefix="isocenter-bench-", dir=options.folder) as name:
        folder = Path(name)
        sets = [Files(folder / "large", 512 * 1024, 1000), Files(folder / "small", 39 * 1024, 4000)]
        for files in sets:
            files.write()
        comparisons = [comparison(folder, files, jobs) for files in sets for jobs in (1, JOBS)]
        harness.run("store", "Sending files", comparisons, options, folder)


if __name__ == "__main__":
    main()
