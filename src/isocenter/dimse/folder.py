"""C-STORE into a folder: one Part 10 file for each object, no index, no promise beyond the file system's.

File names are ours (a run's random part and a number), never made from received text. A file has its name when it is
whole; until then its name begins with a dot. The next one is opened while the sender prepares its next object, and
removed when none comes.
"""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from isocenter.errors import InvalidUID, IsocenterError, OutOfResources
from isocenter.model import is_uid
from isocenter.services.base import STORED, Reply, Request, Sink
from isocenter.wire.limits import DEFAULT_LIMITS, Limits
from isocenter.wire.part10 import file_meta

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL
_IOV_MAX = min(os.sysconf("SC_IOV_MAX"), 1024)
_IDLE = 1.0  # seconds without an object before the spare file goes
_RESOURCES = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE}


def _refused(error: OSError) -> IsocenterError:
    if error.errno in _RESOURCES:
        return OutOfResources(f"cannot write the file: {error.strerror}")
    return IsocenterError(f"cannot write the file: {error.strerror}")


class FolderStorage:
    """Opens a file for each C-STORE request; hand it to StorageService.

    `stored` is told of each whole file, path and request; `count` says how many there are. With `sync`,
    a file's bytes are durable before the reply.
    """

    def __init__(
        self,
        folder: Path,
        stored: Callable[[str, Request], None] | None = None,
        *,
        sync: bool = False,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        # Names are looked up in the open folder: a path is walked from its root for each.
        self.descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        weakref.finalize(self, os.close, self.descriptor)  # sinks may still need it after close()
        self._run = secrets.token_hex(4)
        self._stored = stored
        self.sync = sync
        self.limits = limits
        self.count = 0
        self._opened = 0
        self._spare: _Part | None = None
        self._used = False  # since _watch looked last
        self._watching = False

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
        part, self._spare, self._used = self._spare, None, True
        try:
            return _FileSink(self, part or self._open(), header, request)
        except OSError as error:
            raise _refused(error) from None

    def close(self) -> None:
        """Remove the file that was opened for an object that did not come."""
        spare, self._spare = self._spare, None
        if spare is not None:
            self.remove(spare)

    def remove(self, part: _Part) -> None:
        """Forget a file that was begun."""
        os.close(part.fd)
        os.unlink(part.name, dir_fd=self.descriptor)

    def took(self, part: _Part, request: Request) -> None:
        """A file is whole and has its name."""
        self.count += 1
        if self._stored is not None:
            self._stored(os.path.join(self._folder, part.whole), request)
        if self._spare is None:
            asyncio.get_running_loop().call_soon(self._prepare)

    def _open(self) -> _Part:
        self._opened += 1
        whole = f"{self._run}-{self._opened:06d}.dcm"
        name = f".{whole}.part"
        return _Part(name, whole, os.open(name, _NEW, 0o640, dir_fd=self.descriptor))

    def _prepare(self) -> None:
        """Open the next file, after the answer for the last one is on its way."""
        if self._spare is None:
            try:
                self._spare = self._open()
            except OSError:
                return  # who needs it meets the same and says so
            if not self._watching:
                self._watching = True
                asyncio.get_running_loop().call_later(_IDLE, self._watch)

    def _watch(self) -> None:
        if self._used:
            self._used = False
            asyncio.get_running_loop().call_later(_IDLE, self._watch)
        else:
            self._watching = False
            self.close()


class _Part(NamedTuple):
    """A file that is being written, and the name it gets when it is whole."""

    name: str
    whole: str
    fd: int


class _FileSink:
    """One object on its way into a file."""

    __slots__ = ("_header", "_part", "_request", "_room", "_storage")

    def __init__(self, storage: FolderStorage, part: _Part, header: bytes, request: Request) -> None:
        self._storage = storage
        self._part: _Part | None = part
        self._header: bytes | None = header
        self._request = request
        self._room = storage.limits.object_bytes

    def write(self, views: Sequence[memoryview]) -> None:
        assert self._part is not None
        pieces: Sequence[bytes | memoryview] = views
        if self._header is not None:
            pieces, self._header = [self._header, *views], None
        size = sum(map(len, pieces))
        self._room -= size
        if self._room < 0:
            raise OutOfResources("the object is larger than limits.object_bytes")
        try:
            written = os.writev(self._part.fd, pieces[:_IOV_MAX])
            if written != size:
                _write_rest(self._part.fd, pieces, written)
        except OSError as error:
            raise _refused(error) from None

    def finish(self) -> Reply:
        part = self._part
        assert part is not None
        try:
            if self._storage.sync:
                os.fdatasync(part.fd)
            folder = self._storage.descriptor
            os.rename(part.name, part.whole, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError as error:
            self.abandon()
            raise _refused(error) from None
        self._part = None
        os.close(part.fd)
        self._storage.took(part, self._request)
        return STORED

    def abandon(self) -> None:
        part, self._part = self._part, None
        if part is not None:
            self._storage.remove(part)


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
