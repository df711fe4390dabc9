"""Where objects come from: files, folders to the bottom, and zip files. Nothing is unpacked to disk.

A source is found without being opened; what it is, is told from its first bytes.
"""

from __future__ import annotations

import lzma
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from isocenter.errors import DataSetError, NotDicomError, TruncatedError, UsageError
from isocenter.std.sop_classes import MEDIA_STORAGE_DIRECTORY
from isocenter.wire.part10 import FileMeta, read_header

CHUNK = 1 << 20
HEAD = 8192  # more than file meta information takes
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")


@dataclass(frozen=True, slots=True)
class Source:
    """One file, or one member of a zip. `named` if the person gave this very path."""

    label: str
    size: int
    named: bool
    path: Path
    member: zipfile.ZipInfo | None = None
    archive: zipfile.ZipFile | None = field(default=None, repr=False, compare=False)

    def open(self) -> IO[bytes]:
        """Raises DataSetError when it cannot be read, whatever the reason."""
        try:
            if self.archive is None or self.member is None:
                return self.path.open("rb")
            return self.archive.open(self.member)
        except (OSError, RuntimeError, NotImplementedError, zipfile.BadZipFile) as error:
            raise DataSetError(f"cannot be read: {_why(error)}") from None

    def begin(self) -> tuple[IO[bytes], bytes]:
        """Opened, and its first piece, which is looked into. Raises NotDicomError and DataSetError."""
        file = self.open()
        try:
            first = self.read(file)
            looked_into(first[:HEAD])
        except BaseException:
            file.close()
            raise
        return file, first

    def read(self, file: IO[bytes], size: int = CHUNK) -> bytes:
        """The next piece; DataSetError also for a damaged zip."""
        try:
            return file.read(size)
        except (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile) as error:
            raise DataSetError(f"cannot be read: {_why(error)}") from None
        except (zlib.error, lzma.LZMAError):
            raise DataSetError("cannot be read: the zip is damaged here") from None


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, RuntimeError) and "encrypted" in str(error):
        return "it is encrypted"
    return str(error).split(" for file")[0] or type(error).__name__


def looked_into(head: bytes) -> FileMeta | None:
    """What the first bytes of a file tell: its file meta information, or None where it is not (yet) a readable one.

    Raises NotDicomError for what is not DICOM, DICOMDIRs included: they list objects and are none.
    """
    try:
        meta = read_header(head)
    except TruncatedError:
        return None
    if meta.sop_class == MEDIA_STORAGE_DIRECTORY:
        raise NotDicomError("a DICOMDIR: a list of objects, not one")
    return meta


def require(paths: list[Path]) -> None:
    """UsageError for the first path that does not exist, before anything is begun."""
    for path in paths:
        try:
            path.stat()
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror or error}") from None


def sources(paths: list[Path]) -> Iterator[Source]:
    """Every regular file under `paths` and every file in their zips, sorted by name within a folder.

    What cannot be read is given all the same, so that it is counted, with its reason, when it is opened.
    """
    for path in paths:
        if path.is_dir():
            for folder, folders, names in os.walk(path):
                folders.sort()
                for name in sorted(names):
                    yield from _file(Path(folder) / name, named=False)
        else:
            yield from _file(path, named=True)


def _file(path: Path, *, named: bool) -> Iterator[Source]:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return
        with path.open("rb") as file:
            head = file.read(132)
    except OSError:
        yield Source(str(path), 0, named, path)  # opening it again tells why
        return
    if head[:4] in _ZIP and head[128:] != b"DICM":
        yield from _members(path, status.st_size, named=named)
    else:
        yield Source(str(path), status.st_size, named, path)


def _members(path: Path, size: int, *, named: bool) -> Iterator[Source]:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, NotImplementedError):
        yield Source(str(path), size, named, path)  # called a zip by its first bytes only
        return
    for member in archive.infolist():
        if not member.is_dir():
            yield Source(f"{path}:{member.filename}", member.file_size, False, path, member, archive)
