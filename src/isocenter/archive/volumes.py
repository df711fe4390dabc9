"""Volumes of files and folders: what `isocenter.volume` and `isocenter.volumes` do.

The work is done in pixels/volume.py; here is where objects come from. `Archive.volumes` is the same for stored ones.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from isocenter.archive.walk import Candidate, walk
from isocenter.errors import DataSetError, NotDicomError, UsageError
from isocenter.pixels.volume import Gaps, Volume, Volumes, survey
from isocenter.wire.limits import DEFAULT_LIMITS, Limits
from isocenter.wire.part10 import read_header

if TYPE_CHECKING:
    from isocenter.model import InstanceRef
    from isocenter.store.base import BlobStore
    from isocenter.wire.elements import Buffer

Paths = Iterable[Path | str] | Path | str


@dataclass(frozen=True, slots=True)
class FileSource:
    """A file or a member of a zip."""

    candidate: Candidate
    limits: Limits

    @property
    def label(self) -> str:
        return self.candidate.label

    @contextmanager
    def opened(self) -> Iterator[tuple[Buffer, str, int]]:
        """As pixels.volume.Source; a file is mapped, so that only what is asked for is read."""
        if self.candidate.member is not None:
            yield _located(b"".join(self.candidate.chunks(self.limits)))
            return
        try:
            with self.candidate.path.open("rb") as file:
                if not self.candidate.size:
                    raise NotDicomError("the file is empty")
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise DataSetError(f"cannot be read: {error.strerror or error}") from None
        with mapped, memoryview(mapped) as view:
            yield _located(view)


@dataclass(frozen=True, slots=True)
class StoredSource:
    """An instance of an archive."""

    store: BlobStore
    ref: InstanceRef

    @property
    def label(self) -> str:
        return self.ref.instance

    @contextmanager
    def opened(self) -> Iterator[tuple[Buffer, str, int]]:
        """As pixels.volume.Source. NotFound when the file is gone."""
        with self.store.open(self.ref.blob) as blob, blob.view() as view:
            yield view, self.ref.transfer_syntax, self.ref.data_set_offset


def _located(buf: Buffer) -> tuple[Buffer, str, int]:
    meta = read_header(buf)
    return buf, meta.transfer_syntax, meta.data_set_offset


def volumes(paths: Paths, *, limits: Limits = DEFAULT_LIMITS, progress: Callable[[], None] = lambda: None) -> Volumes:
    """The volumes in files, folders and zips, and what is in none of them and why; `load` reads their pixels.

    `progress` is called for each object. UsageError for a path that does not exist.
    """
    named = [Path(paths)] if isinstance(paths, (str, Path)) else [Path(path) for path in paths]
    # What is named is meant; what lies in a folder beside objects is not.
    found = (one for path in named for one in walk(path, everything=not path.is_dir()))
    return survey((FileSource(candidate, limits) for candidate in found), limits, progress)


def volume(
    paths: Paths,
    *,
    series: str | None = None,
    rescale: bool = True,
    gaps: Gaps = "fill",
    limits: Limits = DEFAULT_LIMITS,
) -> Volume:
    """The one volume in files, folders and zips: slices ordered by where they lie, in an array with its affine.

    `series` is the Series Instance UID of the one that is meant, where there are several. `rescale` and `gaps` are
    those of `Volumes.load`. NotAVolume with the reason if there is none, or more than one (`volumes` gives them all),
    and DataSetError for an object that cannot be read, since the volume might lack it.
    """
    found = volumes(paths, limits=limits)
    damaged = next((one for one in found.left_out if one.damaged), None)
    if damaged is not None:
        raise DataSetError(f"{len(damaged.sources)} of {len(found.sources)} objects: {damaged.reason}")
    if series is None:
        return found.load(rescale=rescale, gaps=gaps)
    chosen = [stack for stack in found.stacks if stack.series == series]
    if not chosen and not any(one.series == series for one in found.left_out):
        raise UsageError("there is no series of this Series Instance UID")
    left_out = tuple(one for one in found.left_out if one.series == series)
    return Volumes(tuple(chosen), left_out, found.sources, limits).load(rescale=rescale, gaps=gaps)
