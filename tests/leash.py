"""Processes that tests and benchmarks start do not outlive them, however they end: a server that nobody stops would
keep its port, its folder and a part of the machine from whatever runs next.

A `preexec_fn` that asks for the same could hang (private_network.py says why), so that a program of util-linux does.
Linux ties a process to the thread that started it: that has to be one that lasts, as the main one.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from os import fspath
from pathlib import Path

_SETPRIV = shutil.which("setpriv")


def leashed(argv: Iterable[str | Path]) -> list[str]:
    """The command for Popen that runs `argv`, and is killed when whoever starts it is gone. Its process id is that of
    the program itself."""
    leash = [] if _SETPRIV is None else [_SETPRIV, "--pdeathsig", "KILL", "--"]
    return [*leash, *map(fspath, argv)]
