"""Group commit: bytes, names and rows made durable for all objects that wait at that moment.

A single thread takes whatever has gathered while it was busy. It has the disk begin with the bytes, and meanwhile
looks at small objects and writes the rows, in a transaction that is committed when bytes and directory entries are
durable; until then nobody sees the rows, and a power cut leaves none of them. Nobody waits for company: one object
alone is committed at once, and while that happens the next ones gather.

While the transaction is open no other process can write to the index. Where the disk takes long over the bytes it is
given up, and begun anew when they are durable.

One thread and not a pool: a hand-over from thread to thread costs more of the processor than it spares, and files of
which the disk heard before the first is waited for share the commit of its journal (measured with four at a time:
5,900/s instead of 3,400/s at 39 KiB, 2,000/s instead of 1,400/s at 512 KiB).
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import cast

from isocenter.archive.audit import log
from isocenter.errors import ArchiveBusy, IsocenterError, OutOfResources
from isocenter.index.base import Applied, Entry, Index, Policy
from isocenter.store.base import BlobStore, BlobWriter

_HELD = 1.0  # seconds of syncing within a transaction; others wait 5 s for its end


class Waiting:
    """One object between its last byte and its row.

    `done` gets the outcome. Before `GroupCommit.put`, `entry` is set, or `prepare`, which makes it in the thread that
    commits and raises what is wrong with the object, or `error` for one that is refused.
    """

    __slots__ = ("done", "durable", "entry", "error", "loop", "prepare", "writer")

    def __init__(self, writer: BlobWriter, loop: asyncio.AbstractEventLoop, *, durable: bool) -> None:
        """`durable`: the caller makes the bytes durable itself."""
        self.writer = writer
        self.loop = loop
        self.done: asyncio.Future[Applied] = loop.create_future()
        self.entry: Entry | None = None
        self.prepare: Callable[[], Entry] | None = None
        self.error: BaseException | None = None
        self.durable = durable


class _NotDurable(Exception):
    """The bytes of an object whose row is written could not be made durable."""


class _TooSlow(Exception):
    """The disk takes so long that others are to have the index meanwhile."""


class GroupCommit:
    """The thread that makes objects durable and visible."""

    def __init__(self, store: BlobStore, index: Index, on_conflict: Policy, limit: int) -> None:
        self._store = store
        self._index = index
        self._on_conflict = on_conflict
        self._limit = limit
        self._queue: SimpleQueue[Waiting | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="isocenter-commit", daemon=True)
        self._closed = self._ending = False
        self._slow = False  # the disk was, over the last group
        self._thread.start()

    def put(self, waiting: Waiting) -> None:
        """Make the object durable and visible, or remove it if it has an error. From any thread."""
        if self._closed:
            _deliver([(waiting, waiting.error or ArchiveBusy("the archive is closing"))])
        else:
            self._queue.put(waiting)

    def close(self) -> None:
        """Commit what waits, then end; blocking."""
        self._closed = True
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while not (self._ending and self._queue.empty()):
            batch: list[Waiting] = []
            if self._take(batch, wait=True):
                while self._take(batch, wait=False):
                    """Whoever came while the others were looked at is one of the group."""
            self._finish(batch)

    def _take(self, batch: list[Waiting], *, wait: bool) -> list[Waiting]:
        """Add what is in the queue to `batch`, up to the limit, have the disk begin with it, and see what it is; what
        was added."""
        taken: list[Waiting] = []
        try:
            while len(batch) + len(taken) < self._limit:
                item = self._queue.get(block=wait)
                wait = False
                if item is None:
                    self._ending = True
                else:
                    taken.append(item)
        except Empty:
            pass
        batch += taken
        for waiting in taken:
            if not waiting.durable and waiting.error is None:
                waiting.writer.hasten()
        for waiting in taken:
            if waiting.prepare is not None:
                _prepare(waiting, waiting.prepare)
        return taken

    def _finish(self, batch: list[Waiting]) -> None:
        """Commit `batch`, which grows meanwhile, and tell those who wait."""
        outcome = self._commit(batch)
        good = _good(batch)
        for waiting in batch:
            if waiting.error is not None:
                _abandon(waiting)
        refused: list[tuple[Waiting, Applied | BaseException]] = [
            (waiting, waiting.error) for waiting in batch if waiting.error is not None
        ]
        for waiting in good:
            waiting.writer.close()
        if isinstance(outcome, IsocenterError):
            if isinstance(outcome, OutOfResources):
                # No row can be left. After any other failure the file stays, to be set aside and not lost.
                self._discard([waiting.writer.name for waiting in good])
            _deliver([*refused, *((waiting, outcome) for waiting in good)])
        else:
            _deliver([*refused, *zip(good, outcome, strict=True)])
            self._discard([waiting.writer.name for waiting, done in zip(good, outcome, strict=True) if done.leftover])

    def _commit(self, batch: list[Waiting]) -> Sequence[Applied] | IsocenterError:
        """Rows for all that is good in `batch` at the end, committed when its bytes are durable."""
        joined = False
        until: float | None = None

        def more() -> Sequence[Entry]:
            nonlocal joined, until
            until = until or time.monotonic() + _HELD
            self._make_durable(batch, until)
            if joined:
                return ()
            # Who came meanwhile shares the transaction, which costs as much as the bytes of a small object.
            joined = True
            return _entries(self._take(batch, wait=False))

        while _good(batch):
            if self._slow:
                self._make_durable_apart(batch)
            try:
                return self._index.apply(_entries(batch), self._on_conflict, more)
            except _NotDurable:
                continue  # their rows went with it; those of the others are made again
            except _TooSlow:
                self._slow, until = True, None
            except IsocenterError as error:
                return error
            except Exception as error:  # noqa: BLE001  whatever it is, those who wait must hear of it
                log.exception("committing %d objects failed", len(batch))
                return IsocenterError(f"committing failed ({type(error).__name__})")
        return ()

    def _make_durable_apart(self, batch: Sequence[Waiting]) -> None:
        """What can be done before there is a transaction."""
        begun = time.monotonic()
        with suppress(_NotDurable):  # those that are good no more have no rows yet
            self._make_durable(batch)
        self._slow = time.monotonic() - begun > _HELD

    def _make_durable(self, batch: Sequence[Waiting], until: float = math.inf) -> None:
        """The bytes and names of all that is good in `batch`; _NotDurable when something is good no more, _TooSlow when
        something is left by then."""
        good = _good(batch)
        for waiting in good:
            if waiting.durable:
                continue
            if time.monotonic() > until:
                raise _TooSlow
            try:
                waiting.writer.sync()
            except Exception as error:  # noqa: BLE001  whatever it is, it is the object's and not the thread's end
                waiting.error = error
            else:
                waiting.durable = True
        if any(waiting.error is not None for waiting in good):
            raise _NotDurable
        self._store.sync_directories([waiting.writer.name for waiting in good])

    def _discard(self, blobs: Sequence[str]) -> None:
        if not blobs:
            return
        try:
            self._store.delete(blobs)
        except IsocenterError as error:
            log.warning("%d files could not be removed: %s", len(blobs), error)


def _good(batch: Sequence[Waiting]) -> list[Waiting]:
    return [waiting for waiting in batch if waiting.error is None]


def _entries(batch: Sequence[Waiting]) -> list[Entry]:
    return [cast(Entry, waiting.entry) for waiting in _good(batch)]


def _prepare(waiting: Waiting, prepare: Callable[[], Entry]) -> None:
    try:
        waiting.entry = prepare()
    except Exception as error:  # noqa: BLE001  whatever it is, it is the object's and not the thread's end
        waiting.error = error


def _abandon(waiting: Waiting) -> None:
    try:
        waiting.writer.abandon()
    except IsocenterError as error:
        log.warning("the file of a refused object could not be removed: %s", error)


def _deliver(outcomes: Sequence[tuple[Waiting, Applied | BaseException]]) -> None:
    """Wake those who wait, with one call into each event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Applied], Applied | BaseException]]] = {}
    for waiting, outcome in outcomes:
        by_loop.setdefault(waiting.loop, []).append((waiting.done, outcome))
    for loop, results in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, results)
        except RuntimeError:
            # The loop was closed under those who waited; what is committed stays committed.
            log.warning("%d results came too late for a closed event loop", len(results))


def _resolve(results: list[tuple[asyncio.Future[Applied], Applied | BaseException]]) -> None:
    for future, result in results:
        if future.done():
            continue
        if isinstance(result, BaseException):
            future.set_exception(result)
        else:
            future.set_result(result)
