"""What a command takes: processor time and peak memory of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
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
