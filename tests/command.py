"""The command as a user runs it: in its own process, by name, with signals."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from leash import leashed

ISOCENTER = [sys.executable, "-m", "isocenter.cli.main"]


def isocenter(*args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*ISOCENTER, *map(str, args)], capture_output=True, text=True, timeout=60, check=False)


@contextmanager
def started(*args: object) -> Iterator[subprocess.Popen[str]]:
    """A server of ours as its own process; ended by SIGTERM, and it has to end well."""
    command = leashed([*ISOCENTER, *map(str, args)])
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        assert process.returncode == 0
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
