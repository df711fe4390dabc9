"""Whose turn it is to write next, among the processes that have one index open.

SQLite keeps no queue: who finds the database locked looks again at most ten times a second, and a server under load
begins its next transaction within a millisecond of the last one, which lasts as long as the disk syncs. Another process
(`isocenter jobs`, say) would seldom find the moment between: with transactions of 20 ms it waited for 1.4 s in the
median, and some tries ended after the 5 s that are waited at most. So whoever is next says so by a lock on the folder
of the index, and the others begin behind him.

This is courtesy and protects nothing. Nobody waits for it longer than _PATIENCE: its holder may have been stopped.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PATIENCE = 1.0
_LOOK = 0.0005  # seconds between looks: it is held for the beginning of a transaction only


class Turn:
    """The turn at the index in a folder."""

    def __init__(self, folder: Path) -> None:
        # Not on the database: SQLite's locks of a process end when any descriptor of that file is closed.
        self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        os.close(self._folder)

    @contextmanager
    def held(self) -> Iterator[None]:
        """To begin a transaction in. One thread at a time."""
        until = time.monotonic() + _PATIENCE
        while not self._taken() and time.monotonic() < until:
            time.sleep(_LOOK)
        try:
            yield
        finally:
            fcntl.flock(self._folder, fcntl.LOCK_UN)

    def _taken(self) -> bool:
        try:
            fcntl.flock(self._folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
