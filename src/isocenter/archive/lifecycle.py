"""The data folder: its lock, its layout, and putting things right at the start.

    data/isocenter.lock   held (flock) by the process that uses the folder; released by the kernel however it ends
    data/index.sqlite     the index, with its -wal and -shm
    data/objects/         the blobs
    data/frames/          where frames of long objects lie, to be lost at any time (pixels/kept_places.py)
    data/set-aside/       files that were found without a row

A file without a row was never acknowledged, or its row's deletion was not finished. The first kind is moved to
`set-aside/`, the second (the index knows it as doomed) is removed. Only folders that were in use since the last start
can hold such files, because names are ordered in time; so a start does not look at millions of old ones.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from isocenter.archive.audit import log
from isocenter.errors import DataFolderError, DataFolderInUse
from isocenter.index.base import Housekeeping
from isocenter.store.base import BlobStore

INDEX_NAME = "index.sqlite"
LOCK_NAME = "isocenter.lock"
_SWEPT = "swept"
_AFTER = "~"  # compares above every name of the store


class DataFolder:
    """A locked data folder. DataFolderInUse when another process has it, DataFolderError when it is not usable."""

    def __init__(self, path: Path | str, *, must_exist: bool = False) -> None:
        self.path = Path(path)
        if must_exist and not (self.path / INDEX_NAME).exists() and not (self.path / "objects").is_dir():
            raise DataFolderError(f"{self.path} is not a data folder of Isocenter")
        if self.path.exists() and not self.path.is_dir():
            raise DataFolderError(f"{self.path} is a file and not a folder")
        try:
            if not must_exist:
                self.path.mkdir(mode=0o750, parents=True, exist_ok=True)
            self._lock = os.open(self.path / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise DataFolderError(f"{self.path}: {os.strerror(error.errno or 0)}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._lock, 32, 0).decode("ascii", "replace").strip()
            os.close(self._lock)
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise DataFolderInUse(
                    f"{self.path} is in use" + (f" by process {holder}" if holder.isdigit() else "")
                ) from None
            raise DataFolderError(f"{self.path} cannot be locked: {os.strerror(error.errno or 0)}") from error
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

    @property
    def index(self) -> Path:
        return self.path / INDEX_NAME

    @property
    def frames(self) -> Path:
        return self.path / "frames"

    def close(self) -> None:
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.ftruncate(lock, 0)
            os.close(lock)


def require_index(folder: DataFolder, store: BlobStore) -> None:
    """Refuse to begin an empty index over stored objects: all of them would look like orphans."""
    if folder.index.exists() or next(iter(store.list()), None) is None:
        return
    raise DataFolderError(
        f"{folder.path} has objects but no index; `isocenter check --rebuild` makes the index anew from them"
    )


def sweep(store: BlobStore, index: Housekeeping) -> list[str]:
    """Finish deletions and set aside files without a row, at the start, before anything is written; the files' new
    places."""
    doomed = index.doomed()
    if doomed:
        store.delete(doomed, durable=True)
        index.forget(doomed)
    since, _, after = (index.fact(_SWEPT) or "\t0").partition("\t")
    known = index.known_blobs(int(after))
    orphans: list[tuple[str, int]] = []
    for name, size in store.list(since and since + _AFTER):
        if name not in known:
            orphans.append((name, size))
    if orphans:
        # Rare, and the price of a mistake would be an object: ask for every row before a file is moved.
        known = index.known_blobs(0)
    aside = []
    for name, size in orphans:
        if name in known:
            continue
        if size:
            aside.append(store.set_aside(name))
        else:
            store.delete([name])
    if aside:
        log.warning("%d files without an index row were set aside; `isocenter check` says more", len(aside))
    mark_swept(store, index)
    return aside


def mark_swept(store: BlobStore, index: Housekeeping) -> None:
    """Note that every folder there is now has been looked at. The next writer begins another one."""
    mark = f"{store.last_folder()}\t{index.last_instance()}"
    if mark != index.fact(_SWEPT):
        index.set_fact(_SWEPT, mark)
