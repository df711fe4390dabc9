"""Group commit: one directory fsync and one index transaction for all objects that wait at that moment.

A single thread takes whatever has gathered while it was busy. Nobody waits for company: one object alone is committed
at once, and while that happens the next ones gather.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from isocenter.archive.audit import log
from isocenter.errors import ArchiveBusy, IsocenterError, OutOfResources
from isocenter.index.base import Applied, Entry, Index, Policy
from isocenter.store.base import BlobStore


@dataclass(slots=True)
class Waiting:
    """One durable blob that waits for its row."""

    entry: Entry
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[Applied]


class GroupCommit:
    """The thread that makes objects visible."""

    def __init__(self, store: BlobStore, index: Index, on_conflict: Policy, limit: int) -> None:
        self._store = store
        self._index = index
        self._on_conflict = on_conflict
        self._limit = limit
        self._queue: SimpleQueue[Waiting | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="isocenter-commit", daemon=True)
        self._closed = False
        self._thread.start()

    def put(self, waiting: Waiting) -> None:
        """Hand over an object whose bytes are synced; from any thread."""
        if self._closed:
            _deliver([waiting], ArchiveBusy("the archive is closing"))
        else:
            self._queue.put(waiting)

    def close(self) -> None:
        """Commit what waits, then end; blocking."""
        self._closed = True
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        ending = False
        while not ending:
            batch: list[Waiting] = []
            item = self._queue.get()
            while True:
                if item is None:
                    ending = True
                else:
                    batch.append(item)
                if ending or len(batch) >= self._limit:
                    break
                try:
                    item = self._queue.get_nowait()
                except Empty:
                    break
            if batch:
                self._commit(batch)

    def _commit(self, batch: Sequence[Waiting]) -> None:
        try:
            self._store.sync_directories([waiting.entry.blob for waiting in batch])
            applied = self._index.apply([waiting.entry for waiting in batch], self._on_conflict)
        except IsocenterError as error:
            if isinstance(error, OutOfResources):
                # No row can exist. After any other failure of the index the file stays, to be set aside and not lost.
                self._discard([waiting.entry.blob for waiting in batch])
            _deliver(batch, error)
            return
        except Exception as error:  # noqa: BLE001  whatever it is, those who wait must hear of it
            log.exception("committing %d objects failed", len(batch))
            _deliver(batch, IsocenterError(f"committing failed ({type(error).__name__})"))
            return
        _deliver(batch, applied)
        self._discard([waiting.entry.blob for waiting, done in zip(batch, applied, strict=True) if done.leftover])

    def _discard(self, blobs: Sequence[str]) -> None:
        if not blobs:
            return
        try:
            self._store.delete(blobs)
        except IsocenterError as error:
            log.warning("%d files could not be removed: %s", len(blobs), error)


def _deliver(batch: Sequence[Waiting], outcome: Sequence[Applied] | IsocenterError) -> None:
    """Wake those who wait, with one call into each event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Applied], Applied | IsocenterError]]] = {}
    for at, waiting in enumerate(batch):
        result = outcome if isinstance(outcome, IsocenterError) else outcome[at]
        by_loop.setdefault(waiting.loop, []).append((waiting.done, result))
    for loop, results in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, results)
        except RuntimeError:
            # The loop was closed under those who waited; what is committed stays committed.
            log.warning("%d results came too late for a closed event loop", len(results))


def _resolve(results: list[tuple[asyncio.Future[Applied], Applied | IsocenterError]]) -> None:
    for future, result in results:
        if future.done():
            continue
        if isinstance(result, IsocenterError):
            future.set_exception(result)
        else:
            future.set_result(result)
