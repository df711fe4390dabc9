"""The associations of several processes, counted together: `receive` serves with as many as there are cores.

A row for each association, in a file without name that all of them have mapped: digests of its title and of the address
that it came from. To count is to look at every row, some tens of microseconds once an association, and nothing has to
be put right when a row is free again. The lock is the kernel's and goes with the process that holds it.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import tempfile
from collections.abc import Iterator
from hashlib import blake2b
from struct import Struct

from isocenter.net.admission import Places, fits

_ROW = Struct("16s16s")
_FREE = bytes(16)


class SharedBooks:
    """Books for net.admission.Admission. Made before the processes are; `rows` is the most associations they can have
    together."""

    def __init__(self, rows: int) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - close() does
        self._file.truncate(rows * _ROW.size)
        self._rows = mmap.mmap(self._file.fileno(), rows * _ROW.size)

    def close(self) -> None:
        """Let go of the memory, in this process."""
        self._rows.close()
        self._file.close()

    def has_room(self, title: str, address: str, places: Places) -> bool:
        with self._locked():
            return self._free(title, address, places) is not None

    def enter(self, title: str, address: str, places: Places) -> bool:
        with self._locked():
            free = self._free(title, address, places)
            if free is None:
                return False
            _ROW.pack_into(self._rows, free, _digest(title), _digest(address))
            return True

    def leave(self, title: str, address: str) -> None:
        with self._locked():
            own = _ROW.pack(_digest(title), _digest(address))
            at = self._rows.find(own)
            while at % _ROW.size:  # by chance across two rows
                at = self._rows.find(own, at + 1)
            self._rows[at : at + _ROW.size] = bytes(_ROW.size)

    def _free(self, title: str, address: str, places: Places) -> int | None:
        """Where the first free row begins, if one more of this title and address is within the limits."""
        wanted = _digest(title), _digest(address)
        free: int | None = None
        total = of_title = of_address = 0
        for number, (one, other) in enumerate(_ROW.iter_unpack(self._rows)):
            if one == _FREE:
                free = number * _ROW.size if free is None else free
                continue
            total += 1
            of_title += one == wanted[0]
            of_address += other == wanted[1]
        return free if fits(places, title, total, of_title, of_address) else None

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)


def _digest(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=16).digest()
