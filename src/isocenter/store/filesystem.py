"""Blobs as files of a local file system.

A blob `0190f3c1a2b3.../0190f3c1a2b4...` is a file in one folder of `objects/`. Writers share the newest folder, so that
one group commit needs one directory fsync; after FOLDER_SIZE files, and in every new process, a new one is begun.
A folder's own entry is made durable in its parent before the first of its blobs counts as durable.

fdatasync makes bytes and size durable, not the name; a rename after the fact would cost another directory sync and was
seen undone by a power cut. So a file is created under its last name, and the index row is what makes it visible.

Once blobs are being written, empty files are kept ready whose entries a thread has made durable before: then no
directory needs a sync while somebody waits for an object (measured at 512 KiB, one after the other: 0.74 ms with the
directory's fsync, 0.53 ms without). After a crash they are files without a row and without content.
"""

from __future__ import annotations

import errno
import logging
import mmap
import os
import re
import stat
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, Self

from isocenter.errors import DataFolderError, IsocenterError, NotFound, OutOfResources
from isocenter.store.base import NameMaker

if TYPE_CHECKING:
    from typing_extensions import Buffer

log = logging.getLogger("isocenter.store")

FOLDER_SIZE = 4096
SPARES = 32
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_IOV_MAX = min(os.sysconf("SC_IOV_MAX"), 1024)
_HEX = frozenset("0123456789abcdef")
_POPULATE_READ = 22  # MADV_POPULATE_READ of Linux 5.14, which Python does not name
_AHEAD = 4 << 20  # bytes that the disk is told of, where the kernel does not see by itself that they will be read
_PROBE = [bytearray(1)]  # where a byte goes that nobody looks at
_NAME = re.compile(r"[0-9a-f]+/[0-9a-f]+")


def _refuse(error: OSError, what: str) -> NoReturn:
    """The typed form of an operating system error; never with a path, which may name a site."""
    text = f"{what}: {os.strerror(error.errno or 0)}"
    if error.errno in _FULL:
        raise OutOfResources(text) from error
    raise IsocenterError(text) from error


def _map(descriptor: int, size: int) -> memoryview:
    if size == 0:
        return memoryview(b"")
    return memoryview(mmap.mmap(descriptor, size, prot=mmap.PROT_READ))


class FileWriter:
    """See BlobWriter. The descriptor stays open until `close` or `abandon`."""

    __slots__ = ("_descriptor", "_hastened", "_path", "_store", "name", "size")

    def __init__(self, store: FileStore, name: str, path: str) -> None:
        self.name = name
        self.size = 0
        self._hastened = 0
        self._store = store
        self._path = path
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        except OSError as error:
            _refuse(error, "creating an object")

    def write(self, chunks: Sequence[Buffer]) -> None:
        total = sum(memoryview(chunk).nbytes for chunk in chunks)
        try:
            written = os.writev(self._descriptor, chunks) if len(chunks) <= _IOV_MAX else 0
            if written != total:
                self._write_rest(chunks, written)
        except OSError as error:
            _refuse(error, "writing an object")
        self.size += total

    def _write_rest(self, chunks: Sequence[Buffer], written: int) -> None:
        """What one writev left: the disk is filling up, or there are more pieces than it takes."""
        for chunk in chunks:
            view = memoryview(chunk).cast("B")
            if written >= len(view):
                written -= len(view)
                continue
            view, written = view[written:], 0
            while view:
                view = view[os.write(self._descriptor, view) :]

    def rewrite(self, offset: int, data: Buffer) -> None:
        length = memoryview(data).nbytes
        if offset < 0 or offset + length > self.size:
            raise ValueError("only bytes already written can be rewritten")
        try:
            if os.pwrite(self._descriptor, data, offset) != length:
                raise OSError(errno.ENOSPC, "short write")
        except OSError as error:
            _refuse(error, "writing an object")

    def view(self) -> memoryview:
        return _map(self._descriptor, self.size)

    def read(self, offset: int, buffer: memoryview) -> int:
        return os.preadv(self._descriptor, [buffer], offset)

    def hasten(self) -> None:
        # On Linux this begins to write dirty pages back, which then cannot be dropped; elsewhere it does no harm.
        begin, self._hastened = self._hastened, self.size
        with suppress(OSError):  # sync meets it again
            os.posix_fadvise(self._descriptor, begin, self.size - begin, os.POSIX_FADV_DONTNEED)

    def sync(self) -> None:
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            _refuse(error, "making an object durable")

    def abandon(self) -> None:
        self.close()
        self._store.forget(self.name)
        try:
            os.unlink(self._path)
        except FileNotFoundError:
            pass
        except OSError as error:
            _refuse(error, "removing an object")

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        if getattr(self, "_descriptor", -1) >= 0:
            self.close()


class FileBlob:
    """See Blob."""

    __slots__ = ("_descriptor", "size")

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.size = os.fstat(descriptor).st_size

    def fileno(self) -> int:
        return self._descriptor

    def view(self) -> memoryview:
        return _map(self._descriptor, self.size)

    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        wanted = max(0, self.size - offset) if length is None else min(length, max(0, self.size - offset))
        parts = []
        while wanted > 0:
            part = os.pread(self._descriptor, wanted, offset)
            if not part:
                break
            parts.append(part)
            offset += len(part)
            wanted -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def at_hand(self, offset: int, length: int) -> bool:
        return self.peek(offset, length, 1) is not None

    def peek(self, offset: int, length: int, count: int) -> bytearray | None:
        # The ends stand for what is between them: pages come and go in runs (preadv2(2), RWF_NOWAIT). The end first: a
        # page that is not there is sent for, and `fetch` finds no room for large runs around the page at the beginning.
        end = offset + length if offset + length < self.size else self.size
        beginning = bytearray(count)
        try:
            os.preadv(self._descriptor, _PROBE, end - 1 if end > offset else offset, os.RWF_NOWAIT)
            came = os.preadv(self._descriptor, (beginning,), offset, os.RWF_NOWAIT)
        except OSError:  # not in the page cache, or a file system that does not say
            return None
        return beginning if came == count else beginning[:came]

    def fetch(self, offset: int, length: int) -> None:
        # Of a mapping that asks for large pages (madvise(2)) the kernel fills large runs of memory, and those that
        # follow when these are read. It takes half the time of read(2), which fills single pages, and for as long as
        # the file is in memory sendfile(2) has a few runs to send instead of hundreds of pages: a third less work.
        end = min(offset + length, self.size)
        begin = min(offset, end) // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
        if begin == end:
            return
        try:
            with mmap.mmap(self._descriptor, end - begin, prot=mmap.PROT_READ, offset=begin) as mapped:
                mapped.madvise(mmap.MADV_HUGEPAGE)
                mapped.madvise(_POPULATE_READ)  # unlike touching it, an error where the file was cut, and no signal
        except (OSError, ValueError):  # an older kernel, one without large pages, or a file that was cut
            os.posix_fadvise(self._descriptor, end, _AHEAD, os.POSIX_FADV_WILLNEED)
            self.read(offset, length)

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

    def __del__(self) -> None:
        if getattr(self, "_descriptor", -1) >= 0:
            self.close()


class FileStore:
    """See BlobStore. `folder` holds `objects/` and, when something had to be set aside, `set-aside/`."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self._objects = os.fspath(self.folder / "objects")
        self._lock = threading.Lock()
        # Held while a file is created, which can take the file system long; whoever finds a spare does not wait for it.
        # To be taken before the other.
        self._making = threading.Lock()
        self._current = ""
        self._left = 0
        self._new_folders: set[str] = set()
        self._fresh: set[str] = set()  # in use, with entries that are not durable yet
        self._spares: deque[FileWriter] = deque()
        self._waiting: deque[FileWriter] = deque()  # spares to be
        self._refilling: threading.Thread | None = None
        self._closed = False
        try:
            os.makedirs(self._objects, mode=0o750, exist_ok=True)
            _sync_folder(os.fspath(self.folder))
            if not os.access(self._objects, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            newest = _newest(self._objects)
        except OSError as error:
            raise DataFolderError(f"{self.folder}: {os.strerror(error.errno or 0)}") from error
        self._make_name = NameMaker(after=newest)

    def create(self) -> FileWriter:
        with self._lock:
            writer = self._spares.popleft() if self._spares else None
        if writer is None:
            with self._making, self._lock:
                # In the order of their names; one whose entry is not durable yet is as good as a new one.
                if self._spares:
                    writer = self._spares.popleft()
                else:
                    writer = self._waiting.popleft() if self._waiting else self._new()
                    self._fresh.add(writer.name)
        with self._lock:
            if len(self._spares) < SPARES // 2 and self._refilling is None and not self._closed:
                self._refilling = threading.Thread(target=self._refill, name="isocenter-spares", daemon=True)
                self._refilling.start()
        return writer

    def _new(self) -> FileWriter:
        """A file in the newest folder; with `_making` held."""
        if not self._left:
            self._begin_folder()
        name = f"{self._current}/{self._make_name()}"
        writer = FileWriter(self, name, f"{self._objects}/{name}")
        self._left -= 1
        return writer

    def _refill(self) -> None:
        """Make more spare files and their entries durable; in a thread."""
        try:
            names = []
            for _ in range(SPARES):
                with self._making:
                    writer = self._new()
                    names.append(writer.name)
                    with self._lock:
                        self._waiting.append(writer)
            self._sync(names)
        except IsocenterError as error:
            # No object is the worse for it; create meets the same where it matters.
            log.info("no spare files: %s", error)
            with self._lock:
                useless, self._waiting = self._waiting, deque()
            for writer in useless:
                with suppress(IsocenterError):  # an empty file that stays is removed at the next start
                    writer.abandon()
        with self._lock:
            self._spares.extend(self._waiting)
            self._waiting.clear()
            self._refilling = None

    def _begin_folder(self) -> None:
        name = self._make_name()
        try:
            os.mkdir(f"{self._objects}/{name}", 0o750)
        except OSError as error:
            _refuse(error, "creating a folder")
        self._new_folders.add(name)
        self._current, self._left = name, FOLDER_SIZE

    def forget(self, name: str) -> None:
        """Nobody will ask for this blob's entry any more."""
        with self._lock:
            self._fresh.discard(name)

    def sync_directories(self, names: Iterable[str]) -> None:
        with self._lock:
            fresh = self._fresh.intersection(names)
        if fresh:
            self._sync(fresh)
            with self._lock:
                self._fresh -= fresh

    def _sync(self, names: Iterable[str]) -> None:
        folders = {name.partition("/")[0] for name in names}
        try:
            for folder in folders:
                _sync_folder(f"{self._objects}/{folder}")
            new = folders & self._new_folders
            if new:
                _sync_folder(self._objects)
                with self._lock:
                    self._new_folders -= new
        except OSError as error:
            _refuse(error, "making a folder durable")

    def open(self, name: str) -> FileBlob:
        try:
            return FileBlob(os.open(self._path(name), os.O_RDONLY | os.O_CLOEXEC))
        except FileNotFoundError:
            raise NotFound("the object's file is not there") from None
        except OSError as error:
            _refuse(error, "opening an object")

    def exists(self, name: str) -> bool:
        return os.path.exists(self._path(name))

    def delete(self, names: Iterable[str], *, durable: bool = False) -> None:
        folders = set()
        try:
            for name in names:
                try:
                    os.unlink(self._path(name))
                except FileNotFoundError:
                    continue
                folders.add(name.partition("/")[0])
            if durable:
                for folder in folders:
                    _sync_folder(f"{self._objects}/{folder}")
        except OSError as error:
            _refuse(error, "removing an object")

    def list(self, since: str = "") -> Iterator[tuple[str, int]]:
        first = since.partition("/")[0]
        for folder in sorted(os.listdir(self._objects)):
            if folder < first:
                continue
            path = f"{self._objects}/{folder}"
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                yield folder, os.lstat(path).st_size
                continue
            with os.scandir(path) as entries:
                found = sorted((entry.name, entry.stat(follow_symlinks=False).st_size) for entry in entries)
            # Asked afterwards: a spare file made meanwhile was not found, and one found is a spare or is in use.
            with self._making, self._lock:
                spares = {writer.name for writer in (*self._spares, *self._waiting)}
            for name, size in found:
                if f"{folder}/{name}" >= since and f"{folder}/{name}" not in spares:
                    yield f"{folder}/{name}", size

    def last_folder(self) -> str:
        return _newest(self._objects)

    def set_aside(self, name: str) -> str:
        aside = self.folder / "set-aside"
        target = aside / name.replace("/", "-")
        try:
            aside.mkdir(mode=0o750, exist_ok=True)
            os.rename(f"{self._objects}/{name}", target)
            _sync_folder(os.fspath(aside))
        except OSError as error:
            _refuse(error, "setting a file aside")
        return os.fspath(target)

    def close(self) -> None:
        """Remove the spare files, and a folder that stayed empty, so that starts without work leave no trace."""
        with self._lock:
            self._closed = True
            refilling = self._refilling
        if refilling is not None:
            refilling.join()
        while self._spares:
            self._spares.pop().abandon()
        with self._lock:
            current, self._current, self._left = self._current, "", 0
        if current:
            try:
                os.rmdir(f"{self._objects}/{current}")
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
                    _refuse(error, "removing a folder")

    def _path(self, name: str) -> str:
        # Names come from our index; a damaged index must still not lead out of the folder.
        if _NAME.fullmatch(name) is None:
            raise NotFound("not a name of this store")
        return f"{self._objects}/{name}"


def _sync_folder(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _newest(objects: str) -> str:
    return max((name for name in os.listdir(objects) if _HEX.issuperset(name)), default="")
