"""Where objects come from: files, folders to the bottom, and zip files in them.

Nothing is unpacked to disk and no name found in a zip is ever opened, so it does not matter what such names say; they
only label what was found. What a zip member inflates to is bounded by `limits.inflate_ratio` and
`limits.object_bytes` while it is read, whatever its directory entry claims. Zips in zips are not looked into.
"""

from __future__ import annotations

import lzma
import os
import stat
import zipfile
import zlib
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import IO

from isocenter.errors import DataSetError, LimitExceeded, NotDicomError, TruncatedError, UsageError
from isocenter.std.sop_classes import MEDIA_STORAGE_DIRECTORY
from isocenter.wire.limits import DEFAULT_LIMITS, Limits
from isocenter.wire.part10 import read_header

CHUNK = 1 << 20
_HEAD = 8192  # more than file meta information takes
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_UNJUDGED = 16 << 20  # up to here no ratio is suspicious


@dataclass(frozen=True, slots=True)
class Candidate:
    """One file, or one member of a zip. `label` is for people; `size` in bytes as far as is known beforehand."""

    label: str
    size: int
    path: Path
    member: zipfile.ZipInfo | None = field(default=None, repr=False)
    container: zipfile.ZipFile | None = field(default=None, repr=False, compare=False)

    def chunks(self, limits: Limits = DEFAULT_LIMITS) -> Generator[bytes, None, None]:
        """The bytes in pieces of at most 1 MiB. No more memory is asked for than `size` makes likely: what is left over
        of a large request goes back to the system, and clearing it anew each time costs more than reading.

        Raises DataSetError when they cannot be read, LimitExceeded when a zip member grows beyond measure.
        """
        most = limits.object_bytes
        if self.member is not None:
            most = min(most, max(_UNJUDGED, self.member.compress_size * limits.inflate_ratio))
        total, asked = 0, min(CHUNK, self.size + 1)
        try:
            with self._open() as file:
                while chunk := file.read(asked):
                    total += len(chunk)
                    if total > most:
                        raise LimitExceeded("the file is larger than limits.object_bytes or limits.inflate_ratio allow")
                    yield chunk
                    if len(chunk) < asked:
                        return  # only the last read is short
                    asked = min(CHUNK, self.size + 1 - total) if total <= self.size else CHUNK
        except (OSError, EOFError, RuntimeError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
            raise DataSetError(f"cannot be read: {_why(error)}") from None
        except (zlib.error, lzma.LZMAError):
            raise DataSetError("cannot be read: the zip is damaged here") from None

    def require_dicom(self) -> None:
        """As `require_dicom`, of this candidate's first bytes; DataSetError when they cannot be read."""
        require_dicom(next(self.chunks(), b""))

    def _open(self) -> IO[bytes]:
        if self.container is None or self.member is None:
            return self.path.open("rb", buffering=0)
        return self.container.open(self.member)


def found_again(path: str, place: int | None, size: int) -> Candidate:
    """What another process has found: by its path and, if it is the member of a zip, where in that its header is
    (`member.header_offset`). Raises DataSetError when the zip is not as it was."""
    if place is None:
        return Candidate(path, size, Path(path))
    try:
        container, members = _opened(path)
        member = members[place]
    except (OSError, KeyError, ValueError, NotImplementedError, zipfile.BadZipFile):
        raise DataSetError("cannot be read: the zip has changed") from None
    return Candidate(f"{path}:{member.filename}", size, Path(path), member, container)


@lru_cache(maxsize=2)
def _opened(path: str) -> tuple[zipfile.ZipFile, dict[int, zipfile.ZipInfo]]:
    container = zipfile.ZipFile(path)
    return container, {member.header_offset: member for member in container.infolist()}


def require_dicom(head: bytes) -> None:
    """Raise NotDicomError when the first bytes of a file are not those of a DICOM object, nor of a DICOMDIR, which
    lists objects and is none."""
    try:
        meta = read_header(head[:_HEAD])
    except TruncatedError:
        return
    if meta.sop_class == MEDIA_STORAGE_DIRECTORY:
        raise NotDicomError("a DICOMDIR: a list of objects, not one")


def walk(paths: Iterable[Path | str] | Path | str, *, everything: bool = False) -> Iterator[Candidate]:
    """Candidates under `paths`, sorted by name within a folder, found while they are asked for.

    Only what looks like a DICOM object is given; with `everything` all regular files and zip members are, also those
    that cannot be read, so that whoever counts can say why. Symbolic links to folders are not followed. Raises
    UsageError for the first of `paths` that does not exist, before anything is given.
    """
    several = [Path(paths)] if isinstance(paths, (str, Path)) else [Path(path) for path in paths]
    for path in several:
        try:
            path.stat()
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror or error}") from None
    return _walk(several, everything)


def _walk(paths: list[Path], everything: bool) -> Iterator[Candidate]:
    for path in paths:
        for candidate in _under(path):
            if not everything:
                try:
                    candidate.require_dicom()
                except DataSetError:
                    continue
            yield candidate


def _under(path: Path) -> Iterator[Candidate]:
    if not path.is_dir():
        yield from _file(path)
        return
    for folder, folders, names in os.walk(path):
        folders.sort()
        here = Path(folder)
        for name in sorted(names):
            yield from _file(here / name)


def _file(path: Path) -> Iterator[Candidate]:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return
        with path.open("rb", buffering=0) as file:
            head = file.read(132)
    except OSError:
        yield Candidate(str(path), 0, path)  # reading it says why
        return
    # A Part 10 file may begin with anything, a zip's signature included (PS3.10 section 7.1).
    if not head.startswith(_ZIP) or head[128:] == b"DICM":
        yield Candidate(str(path), status.st_size, path)
        return
    try:
        container = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError):
        yield Candidate(str(path), status.st_size, path)  # a zip by its first bytes only
        return
    # Closed with its last candidate: candidates are read after the walk has gone on, several at a time.
    for member in container.infolist():
        if not member.is_dir():
            yield Candidate(f"{path}:{member.filename}", member.file_size, path, member, container)


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if "encrypted" in str(error):
        return "it is encrypted"
    # zipfile names the member in its messages, which is received text.
    return f"the zip is damaged here ({type(error).__name__})"
