"""C-STORE into a folder: one Part 10 file for each object, no index, no promise beyond the file system's.

File names are ours (a run's random part and a number), never made from received text. A file has its name when it is
whole; until then its name begins with a dot.

A file without a name that is linked when it is whole (O_TMPFILE) takes a tenth less than one that is renamed, and is
not to be had on each file system.
"""

from __future__ import annotations

import errno
import os
import secrets
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from isocenter.errors import InvalidUID, IsocenterError, OutOfResources
from isocenter.names import is_uid
from isocenter.services.base import STORED, Reply, Request, Sink
from isocenter.wire.limits import DEFAULT_LIMITS, Limits
from isocenter.wire.part10 import file_meta

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL
_IOV_MAX = min(os.sysconf("SC_IOV_MAX"), 1024)
_RESOURCES = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE}


def _refused(error: OSError) -> IsocenterError:
    if error.errno in _RESOURCES:
        return OutOfResources(f"cannot write the file: {error.strerror}")
    return IsocenterError(f"cannot write the file: {error.strerror}")


class FolderStorage:
    """Opens a file for each C-STORE request; hand it to StorageService.

    `stored` is told of each whole file, path and request; `count` says how many there are. With `sync`,
    a file's bytes are durable before the reply. With `ahead`, the next file is opened when an object's response is
    written, while the sender prepares its next: for who receives all the time, and calls close() at the end.
    """

    def __init__(
        self,
        folder: Path,
        stored: Callable[[str, Request], None] | None = None,
        *,
        sync: bool = False,
        limits: Limits = DEFAULT_LIMITS,
        ahead: bool = False,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        # Names are looked up in the open folder: a path is walked from its root for each.
        self.descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        weakref.finalize(self, os.close, self.descriptor)
        self._run = secrets.token_hex(4)
        self._stored = stored
        self.sync = sync
        self.limits = limits
        self.count = 0
        self.stored = Reply(then=self._open_ahead) if ahead else STORED
        self._opened = 0
        self._spare: _File | None = None

    def __call__(self, request: Request) -> Sink:
        command, peer = request.command, request.peer
        if not is_uid(command["AffectedSOPInstanceUID"]):
            raise InvalidUID("Affected SOP Instance UID is not a UID")
        try:
            header = file_meta(
                command["AffectedSOPClassUID"],
                command["AffectedSOPInstanceUID"],
                request.context.transfer_syntax,
                calling_aet=peer.calling,
                called_aet=peer.called,
            )
        except UnicodeEncodeError:
            raise InvalidUID("Affected SOP Class UID is not a UID") from None
        try:
            return _FileSink(self, self._take_spare() or self._open(), header, request)
        except OSError as error:
            raise _refused(error) from None

    def _take_spare(self) -> _File | None:
        file, self._spare = self._spare, None
        if file is not None and os.fstat(file.descriptor).st_nlink == 0:
            os.close(file.descriptor)  # somebody has tidied up the folder
            return None
        return file

    def _open(self) -> _File:
        self._opened += 1
        name = f"{self._run}-{self._opened:06d}.dcm"
        part = f".{name}.part"
        return _File(name, part, os.open(part, _NEW, 0o640, dir_fd=self.descriptor))

    def _open_ahead(self) -> None:
        if self._spare is None:
            with suppress(OSError):  # it is met again by the next object
                self._spare = self._open()

    def close(self) -> None:
        """Remove the file that was opened for an object that did not come."""
        file = self._take_spare()
        if file is not None:
            os.close(file.descriptor)
            os.unlink(file.part, dir_fd=self.descriptor)

    def took(self, name: str, request: Request) -> None:
        """A file is whole and has its name."""
        self.count += 1
        if self._stored is not None:
            self._stored(os.path.join(self._folder, name), request)


class _File(NamedTuple):
    """Its name when it is whole, its name until then, and the open file."""

    whole: str
    part: str
    descriptor: int


class _FileSink:
    """One object on its way into a file."""

    __slots__ = ("_fd", "_folder", "_header", "_name", "_request", "_room", "_storage", "_whole")

    def __init__(self, storage: FolderStorage, file: _File, header: bytes, request: Request) -> None:
        self._storage = storage
        self._folder = storage.descriptor
        self._whole, self._name, self._fd = file
        self._header: bytes | None = header
        self._request = request
        self._room = storage.limits.object_bytes

    def write(self, views: Sequence[memoryview]) -> None:
        pieces: Sequence[bytes | memoryview] = views
        if self._header is not None:
            pieces, self._header = [self._header, *views], None
        size = sum(map(len, pieces))
        self._room -= size
        if self._room < 0:
            raise OutOfResources("the object is larger than limits.object_bytes")
        try:
            written = os.writev(self._fd, pieces[:_IOV_MAX])
            if written != size:
                _write_rest(self._fd, pieces, written)
        except OSError as error:
            raise _refused(error) from None

    def finish(self) -> Reply:
        try:
            if self._storage.sync:
                os.fdatasync(self._fd)
            os.rename(self._name, self._whole, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        except OSError as error:
            self.abandon()
            raise _refused(error) from None
        self._close()
        self._storage.took(self._whole, self._request)
        return self._storage.stored

    def abandon(self) -> None:
        if self._fd >= 0:
            self._close()
            os.unlink(self._name, dir_fd=self._folder)

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        os.close(fd)


def _write_rest(fd: int, pending: Sequence[bytes | memoryview], written: int) -> None:
    """A short or long writev (more than IOV_MAX pieces): go on after `written` bytes."""
    for piece in pending:
        if written >= len(piece):
            written -= len(piece)
            continue
        view = memoryview(piece)[written:]
        written = 0
        while view:
            view = view[os.write(fd, view) :]
