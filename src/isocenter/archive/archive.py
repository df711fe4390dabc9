"""The archive: what every skin and every command talks to.

All waiting happens in threads: the event loop only copies received bytes and examines small objects. Reading needs no
lock, because stored files never change and readers of the index see snapshots.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Self, TypeVar, cast

from isocenter.archive import audit, commitment, metadata
from isocenter.archive.commit import GroupCommit
from isocenter.archive.commitments import Commitments
from isocenter.archive.examine import Announced, Examiner
from isocenter.archive.feed import Feed
from isocenter.archive.ingest import Incoming, Intake, Outcome
from isocenter.archive.jobs import JobQueue
from isocenter.archive.lifecycle import DataFolder, require_index, sweep
from isocenter.archive.modality import ModalitySteps
from isocenter.archive.routing import Router
from isocenter.archive.work import Worklist
from isocenter.errors import NotFound, OutOfResources, StillWanted
from isocenter.index.base import Counts, Policy
from isocenter.index.sql import SqlIndex
from isocenter.model import Change, Found, InstanceRef, Origin, Query, Scope
from isocenter.settings import Settings
from isocenter.store.base import Blob
from isocenter.store.filesystem import FileStore
from isocenter.wire.limits import Limits
from isocenter.wire.part10 import file_meta

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from isocenter.pixels.image import Image
    from isocenter.pixels.known import KnownImages
    from isocenter.pixels.volume import Volumes

Statistics = Counts
_T = TypeVar("_T")
_ANSWERS = 512  # answers handed over at a time
# The disk is asked for each object; but one with gigabytes to spare is not full a tenth of a second later.
_PLENTY, _PLENTY_LASTS = 4 << 30, 0.1


class Archive:
    """An open data folder. One process at a time; any number of tasks of one event loop."""

    def __init__(
        self, folder: DataFolder, store: FileStore, index: SqlIndex, settings: Settings, clock: Callable[[], float]
    ) -> None:
        """Use `Archive.open`."""
        self.settings = settings
        self.set_aside: list[str] = []
        self._folder = folder
        self._store = store
        self._index = index
        self._threads = ThreadPoolExecutor(settings.archive_sync_threads, "isocenter-sync")
        self._readers = ThreadPoolExecutor(4, "isocenter-read")
        policy = cast(Policy, settings.archive_on_conflict)
        self._group = GroupCommit(store, index, policy, settings.archive_group_limit)
        self._log = audit.IngestLog()
        self._limits = limits = Limits.of(settings)
        self._intake = Intake(
            store, self._group, self._threads, limits, Examiner(limits), self._require_space, self._log
        )
        self._minimum_free = settings.archive_minimum_free
        self._free, self._free_until = 0, 0.0
        self.feed: Feed[Change] = Feed(self.changes)
        self.jobs = JobQueue(index.jobs, settings, clock=clock)
        self.work = Worklist(index.work, settings, clock)
        self.commitments = Commitments(index.work, self.jobs, self.commit, settings, clock)
        self.modality = ModalitySteps(index.work, settings, clock)
        self.router = index.routing = Router(settings, self.jobs.wake, self.feed.wake)
        self._pieces = metadata.Pieces()
        self._closed = False

    @classmethod
    async def open(
        cls,
        data: Path | str,
        settings: Settings | None = None,
        *,
        must_exist: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> Archive:
        """Open or make the data folder. `clock` (seconds since 1970) says when jobs are due.

        Raises DataFolderInUse when another process has it, DataFolderError when it is not usable, not there (with
        `must_exist`), made by a newer version, or has objects and no index; ArchiveBusy when the index stays locked.
        """
        return await asyncio.to_thread(cls._open, data, settings or Settings(), must_exist, clock)

    @classmethod
    def _open(cls, data: Path | str, settings: Settings, must_exist: bool, clock: Callable[[], float]) -> Archive:
        folder = DataFolder(data, must_exist=must_exist)
        try:
            store = FileStore(folder.path)
            require_index(folder, store)
            index = SqlIndex(folder.index)
            try:
                aside = sweep(store, index)
            except BaseException:
                index.close()
                raise
        except BaseException:
            folder.close()
            raise
        archive = cls(folder, store, index, settings, clock)
        archive.set_aside = aside
        return archive

    async def close(self) -> None:
        """Commit what waits and let go of the folder; harmless when repeated."""
        if self._closed:
            return
        self._closed = True
        await self.jobs.close()
        await asyncio.to_thread(self._close)
        self._log.flush()

    def _close(self) -> None:
        self._threads.shutdown()
        self._group.close()
        self._readers.shutdown()
        self._index.close()
        self._store.close()
        self._folder.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # --- in

    def begin(
        self,
        origin: Origin,
        *,
        transfer_syntax: str | None = None,
        sop_class: str | None = None,
        sop_instance: str | None = None,
    ) -> Incoming:
        """Begin to receive one object.

        With `transfer_syntax` the bytes will be a bare data set from a C-STORE; a Part 10 header is put in front, with
        the AE titles of `origin`, and the UIDs (both needed) must be the data set's. Without, they will be a Part 10
        file (or a bare data set, which is recognised). OutOfResources when the disk has less than
        `archive.minimum_free`.
        """
        self._require_space()
        if transfer_syntax is None:
            return Incoming(self._intake, origin, None, b"")
        announced = Announced(sop_class or "", sop_instance or "", transfer_syntax)
        header = file_meta(
            announced.sop_class,
            announced.sop_instance,
            transfer_syntax,
            calling_aet=origin.calling if origin.kind == "dimse" else "",
            called_aet=origin.called if origin.kind == "dimse" else "",
        )
        return Incoming(self._intake, origin, announced, header)

    def scratch(self) -> IO[bytes]:
        """An unnamed file in the data folder, which ends with its closing: for what comes in parts and becomes an
        object when all of it is there. OutOfResources as in `begin`."""
        self._require_space()
        try:
            return tempfile.TemporaryFile(dir=self._folder.path)
        except OSError as error:
            raise OutOfResources("the data disk takes no more files") from error

    def space(self) -> tuple[int, int]:
        """Bytes that are free on the data disk, and that it has."""
        disk = os.statvfs(self._folder.path)
        return disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize

    def _require_space(self) -> None:
        now = time.monotonic()
        if now < self._free_until and self._free - self._minimum_free > _PLENTY:
            return
        self._free, self._free_until = self.space()[0], now + _PLENTY_LASTS
        if self._free < self._minimum_free:
            raise OutOfResources("less space is free on the data disk than archive.minimum_free")

    async def ingest(self, stream: AsyncIterable[Buffer] | Iterable[Buffer], origin: Origin) -> Outcome:
        """Store one Part 10 file (or bare data set) that comes in pieces; errors as in `Incoming.commit`."""
        incoming = self.begin(origin)
        try:
            if isinstance(stream, AsyncIterable):
                async for chunk in stream:
                    incoming.write([chunk])
            else:
                for chunk in stream:
                    incoming.write([chunk])
                    await asyncio.sleep(0)
        except BaseException:
            incoming.abandon()
            raise
        return await incoming.commit()

    # --- known

    async def _read(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._readers, work)

    async def find(self, query: Query) -> list[Found]:
        """All answers in the stable order. BadRequest for values that cannot be matched."""
        return await self._read(lambda: list(self._index.find(query)))

    def find_stream(self, query: Query) -> AsyncGenerator[list[Found], None]:
        """The same answers some at a time, in bounded memory, from one snapshot; close it to stop early."""
        return self._stream(lambda: _grouped(self._index.find(query)))

    async def count(self, query: Query) -> int:
        """The number of answers, whatever the query's limit and offset."""
        return await self._read(lambda: self._index.count(query))

    async def tally(self, query: Query) -> dict[str, int]:
        """How many of the studies that are found have each modality."""
        return await self._read(lambda: self._index.tally(query))

    async def select(self, scope: Scope) -> list[InstanceRef]:
        """The instances of a scope in index order; NotFound if there are none."""
        found = await self._read(lambda: self._index.select(scope))
        if not found:
            raise NotFound("nothing is stored there")
        return found

    def blob(self, ref: InstanceRef) -> Blob:
        """The Part 10 file of an instance, open for reading. NotFound when it is gone (`isocenter check` says why)."""
        return self._store.open(ref.blob)

    @cached_property
    def _known_images(self) -> KnownImages:
        # Decoders take long to import, and most commands need none
        from isocenter.pixels.kept_places import KeptPlaces
        from isocenter.pixels.known import KnownImages

        return KnownImages(self.settings.archive_known_images, KeptPlaces(self._folder.frames, self._store.exists))

    @contextmanager
    def image(self, ref: InstanceRef) -> Iterator[Image]:
        """The image of an instance, its bytes mapped while the context lasts; blocking, for a thread.

        Where its frames lie is found out once and kept (`archive.known_images`, and on the disk what took a walk), so
        that a frame of a long object costs what one of a short object does. Raises as `blob` and `Image.of`.
        """
        with self.blob(ref) as blob, blob.view() as view:
            where = ref.transfer_syntax, ref.data_set_offset
            with self._known_images.image(ref.blob, view, *where, self._limits, ref.digest) as image:
                yield image

    async def volumes(self, scope: Scope) -> Volumes:
        """The volumes of a scope, and what is in none of them and why; `load` reads their pixels, blocking.

        NotFound if there are no instances.
        """
        from isocenter.archive.volumes import StoredSource
        from isocenter.pixels.volume import survey

        sources = [StoredSource(self._store, ref) for ref in await self.select(scope)]
        return await self._read(lambda: survey(sources, self._limits))

    async def metadata(self, scope: Scope) -> metadata.Metadata:
        """The DICOM JSON of a scope's instances, to be read in one of its forms; NotFound if there are none."""
        return await self._read(
            lambda: metadata.Metadata(
                self._store, self._index, scope, self._pieces, lambda it: self._stream(lambda: it)
            )
        )

    async def _stream(self, begin: Callable[[], Iterator[_T]]) -> AsyncGenerator[_T, None]:
        """Step a blocking iterator in the reading threads, one step ahead of the consumer at most."""
        iterator = begin()
        end = object()
        try:
            while (item := await self._read(lambda: next(iterator, end))) is not end:
                yield cast(_T, item)
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                await self._read(close)

    async def changes(self, since: int, limit: int = 1000) -> list[Change]:
        """What happened after entry `since` of the change feed, oldest first."""
        return await self._read(lambda: self._index.changes(since, limit))

    async def last_change(self) -> int:
        """The newest entry of the change feed; 0 if nothing happened yet."""
        return await self._read(self._index.last_change)

    async def statistics(self) -> Statistics:
        """How much is stored."""
        return await self._read(self._index.counts)

    async def commit(self, objects: Sequence[commitment.Object]) -> dict[commitment.Object, commitment.Doubt]:
        """Of `objects` (SOP Class and Instance UID), those whose safekeeping the archive does not answer for, and why.

        Every byte of the others was read from the disk and is what was stored. Takes as long as that does, and leaves
        the reading threads to others in between. Raises OutOfResources, ArchiveBusy.
        """
        found: dict[commitment.Object, commitment.Doubt] = {}
        for some in commitment.portions(objects, commitment.LOOKED_UP):
            rows = await self._read(partial(commitment.kept, self._index, some))
            for few in commitment.portions(some, commitment.AT_ONCE):
                found |= await self._read(partial(commitment.doubts, self._store, rows, few))
        return found

    # --- out

    async def delete(self, scope: Scope, reason: str, by: str = "", *, unless_wanted: bool = False) -> int:
        """Delete instances with all bytes that ever came under their UIDs; the number of files. NotFound if none.

        The index row goes first; the change feed keeps scope, reason and who it was (`by`). With `unless_wanted` raises
        StillWanted if something is yet to be done with one of them for a peer.
        """

        def work() -> int:
            if unless_wanted:
                job = self._index.jobs.wanting([ref.instance for ref in self._index.select(scope)])
                if job is not None:
                    raise StillWanted(f"job {job} is yet to be done with what would be deleted")
            blobs = self._index.delete(scope, reason, by)
            self._store.delete(blobs, durable=True)
            self._index.forget(blobs)
            if self._folder.frames.exists():
                self._known_images.forget(blobs)
            return len(blobs)

        count = await self._read(work)
        self.feed.wake()
        audit.deleted(scope, count, reason, by)
        return count


def _grouped(found: Iterator[Found]) -> Iterator[list[Found]]:
    """The first answer alone, so that it does not wait; then ever more at a time."""
    group: list[Found] = []
    size = 1
    for one in found:
        group.append(one)
        if len(group) >= size:
            yield group
            group, size = [], min(size * 4, _ANSWERS)
    if group:
        yield group
