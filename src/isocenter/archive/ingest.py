"""One object on its way in, in the order of truth:

bytes into a file whose name is ours, hashed as they come -> keys and structure read from the bytes -> fdatasync ->
the directory entry made durable -> the index row committed -> only then the caller hears of success.

`write` runs in the event loop and only copies into the page cache. Objects up to _SMALL are kept in memory until the
group commit hashes and examines them, while the disk is busy with their bytes. Those up to _INLINE are hashed as they
come and examined in the event loop. Hashing of larger ones follows in a thread, reading the file back from the page
cache, so that it overlaps with receiving and with fdatasync and no more than one buffer is held; they are examined
while fdatasync waits for the disk.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from isocenter.archive import audit
from isocenter.archive.commit import GroupCommit, Waiting
from isocenter.archive.examine import Announced, Examiner
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
_SPACE_EVERY = 4 << 20  # ask again for the reserve of free space
_HASTEN_EVERY = 1 << 20  # the disk begins to write when this much more has come
_HASH_LAG = 8 << 20  # hash in the background when this much is waiting
_INLINE = 1 << 20  # objects up to this size are examined in the event loop: a thread would cost more
_SMALL = 128 << 10  # objects up to this size are kept in memory until they are committed
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
    examiner: Examiner
    require_space: Callable[[], None]
    log: audit.IngestLog


class _Digest:
    """SHA-256 of a file's two parts, header and data set, which are divided at `split`."""

    def __init__(self, split: int) -> None:
        self._header = hashlib.sha256()
        self._data = hashlib.sha256()
        self._split = split
        self.at = 0

    def update(self, chunk: Buffer) -> None:
        """Hash the next bytes, which the caller has at hand."""
        view = memoryview(chunk).cast("B")
        left = self._split - self.at
        if left > 0:
            self._header.update(view[:left])
            view = view[left:]
            self.at = min(self._split, self.at + memoryview(chunk).nbytes)
        if view:
            self._data.update(view)
            self.at += len(view)

    def follow(self, writer: BlobWriter, end: int) -> None:
        """Hash what `writer` wrote up to `end`; blocking, one call at a time."""
        buffer = getattr(_buffers, "view", None)
        if buffer is None:
            buffer = _buffers.view = memoryview(bytearray(_BUFFER))
        while self.at < end:
            count = writer.read(self.at, buffer[: min(end - self.at, _BUFFER)])
            if not count:
                raise TruncatedError("the file is shorter than what was written to it")
            self.update(buffer[:count])

    def digests(self) -> tuple[bytes, bytes]:
        return self._data.digest(), self._header.digest()


class Incoming:
    """One object being received. Not for two tasks at a time; ends with `commit` or `abandon`."""

    def __init__(self, intake: Intake, origin: Origin, announced: Announced | None, header: bytes) -> None:
        self._intake = intake
        self._origin = origin
        self._announced = announced
        self._from_file = announced is None
        self._header: bytes = header
        self._offset = len(header)
        self._writer = intake.store.create()
        self._small: list[bytes] | None = []  # all of it, as long as it is small
        self._digest: _Digest | None = None if announced is None else _Digest(self._offset)
        self._hashing: Future[None] | None = None
        self._space_at = _SPACE_EVERY
        self._hasten_at = _HASTEN_EVERY
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
        writer = self._writer
        try:
            writer.write(chunks)
            if writer.size >= self._hasten_at:
                self._hasten_at = writer.size + _HASTEN_EVERY
                writer.hasten()
            if writer.size > self._space_at:
                self._space_at = writer.size + _SPACE_EVERY
                self._intake.require_space()
            if writer.size > self._intake.limits.object_bytes:
                raise LimitExceeded("the object is larger than limits.object_bytes")
        except IsocenterError as error:
            audit.refused(error, self._origin)
            self.abandon()
            raise
        if self._small is not None:
            if writer.size <= _SMALL:
                # The caller uses its buffers again; a copy of a small object is cheaper than mapping its file.
                self._small.append(b"".join(chunks))
                return
            chunks, self._small = [*self._small, *chunks], None
        digest = self._digest
        if digest is not None and writer.size <= _INLINE:
            for chunk in chunks:
                digest.update(chunk)
        if writer.size - (digest.at if digest else 0) > _HASH_LAG:
            self._hash_behind()

    def _hash_behind(self) -> None:
        if self._hashing is not None and not self._hashing.done():
            return
        if self._digest is None:
            try:
                fit = self._announced is not None or self._read_file_meta(self._writer.view())
            except IsocenterError:
                return  # commit meets the same and says so
            if not fit:
                return  # the header will be made anew, and the file with it
            self._digest = _Digest(self._offset)
        self._hashing = self._intake.threads.submit(self._digest.follow, self._writer, self._writer.size)

    def _read_file_meta(self, data: memoryview | bytes) -> bool:
        """Learn from a Part 10 header what the data set is; whether that header can stay."""
        meta = read_header(data, self._intake.limits)
        self._flags |= meta.flags
        self._offset = meta.data_set_offset
        self._announced = Announced(meta.sop_class, meta.sop_instance, meta.transfer_syntax)
        self._fit = not meta.flags & _HEADER_UNFIT
        if self._fit and not preamble_is_safe(data[:128]):
            self._writer.rewrite(0, bytes(128))
            self._small = None  # what is in the file counts now
            self._flags |= {"preamble-overwritten"}
        return self._fit

    def _renew_header(self, said: Announced) -> None:
        """Copy the data set behind a header that says the right thing; blocking, for rare files."""
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
        self._writer, self._offset, self._small = new, len(header), None
        self._digest, self._hashing = None, None
        self._announced = said
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
        self._intake.log.add(applied, self._origin)
        if applied.kind == "rejected":
            raise DuplicateInstance("an instance with this UID and other bytes is stored")
        return Outcome(applied.kind, applied.ref, applied.warnings + tuple(sorted(self._flags)))

    async def _commit(self) -> Applied:
        try:
            if self._header:
                self.write([])
            if self._small is not None:
                self._small = [b"".join(self._small)]  # once, for all who look at it below
            if self._announced is None:
                self._read_file_meta(self._writer.view() if self._small is None else self._small[0])
            if not self._fit and self._announced is not None:
                await self._renew(self._announced)
            keys = await self._agree() if self._from_file else None
        except BaseException:
            self.abandon()
            raise
        self._ended = True
        writer, threads = self._writer, self._intake.threads
        together = writer.size <= _INLINE
        waiting = Waiting(writer, asyncio.get_running_loop(), durable=not together)
        if self._small is not None:
            waiting.prepare = partial(self._prepare, self._small[0], keys)
            self._intake.group.put(waiting)
            return await waiting.done
        work: list[Future[None]] = []
        if not together:
            work.append(threads.submit(writer.sync))
        try:
            await self._hash(work)
            keys = keys or await self._examine()
        except IsocenterError as error:
            waiting.error = error
        except BaseException as error:
            waiting.error = error
            waiting.done.cancel()
            raise
        finally:
            _end(work, lambda: self._hand_over(waiting, work, keys))
        return await waiting.done

    async def _agree(self) -> Keys:
        """A file's header is repaired where it names another object: the data set counts."""
        said = self._announced
        assert said is not None
        keys = await self._examine()
        if (said.sop_class, said.sop_instance) != _names(keys):
            self._flags |= {"file-meta-mismatch"}
            await self._renew(Announced(*_names(keys), said.transfer_syntax))
        return keys

    async def _renew(self, said: Announced) -> None:
        await asyncio.get_running_loop().run_in_executor(self._intake.threads, self._renew_header, said)

    async def _hash(self, work: list[Future[None]]) -> None:
        """Finish the digest, or leave it to `work`."""
        if self._hashing is not None:
            # Its errors are met again by the next reading.
            await asyncio.gather(asyncio.wrap_future(self._hashing), return_exceptions=True)
        digest = self._digest = self._digest or _Digest(self._offset)
        if digest.at == self._writer.size:
            return
        work.append(self._intake.threads.submit(digest.follow, self._writer, self._writer.size))

    async def _examine(self) -> Keys:
        """See what the bytes say, meanwhile."""
        if self._small is not None:
            return self._look(self._small[0])
        if self._writer.size <= _INLINE:
            return self._look(self._writer.view())
        return await asyncio.get_running_loop().run_in_executor(self._intake.threads, self._look, self._writer.view())

    def _look(self, data: memoryview | bytes) -> Keys:
        said = self._announced
        assert said is not None
        if self._from_file:
            said = Announced("", "", said.transfer_syntax)
        keys, flags = self._intake.examiner.examine(data, self._offset, said)
        self._flags |= flags
        return keys

    def _prepare(self, data: bytes, keys: Keys | None) -> Entry:
        """What goes to the index of a small object, `data` being all of it; in the thread that commits."""
        keys = keys or self._look(data)
        digest = _Digest(self._offset)
        digest.update(data)
        return self._entry(keys, digest)

    def _entry(self, keys: Keys, digest: _Digest) -> Entry:
        said, writer = self._announced, self._writer
        assert said is not None
        return Entry(
            keys, said.transfer_syntax, writer.name, writer.size, self._offset, *digest.digests(), self._origin, now()
        )

    def _hand_over(self, waiting: Waiting, work: Sequence[Future[None]], keys: Keys | None) -> None:
        """The bytes are whole and hashed: to the index with them, or away. In whichever thread was last."""
        digest = self._digest
        failed = next((error for future in work if (error := future.exception()) is not None), None)
        waiting.error = waiting.error or failed
        if waiting.error is None:
            assert keys is not None
            assert digest is not None
            waiting.entry = self._entry(keys, digest)
        self._intake.group.put(waiting)


def _names(keys: Keys) -> tuple[str, str]:
    return keys.sop_class, keys.image.uid


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
