"""What a command or this process takes: processor time, which neighbours do not lengthen, and peak memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, NamedTuple

# A process begins with the peak of the one that it was forked from: a small one must stand in between.
_SHIM = """
import json, resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([done.returncode, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024]))
"""


class Used(NamedTuple):
    """Of a command and those it waited for: seconds of processor time, and bytes the largest of them had."""

    returncode: int
    seconds: float
    peak: int


def measured(argv: Sequence[object], stderr: IO[bytes] | int = subprocess.DEVNULL) -> Used:
    """Run a command to its end; what it writes to stdout is thrown away."""
    shim = [sys.executable, "-S", "-c", _SHIM, *map(str, argv)]
    return Used(*json.loads(subprocess.run(shim, check=True, stdout=subprocess.PIPE, stderr=stderr).stdout))


def peak(pid: int | str = "self") -> int:
    """The most resident memory a process has had, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(pid)


class Spent:
    """Processor time that this process and `others` have taken since, and by how much the peak of its memory has risen
    above what it had; ru_maxrss says nothing of that in a process that once was larger."""

    def __init__(self, others: Iterable[int] = ()) -> None:
        self._others = tuple(others)
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): the peak is what is resident now
        self._peak, self._seconds = peak(), self._now()

    def _now(self) -> float:
        ticks = 0
        for pid in self._others:
            ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
        return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")

    @property
    def seconds(self) -> float:
        return self._now() - self._seconds

    @property
    def memory(self) -> int:
        """Bytes."""
        return peak() - self._peak
