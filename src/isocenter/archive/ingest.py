"""One object on its way in, in the order of truth:

bytes into a file whose name is ours, hashed as they come -> keys and structure read from the bytes -> fdatasync ->
the directory entry made durable -> the index row committed -> only then the caller hears of success.

`write` runs in the event loop and only copies into the page cache. Hashing follows in a thread, reading the file back
from the page cache, so that it overlaps with receiving and with fdatasync and no more than one buffer is held. The
examination runs while fdatasync waits for the disk.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from isocenter.archive import audit
from isocenter.archive.commit import GroupCommit, Waiting
from isocenter.archive.examine import Announced, examine
from isocenter.errors import DataSetError, DuplicateInstance, InvalidUID, IsocenterError, LimitExceeded, TruncatedError
from isocenter.index.base import Applied, Entry
from isocenter.index.keys import Keys
from isocenter.index.sql_write import now
from isocenter.model import InstanceRef, Origin
from isocenter.store.base import BlobStore, BlobWriter
from isocenter.wire.limits import Limits
from isocenter.wire.part10 import file_meta, preamble_is_safe, read_header

if TYPE_CHECKING:
    from typing_extensions import Buffer

_BUFFER = 1 << 20
_HASH_LAG = 8 << 20  # hash in the background when this much is waiting
_INLINE = 1 << 20  # objects up to this size are examined in the event loop: a thread would cost more
_INLINE_HASH = 64 << 10
# The file meta information is written anew where it is missing or says the wrong thing about the data set.
_HEADER_UNFIT = frozenset(
    {"no-file-meta", "no-preamble", "no-transfer-syntax", "transfer-syntax-mismatch", "implicit-file-meta"}
)
_buffers = threading.local()


@dataclass(frozen=True)
class Outcome:
    """What became of an object that was taken: `ref` is the instance that is visible under its UID now.

    "kept-first" and "replaced" mean that other bytes had come under the same UID; the bytes that are not visible are
    kept aside. `warnings`: words of `isocenter.index.base.Applied` and of the scanner's flags.
    """

    kind: Literal["stored", "already-there", "kept-first", "replaced"]
    ref: InstanceRef
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Intake:
    """What every object on its way in needs of the archive."""

    store: BlobStore
    group: GroupCommit
    threads: Executor
    limits: Limits


class _Digest:
    """SHA-256 of a file's two parts, computed behind the writer."""

    def __init__(self, writer: BlobWriter, split: int) -> None:
        self._writer = writer
        self._header = hashlib.sha256()
        self._data = hashlib.sha256()
        self._split = split
        self._at = 0

    @property
    def at(self) -> int:
        return self._at

    def follow(self, end: int) -> None:
        """Hash up to `end`; blocking, one call at a time."""
        buffer = getattr(_buffers, "view", None)
        if buffer is None:
            buffer = _buffers.view = memoryview(bytearray(_BUFFER))
        while self._at < end:
            in_header = self._at < self._split
            wanted = min((self._split if in_header else end) - self._at, end - self._at, _BUFFER)
            count = self._writer.read(self._at, buffer[:wanted])
            if not count:
                raise TruncatedError("the file is shorter than what was written to it")
            (self._header if in_header else self._data).update(buffer[:count])
            self._at += count

    def digests(self) -> tuple[bytes, bytes]:
        return self._data.digest(), self._header.digest()


class Incoming:
    """One object being received. Not for two tasks at a time; ends with `commit` or `abandon`."""

    def __init__(self, intake: Intake, origin: Origin, announced: Announced | None, header: bytes) -> None:
        self._intake = intake
        self._origin = origin
        self._announced = announced
        self._header: bytes = header
        self._offset = len(header)
        self._writer = intake.store.create()
        self._digest: _Digest | None = None
        self._hashing: Future[None] | None = None
        self._flags: frozenset[str] = frozenset()
        self._fit = True
        self._ended = False

    @property
    def size(self) -> int:
        """Bytes in the file so far."""
        return self._writer.size

    def write(self, chunks: Sequence[Buffer]) -> None:
        """Append received bytes: of the data set when a transfer syntax was given to `begin`, else of the file.

        Raises OutOfResources when the disk is full and LimitExceeded over `limits.object_bytes`; the object is gone
        then and `commit` must not follow.
        """
        if self._header:
            chunks = [self._header, *chunks]
            self._header = b""
        try:
            self._writer.write(chunks)
            if self._writer.size > self._intake.limits.object_bytes:
                raise LimitExceeded("the object is larger than limits.object_bytes")
        except IsocenterError as error:
            audit.refused(error, self._origin)
            self.abandon()
            raise
        if self._writer.size - (self._digest.at if self._digest else 0) > _HASH_LAG:
            self._hash_behind()

    def _hash_behind(self) -> None:
        if self._hashing is not None and not self._hashing.done():
            return
        if self._digest is None:
            try:
                fit = self._announced is not None or self._read_file_meta()
            except IsocenterError:
                return  # commit meets the same and says so
            if not fit:
                return  # the header will be made anew, and the file with it
            self._digest = _Digest(self._writer, self._offset)
        self._hashing = self._intake.threads.submit(self._digest.follow, self._writer.size)

    def _read_file_meta(self) -> bool:
        """Learn from a Part 10 header what the data set is; whether that header can stay."""
        view = self._writer.view()
        meta = read_header(view, self._intake.limits)
        self._flags |= meta.flags
        if meta.has_preamble and not preamble_is_safe(view[:128]):
            self._writer.rewrite(0, bytes(128))
            self._flags |= {"preamble-overwritten"}
        self._offset = meta.data_set_offset
        self._announced = Announced(meta.sop_class, meta.sop_instance, meta.transfer_syntax)
        self._fit = not meta.flags & _HEADER_UNFIT
        return self._fit

    def _renew_header(self) -> None:
        """Copy the data set behind a header that says the right thing; blocking, for rare files."""
        assert self._announced is not None
        said = self._announced
        if not said.sop_class or not said.sop_instance:
            raise DataSetError("neither file meta information nor data set name SOP Class and Instance")
        try:
            header = file_meta(said.sop_class, said.sop_instance, said.transfer_syntax)
        except UnicodeEncodeError:
            raise InvalidUID("UID is malformed") from None
        old, view = self._writer, self._writer.view()
        new = self._intake.store.create()
        try:
            new.write([header])
            for at in range(self._offset, old.size, 8 * _BUFFER):
                new.write([view[at : at + 8 * _BUFFER]])
        except BaseException:
            new.abandon()
            raise
        self._writer, self._offset, self._digest = new, len(header), None
        old.abandon()

    def abandon(self) -> None:
        """Give up and remove what was written; harmless when repeated."""
        if self._ended:
            return
        self._ended = True
        _end([self._hashing] if self._hashing else [], self._writer.abandon)

    async def commit(self) -> Outcome:
        """Make the object durable and visible; returns only then.

        Raises DataSetError and its kin for bytes that are refused, DuplicateInstance by policy, OutOfResources and
        ArchiveBusy. Nothing of a refused object is kept. When the waiting task is cancelled, the object may still
        become visible.
        """
        if self._ended:
            raise RuntimeError("the object was committed or abandoned before")
        try:
            applied = await self._commit()
        except IsocenterError as error:
            audit.refused(error, self._origin)
            raise
        audit.ingested(applied, self._origin)
        if applied.kind == "rejected":
            raise DuplicateInstance("an instance with this UID and other bytes is stored")
        return Outcome(applied.kind, applied.ref, applied.warnings + tuple(sorted(self._flags)))

    async def _commit(self) -> Applied:
        loop, threads = asyncio.get_running_loop(), self._intake.threads
        try:
            if self._header:
                self.write([])
            if self._announced is None:
                self._read_file_meta()
            if not self._fit:
                await loop.run_in_executor(threads, self._renew_header)
        except BaseException:
            self.abandon()
            raise
        self._ended = True
        writer, size = self._writer, self._writer.size
        digest = self._digest or _Digest(writer, self._offset)
        work = [threads.submit(writer.sync)]
        try:
            if self._hashing is not None:
                # At most one buffer's worth behind; its errors are those of the next reading.
                await asyncio.wait([asyncio.wrap_future(self._hashing)])
            if size - digest.at > _INLINE_HASH:
                work.append(threads.submit(digest.follow, size))
            else:
                digest.follow(size)
            if size <= _INLINE:
                keys = self._examine()
            else:
                keys = await loop.run_in_executor(threads, self._examine)
        except BaseException:
            _end(work, writer.abandon)
            raise
        done: asyncio.Future[Applied] = loop.create_future()
        _end(work, lambda: self._hand_over(work, keys, digest, loop, done))
        return await done

    def _examine(self) -> Keys:
        assert self._announced is not None
        keys, flags = examine(self._writer.view(), self._offset, self._announced, self._intake.limits)
        self._flags |= flags
        return keys

    def _hand_over(
        self,
        work: Sequence[Future[None]],
        keys: Keys,
        digest: _Digest,
        loop: asyncio.AbstractEventLoop,
        done: asyncio.Future[Applied],
    ) -> None:
        """The bytes are durable, or are not: to the index with them, or away. In whichever thread was last."""
        assert self._announced is not None
        writer = self._writer
        error = next((failed for future in work if (failed := future.exception()) is not None), None)
        if error is not None:
            writer.abandon()
            loop.call_soon_threadsafe(_fail, done, error)
            return
        writer.close()
        data, header = digest.digests()
        entry = Entry(
            keys,
            self._announced.transfer_syntax,
            writer.name,
            writer.size,
            self._offset,
            data,
            header,
            self._origin,
            now(),
        )
        self._intake.group.put(Waiting(entry, loop, done))


def _fail(done: asyncio.Future[Applied], error: BaseException) -> None:
    if not done.done():
        done.set_exception(error)


def _end(work: Sequence[Future[None]], then: Callable[[], None]) -> None:
    """Do `then` when all of `work` is over; no descriptor is closed under a thread that uses it."""
    left = len(work)
    if not left:
        then()
        return
    lock = threading.Lock()

    def finished(_: Future[None]) -> None:
        nonlocal left
        with lock:
            left -= 1
            last = not left
        if last:
            then()

    for future in work:
        future.add_done_callback(finished)
