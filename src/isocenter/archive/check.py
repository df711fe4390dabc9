"""Verifying a data folder, and making its index anew from the files alone.

`check` reads every byte: each object's digest against the one in its row, each row against a file, each file against a
row. `rebuild` needs no old index. Blob names are ordered in time, so the files are met in the order in which they
were begun and the conflict policy decides about the same UID as it did then. What only the index knew is lost with it:
where objects came from (but for the AE title in the file), the change feed, and reasons of deletion. But jobs are taken
over from the old index if that can be read.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from isocenter.archive.audit import log
from isocenter.archive.examine import Announced, Examiner
from isocenter.archive.lifecycle import DataFolder, mark_swept
from isocenter.errors import DataFolderError, IsocenterError, NotFound
from isocenter.index.base import BlobRow, Entry, Index, Policy
from isocenter.index.sql import SqlIndex
from isocenter.model import Origin, Scope
from isocenter.settings import Settings
from isocenter.store.base import Blob, BlobStore
from isocenter.store.filesystem import FileStore
from isocenter.wire.limits import Limits
from isocenter.wire.part10 import read_header

Progress = Callable[[int, int], None]
_BUFFER = 1 << 20
_BATCH = 256


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be. `blob` is the store's name of the file.

    "missing": a row without file. "size", "digest", "header": the file is not what was stored (in length, in the data
    set's bytes, in those before it). "unreadable": the file cannot be read or is no whole object. "extra": a file
    without row. "duplicate": a second file with the same bytes. "jobs": those of the old index, which is `blob`, could
    not be read.
    """

    kind: Literal["missing", "size", "digest", "header", "unreadable", "extra", "duplicate", "jobs"]
    blob: str
    scope: Scope | None = None
    detail: str = ""


@dataclass(slots=True)
class Report:
    """What a check or a rebuild saw: files and their bytes in all, and what is wrong."""

    files: int = 0
    bytes: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        return not self.findings


@contextmanager
def _locked(data: Path | str) -> Iterator[tuple[DataFolder, FileStore]]:
    folder = DataFolder(data, must_exist=True)
    try:
        yield folder, FileStore(folder.path)
    finally:
        folder.close()


def check_folder(data: Path | str, settings: Settings | None = None, progress: Progress | None = None) -> Report:
    """Verify a data folder that no server uses; blocking. `progress` is told files done and in all.

    Raises DataFolderInUse, DataFolderError; what is wrong inside is in the report.
    """
    with _locked(data) as (folder, store):
        if not folder.index.exists():
            raise DataFolderError(f"{folder.path} has no index; `isocenter check --rebuild` makes it from the files")
        index = SqlIndex(folder.index)
        try:
            return check(store, index, progress)
        finally:
            index.close()


def check(store: BlobStore, index: Index, progress: Progress | None = None) -> Report:
    """Verify every blob against its row and every row against its blob; blocking."""
    report = Report()
    # The files first: what comes in meanwhile has a row by the time the rows are read.
    extra = dict(store.list())
    total = len(extra)
    for row in index.blobs():
        extra.pop(row.blob, None)
        report.files += 1
        finding = verify(store, row)
        if finding is not None:
            report.findings.append(finding)
        else:
            report.bytes += row.size
        if progress is not None:
            progress(report.files, max(total, report.files))
    report.findings.extend(Finding("extra", name, None, f"{size} bytes") for name, size in extra.items())
    return report


def verify(store: BlobStore, row: BlobRow) -> Finding | None:
    """Compare one blob with its row, byte by byte; None if it is sound. Blocking."""
    try:
        blob = store.open(row.blob)
    except NotFound:
        return Finding("missing", row.blob, row.scope)
    except IsocenterError as error:
        return Finding("unreadable", row.blob, row.scope, error.message)
    with blob:
        if blob.size != row.size:
            return Finding("size", row.blob, row.scope, f"{blob.size} bytes, not {row.size}")
        try:
            header, data = _digests(blob, row.data_set_offset)
        except OSError as error:
            return Finding("unreadable", row.blob, row.scope, os.strerror(error.errno or 0))
    if data != row.digest:
        return Finding("digest", row.blob, row.scope)
    return Finding("header", row.blob, row.scope) if header != row.header_digest else None


def _digests(blob: Blob, split: int) -> tuple[bytes, bytes]:
    """SHA-256 of what stands before `split`, and from there on."""
    header = hashlib.sha256(blob.read(0, split)).digest()
    data = hashlib.sha256()
    at = split
    while part := blob.read(at, _BUFFER):
        data.update(part)
        at += len(part)
    return header, data.digest()


def rebuild(data: Path | str, settings: Settings | None = None, progress: Progress | None = None) -> Report:
    """Make the index anew from the files of a data folder that no server uses; blocking.

    The old index, if there is one, stays as `index.before-rebuild.sqlite`. Files that are no whole objects, and second
    copies of the same bytes, are set aside and reported.
    """
    settings = settings or Settings()
    with _locked(data) as (folder, store):
        fresh = folder.path / "index.rebuild.sqlite"
        _remove(fresh)
        index = SqlIndex(fresh)
        try:
            report = _fill(store, index, settings, progress)
            _take_over(folder.index, index, report)
            mark_swept(store, index)
        finally:
            index.close()
        _exchange(folder.index, fresh)
        return report


def _fill(store: BlobStore, index: SqlIndex, settings: Settings, progress: Progress | None) -> Report:
    report = Report()
    limits = Limits.of(settings)
    examiner = Examiner(limits)
    # A refused object left no file: whichever came first is the one that was kept.
    policy: Policy = "replace" if settings.archive_on_conflict == "replace" else "keep-first"
    names = [name for name, _ in store.list()]
    batch: list[Entry] = []
    for done, name in enumerate(names, 1):
        try:
            batch.append(_entry(store, name, examiner, limits))
        except (IsocenterError, OSError) as error:
            why = error.message if isinstance(error, IsocenterError) else os.strerror(error.errno or 0)
            report.findings.append(Finding("unreadable", name, None, why))
            store.set_aside(name)
        if len(batch) == _BATCH or (done == len(names) and batch):
            for entry, applied in zip(batch, index.apply(batch, policy), strict=True):
                report.files += 1
                report.bytes += entry.size
                if applied.leftover:
                    report.findings.append(Finding("duplicate", entry.blob, applied.ref.scope))
                    store.set_aside(entry.blob)
            batch = []
        if progress is not None:
            progress(done, len(names))
    return report


def _take_over(old: Path, index: SqlIndex, report: Report) -> None:
    if not old.exists():
        return
    try:
        before = SqlIndex(old)
        try:
            count = index.jobs.take_over(before.jobs)
            steps = index.work.take_over(before.work)
        finally:
            before.close()
    except IsocenterError as error:
        report.findings.append(Finding("jobs", old.name, None, error.message))
    else:
        log.info("%d jobs and %d steps of work were taken over from the old index", count, steps)


def _entry(store: BlobStore, name: str, examiner: Examiner, limits: Limits) -> Entry:
    with store.open(name) as blob:
        view = blob.view()
        meta = read_header(view, limits)
        announced = Announced("", "", meta.transfer_syntax)
        keys, _ = examiner.examine(view, meta.data_set_offset, announced)
        header, data = _digests(blob, meta.data_set_offset)
        origin = Origin("rebuild", calling=(meta.source_aet or "")[:16])
        # The name may have lain ready for a while; the file was last written when the object came.
        at = _moment(os.fstat(blob.fileno()).st_mtime)
        return Entry(
            keys, meta.transfer_syntax, name, blob.size, meta.data_set_offset, data, header, origin, at
        )  # fmt: skip


def _moment(seconds: float) -> str:
    try:
        at = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        at = datetime.fromtimestamp(0, UTC)  # a clock that was far off
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _exchange(old: Path, fresh: Path) -> None:
    """Put the new index in the old one's place. In between there is none, which the next start notices."""
    backup = old.with_name("index.before-rebuild.sqlite")
    descriptor = os.open(fresh, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if old.exists():
        _remove(backup)
        for suffix in ("-wal", "-shm", ""):
            part = Path(f"{old}{suffix}")
            if part.exists():
                part.rename(f"{backup}{suffix}")
    # A log left behind by another index must not meet the new one.
    for suffix in ("-wal", "-shm"):
        Path(f"{old}{suffix}").unlink(missing_ok=True)
    fresh.rename(old)
    descriptor = os.open(old.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    log.info("the index was made anew")


def _remove(database: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{database}{suffix}").unlink(missing_ok=True)
