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
from collections.abc import Callable, Sequence
from pathlib import Path

from isocenter.errors import InvalidUID, IsocenterError, OutOfResources
from isocenter.model import is_uid
from isocenter.services.base import Reply, Request, Sink
from isocenter.wire.limits import DEFAULT_LIMITS, Limits
from isocenter.wire.part10 import file_meta

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
        self._prefix = os.path.join(folder, f".{secrets.token_hex(4)}")
        self._stored = stored
        self._sync = sync
        self._limits = limits
        self.count = 0
        self._opened = 0
        self._spare: tuple[str, int] | None = None
        self._used = False  # since _watch looked last
        self._watching = False

    def __call__(self, request: Request) -> Sink:
        if not is_uid(request.command["AffectedSOPInstanceUID"]):
            raise InvalidUID("Affected SOP Instance UID is not a UID")
        spare, self._spare, self._used = self._spare, None, True
        try:
            path, fd = spare or self._open()
        except OSError as error:
            raise _refused(error) from None
        return _FileSink(path, fd, request, self._whole, self._sync, self._limits)

    def close(self) -> None:
        """Remove the file that was opened for an object that did not come."""
        spare, self._spare = self._spare, None
        if spare is not None:
            os.close(spare[1])
            os.unlink(spare[0])

    def _open(self) -> tuple[str, int]:
        self._opened += 1
        path = f"{self._prefix}-{self._opened:06d}.part"
        return path, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)

    def _whole(self, path: str, request: Request) -> None:
        self.count += 1
        if self._stored is not None:
            self._stored(path, request)
        if self._spare is None:
            asyncio.get_running_loop().call_soon(self._prepare)

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


class _FileSink:
    def __init__(
        self,
        path: str,
        fd: int,
        request: Request,
        stored: Callable[[str, Request], None],
        sync: bool,
        limits: Limits,
    ) -> None:
        self._path = path
        self._request = request
        self._stored = stored
        self._sync = sync
        self._room = limits.object_bytes
        self._fd = fd
        command, peer = request.command, request.peer
        self._pending: list[bytes | memoryview] = [
            file_meta(
                command["AffectedSOPClassUID"],
                command["AffectedSOPInstanceUID"],
                request.context.transfer_syntax,
                calling_aet=peer.calling,
                called_aet=peer.called,
            )
        ]

    def write(self, views: Sequence[memoryview]) -> None:
        pending = [*self._pending, *views]
        self._pending = []
        size = sum(map(len, pending))
        self._room -= size
        if self._room < 0:
            raise OutOfResources("the object is larger than limits.object_bytes")
        try:
            written = os.writev(self._fd, pending[:1024])
            if written != size:
                _write_rest(self._fd, pending, written)
        except OSError as error:
            raise _refused(error) from None

    def finish(self) -> Reply:
        try:
            if self._sync:
                os.fdatasync(self._fd)
            folder, name = os.path.split(self._path)
            path = f"{folder}/{name[1:].removesuffix('.part')}.dcm"
            os.rename(self._path, path)
        except OSError as error:
            self.abandon()
            raise _refused(error) from None
        fd, self._fd = self._fd, -1
        os.close(fd)
        self._stored(path, self._request)
        return Reply()

    def abandon(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            os.unlink(self._path)


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
