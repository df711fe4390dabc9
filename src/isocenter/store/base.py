"""The seam of bytes at rest: what a blob store is.

A blob is one Part 10 file. Its name is made by the store and means nothing to anybody else, except that names compare
as text in the order in which the blobs were begun, so that an index made anew from the files sees them in that order.
Nothing received is ever part of a name. `isocenter.testing.store_suite` is what every implementation passes.

The order of truth (PS3.4 Annex B asks for no less than that an answered object is kept): `create`, `write`...,
`sync` of each blob, `sync_directories` for all that wait together, and only then the row in the index.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from typing_extensions import Buffer


class BlobWriter(Protocol):
    """One blob being written. Not for use by two threads at a time, except `view` and `read` beside `sync`
    and `hasten`."""

    @property
    def name(self) -> str: ...

    @property
    def size(self) -> int:
        """Bytes written so far."""
        ...

    def write(self, chunks: Sequence[Buffer]) -> None:
        """Append; the bytes are in the page cache afterwards. OutOfResources when the disk is full."""
        ...

    def rewrite(self, offset: int, data: Buffer) -> None:
        """Overwrite bytes already written, in equal length, before `sync`."""
        ...

    def view(self) -> memoryview:
        """All bytes written so far, mapped, read-only; valid as long as it is referred to, also after `close`."""
        ...

    def read(self, offset: int, buffer: memoryview) -> int:
        """Copy bytes from `offset` into `buffer`; their number, 0 at the end."""
        ...

    def hasten(self) -> None:
        """Begin to make the bytes durable, without waiting: a hint, so that several `sync` share their work."""
        ...

    def sync(self) -> None:
        """Make the bytes durable; blocking, for a thread. OutOfResources when the disk is full."""
        ...

    def close(self) -> None:
        """Let go of the file; nothing but `abandon` may follow."""
        ...

    def abandon(self) -> None:
        """Remove the blob; harmless after an error and when repeated."""
        ...


class Blob(Protocol):
    """One stored blob, open for reading; a context manager."""

    @property
    def size(self) -> int: ...

    def fileno(self) -> int:
        """A descriptor for sendfile and the like, valid until the blob is closed."""
        ...

    def view(self) -> memoryview:
        """All bytes, mapped, read-only; valid as long as it is referred to, also after `close`."""
        ...

    def read(self, offset: int = 0, length: int | None = None) -> bytes: ...

    def at_hand(self, offset: int, length: int) -> bool:
        """Whether reading these bytes waits for no disk, as far as can be told without reading them; never true where
        nothing can be told."""
        ...

    def peek(self, offset: int, length: int, count: int) -> bytes | bytearray | None:
        """The first `count` of these bytes, as far as they are there, if they are at hand, else None; few, as all of
        them are to lie in one page."""
        ...

    def fetch(self, offset: int, length: int) -> None:
        """Have these bytes in memory, as far as they are there; blocking, for a thread."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class BlobStore(Protocol):
    """A set of blobs."""

    def create(self) -> BlobWriter: ...

    def sync_directories(self, names: Iterable[str]) -> None:
        """Make the entries of `names` durable in their folders, as far as they are not; blocking, at most one fsync for
        each folder."""
        ...

    def open(self, name: str) -> Blob:
        """NotFound where there is none."""
        ...

    def exists(self, name: str) -> bool: ...

    def delete(self, names: Iterable[str], *, durable: bool = False) -> None:
        """Remove; names that are not there are no error. `durable`: a power cut does not bring them back."""
        ...

    def list(self, since: str = "") -> Iterator[tuple[str, int]]:
        """Names and sizes in name order, of the names that do not compare below `since`."""
        ...

    def last_folder(self) -> str:
        """The part before the "/" of the newest names; whatever is begun after reopening compares above it."""
        ...

    def set_aside(self, name: str) -> str:
        """Move a blob out of the set without losing it; says where to, for the log."""
        ...

    def close(self) -> None: ...


class NameMaker:
    """Time-ordered random names of 32 hex digits: milliseconds (12), counter (4), random (16)."""

    __slots__ = ("_last", "_number")

    def __init__(self, after: str = "") -> None:
        """`after`: a name that new ones must follow, whatever the clock says now."""
        try:
            self._last = int(after[:12], 16) + 1
        except ValueError:
            self._last = 0
        self._number = 0

    def __call__(self) -> str:
        now = time.time_ns() // 1_000_000
        if now > self._last:
            self._last, self._number = now, 0
        else:
            # The clock stands still or went back: stay in order and count.
            self._number += 1
            if self._number > 0xFFFF:
                self._last, self._number = self._last + 1, 0
        return f"{self._last:012x}{self._number:04x}{os.urandom(8).hex()}"
