"""Blobs in memory, for tests: nothing survives, everything else is as on disk."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from isocenter.errors import NotFound, OutOfResources
from isocenter.store.base import NameMaker

if TYPE_CHECKING:
    from typing_extensions import Buffer


class MemoryBlob:
    """See Blob; the descriptor is that of an anonymous file."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._descriptor = -1
        self.size = len(data)

    def fileno(self) -> int:
        if self._descriptor < 0:
            self._descriptor = os.memfd_create("blob", os.MFD_CLOEXEC)
            view = memoryview(self._data)
            while view:
                view = view[os.write(self._descriptor, view) :]
            os.lseek(self._descriptor, 0, os.SEEK_SET)
        return self._descriptor

    def view(self) -> memoryview:
        if not self.size:
            return memoryview(b"")
        return memoryview(mmap.mmap(self.fileno(), self.size, prot=mmap.PROT_READ))

    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        return self._data[offset:] if length is None else self._data[offset : offset + length]

    def at_hand(self, offset: int, length: int) -> bool:
        return True

    def peek(self, offset: int, length: int, count: int) -> bytes:
        return self.read(offset, count)

    def fetch(self, offset: int, length: int) -> None:
        """They are."""

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class MemoryWriter:
    """See BlobWriter. The blob is there from the start, as a file would be."""

    def __init__(self, store: MemoryStore, name: str) -> None:
        self.name = name
        self._store = store
        self._data = bytearray()
        store.blobs[name] = b""

    @property
    def size(self) -> int:
        return len(self._data)

    def write(self, chunks: Sequence[Buffer]) -> None:
        for chunk in chunks:
            if self._store.used + len(self._data) + memoryview(chunk).nbytes > self._store.capacity:
                raise OutOfResources("writing an object: No space left on device")
            self._data += chunk

    def rewrite(self, offset: int, data: Buffer) -> None:
        length = memoryview(data).nbytes
        if offset < 0 or offset + length > len(self._data):
            raise ValueError("only bytes already written can be rewritten")
        self._data[offset : offset + length] = bytes(data)

    def view(self) -> memoryview:
        return memoryview(bytes(self._data))

    def read(self, offset: int, buffer: memoryview) -> int:
        part = self._data[offset : offset + len(buffer)]
        buffer[: len(part)] = part
        return len(part)

    def hasten(self) -> None:
        return

    def sync(self) -> None:
        self._store.blobs[self.name] = bytes(self._data)

    def close(self) -> None:
        return

    def abandon(self) -> None:
        self._store.blobs.pop(self.name, None)
        self._data = bytearray()


class MemoryStore:
    """See BlobStore. `capacity` in bytes makes a full disk."""

    def __init__(self, capacity: int = 1 << 40) -> None:
        self.capacity = capacity
        self.blobs: dict[str, bytes] = {}
        self.aside: dict[str, bytes] = {}
        self._make_name = NameMaker()
        self._folder = self._make_name()

    @property
    def used(self) -> int:
        return sum(map(len, self.blobs.values()))

    def create(self) -> MemoryWriter:
        return MemoryWriter(self, f"{self._folder}/{self._make_name()}")

    def sync_directories(self, names: Iterable[str]) -> None:
        missing = [name for name in names if name not in self.blobs]
        if missing:
            raise NotFound(f"{len(missing)} blobs are not there")

    def open(self, name: str) -> MemoryBlob:
        try:
            return MemoryBlob(self.blobs[name])
        except KeyError:
            raise NotFound("the object's file is not there") from None

    def exists(self, name: str) -> bool:
        return name in self.blobs

    def delete(self, names: Iterable[str], *, durable: bool = False) -> None:
        for name in names:
            self.blobs.pop(name, None)

    def list(self, since: str = "") -> Iterator[tuple[str, int]]:
        for name in sorted(self.blobs):
            if name >= since:
                yield name, len(self.blobs[name])

    def last_folder(self) -> str:
        return self._folder

    def set_aside(self, name: str) -> str:
        self.aside[name] = self.blobs.pop(name)
        return name

    def close(self) -> None:
        return
