"""`isocenter store` with several associations: processes that share the files, and one that knows what became of each.

One process is bound to one core, and sending is mostly the processor's work. So the associations are divided among as
many processes as there are cores. The first process walks, hands out files a few at a time, so that nobody is idle at
the end, and keeps each until its outcome is reported: what a process had that ends before that is a failure.

A message is a marshalled value behind its length; both ends are the same program. To a worker go lists of files, the
empty one last: (number, path, place in a zip or None, size). From it come pairs: ("opened", None) for each association,
("failed", the pickled error) for each that could not be, and ("done", [(number, fields of a StoreOutcome)]).
"""

from __future__ import annotations

import asyncio
import contextlib
import marshal
import signal
import socket
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from struct import Struct
from threading import Condition
from typing import Any

from isocenter.archive.walk import Candidate, found_again
from isocenter.cli import output, running
from isocenter.cli.workers import Crew, Worker
from isocenter.errors import NetworkError
from isocenter.net.memory import keep_memory
from isocenter.net.storing import StoragePeer, StoreOutcome, Way

_LENGTH = Struct("<I")
# What one association may have at a time, sent or waiting: enough that it is never idle, little enough that all end
# together, and that the memory stays in the processor's cache from file to file (8 MiB took a sixth more of its time, 2
# as much for more messages). What is larger than _BYTES is alone.
_FILES, _BYTES = 32, 4 << 20
# When outcomes are reported: so many, so many bytes, or so many seconds after the first
_REPORT_FILES, _REPORT_BYTES, _REPORT_DELAY = 16, 1 << 20, 0.05


def _framed(message: Any) -> bytes:
    raw = marshal.dumps(message)
    return _LENGTH.pack(len(raw)) + raw


# --- the process that hands out -------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Charge:
    """A worker, what it can have, and what it has."""

    worker: Worker
    associations: int = 0
    held: dict[int, Candidate] = field(default_factory=dict)
    size: int = 0
    told_all: bool = False
    heard: bytearray = field(default_factory=bytearray)

    def has_room(self) -> bool:
        if self.size >= _BYTES * self.associations:
            return len(self.held) < self.associations
        return len(self.held) < _FILES * self.associations

    def say(self, files: list[tuple[int, str, int | None, int]]) -> None:
        with contextlib.suppress(ConnectionError):  # that it has ended is heard, too
            self.worker.channel.sendall(_framed(files))

    def messages(self, said: bytes) -> Iterator[tuple[str, Any]]:
        self.heard += said
        while len(self.heard) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self.heard)[0]
            if len(self.heard) < end:
                return
            yield marshal.loads(memoryview(self.heard)[_LENGTH.size : end].tobytes())
            del self.heard[:end]

    def give_back(self, number: int) -> Candidate:
        candidate = self.held.pop(number)
        self.size -= candidate.size
        return candidate


class Sharing:
    """Sends `candidates` over `jobs` associations in `processes` processes; `done` gets each outcome."""

    def __init__(
        self,
        candidates: Iterator[Candidate],
        way: Way,
        *,
        jobs: int,
        processes: int,
        done: Callable[[StoreOutcome], None],
    ) -> None:
        self._shares = [jobs // processes + (number < jobs % processes) for number in range(processes)]
        self._way = way
        self._candidates = candidates
        self._done = done
        self._charges: list[_Charge] = []
        self._number = 0
        self._exhausted = False
        self._errors: list[NetworkError] = []

    def run(self, begun: Callable[[], None]) -> None:
        """Send all; `begun` is called when the processes are there. Call this with one thread.

        Raises NetworkError when no association could be opened, KeyboardInterrupt when stopped by a signal.
        """
        with Crew(len(self._shares), self._work) as crew:
            begun()
            self._charges = [_Charge(worker) for worker in crew.workers]
            of = {charge.worker.pid: charge for charge in self._charges}
            for worker, said in crew.listen():
                charge = of[worker.pid]
                for kind, value in charge.messages(said):
                    self._hear(charge, kind, value)
                if not said:
                    self._charges.remove(charge)
                if crew.stopped:
                    continue
                if not said:
                    self._ended(charge)
                self._hand_out()
        if crew.stopped:
            raise KeyboardInterrupt
        if len(self._errors) == sum(self._shares):
            raise self._errors[0]
        for candidate in self._candidates:
            self._done(_lost(candidate, "not sent: no process is left that could"))

    def _work(self, number: int, channel: socket.socket) -> None:
        running.run(_Sender(self._shares[number]).run(channel, self._way))

    def _hear(self, charge: _Charge, kind: str, value: Any) -> None:
        if kind == "opened":
            charge.associations += 1
        elif kind == "failed":
            import pickle  # not before: most runs need it not, and begin sooner

            self._errors.append(pickle.loads(value))
        else:
            for number, *fields in value:
                self._done(StoreOutcome(charge.give_back(number).label, *fields))

    def _hand_out(self) -> None:
        for charge in self._charges:
            files: list[tuple[int, str, int | None, int]] = []
            while not self._exhausted and charge.has_room():
                candidate = next(self._candidates, None)
                if candidate is None:
                    self._exhausted = True
                    break
                self._number += 1
                charge.held[self._number] = candidate
                charge.size += candidate.size
                place = None if candidate.member is None else candidate.member.header_offset
                files.append((self._number, str(candidate.path), place, candidate.size))
            if files:
                charge.say(files)
        if self._exhausted:
            for charge in self._charges:
                if not charge.told_all and any(one.associations for one in self._charges):
                    charge.told_all = True
                    charge.say([])

    def _ended(self, charge: _Charge) -> None:
        code = charge.worker.exit_code or 0
        why = f"it was killed by signal {-code}" if code < 0 else f"it ended with {code}"
        if code:
            output.note(f"a process that sent is gone: {why}")
        for candidate in charge.held.values():
            self._done(_lost(candidate, f"perhaps not sent: the process that had it is gone, {why}"))


def _lost(candidate: Candidate, why: str) -> StoreOutcome:
    return StoreOutcome(candidate.label, "", "", None, why)


# --- the processes that send ----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _File:
    """What a worker was given; opened by the thread that reads it."""

    number: int
    path: str
    place: int | None
    size: int

    @property
    def label(self) -> str:
        return self.path

    def chunks(self) -> Generator[bytes, None, None]:
        yield from found_again(self.path, self.place, self.size).chunks()


class _Inbox:
    """Files that wait for an association of this process; `changed` guards all that is counted."""

    def __init__(self) -> None:
        self.files: deque[_File] = deque()
        self.changed = Condition()
        self.over = False

    def put(self, files: list[_File]) -> None:
        with self.changed:
            self.files += files
            self.changed.notify_all()

    def close(self, *, drop: bool = False) -> None:
        """No more come; with `drop`, neither do those that wait."""
        with self.changed:
            self.over = True
            if drop:
                self.files.clear()
            self.changed.notify_all()


class _Portion:
    """What one association takes of the inbox, as Peer.store() wants it: None where it has to wait."""

    def __init__(self, inbox: _Inbox) -> None:
        self._inbox = inbox
        self._held: deque[_File] = deque()
        self._bytes = 0
        self._waiting = False

    def __iter__(self) -> Iterator[_File | None]:
        return self

    def __next__(self) -> _File | None:
        inbox = self._inbox
        with inbox.changed:
            if not self._can_take():
                if not self._waiting:
                    self._waiting = True
                    return None
                inbox.changed.wait_for(lambda: self._can_take() or (inbox.over and not inbox.files))
                if not inbox.files:
                    raise StopIteration
            self._waiting = False
            file = inbox.files.popleft()
            self._held.append(file)
            self._bytes += file.size
            return file

    def give_back(self) -> _File:
        """The one that was taken first and is still here: outcomes come in that order."""
        with self._inbox.changed:
            file = self._held.popleft()
            self._bytes -= file.size
            self._inbox.changed.notify_all()
            return file

    def _can_take(self) -> bool:
        if not self._inbox.files or not self._held:
            return bool(self._inbox.files)
        # Once waiting, wait until half is done: a batch is read while the one before is sent.
        part = 2 if self._waiting else 1
        return len(self._held) < _FILES // part and self._bytes < _BYTES // part


class _Reports:
    """What the parent is told, in a few messages."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._outcomes: list[tuple[Any, ...]] = []
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def say(self, kind: str, value: Any = None) -> None:
        self._writer.write(_framed((kind, value)))

    def add(self, file: _File, outcome: StoreOutcome) -> None:
        fields = (outcome.sop_class, outcome.sop_instance, outcome.status, outcome.message, outcome.not_dicom)
        self._outcomes.append((file.number, *fields))
        self._bytes += file.size
        if len(self._outcomes) >= _REPORT_FILES or self._bytes >= _REPORT_BYTES:
            self.flush()
        elif self._timer is None:
            self._timer = self._loop.call_later(_REPORT_DELAY, self.flush)

    def flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._outcomes:
            self.say("done", self._outcomes)
            self._outcomes, self._bytes = [], 0


class _Sender:
    """A process's part: its associations, until there is nothing more to send, SIGTERM, or the parent's end."""

    def __init__(self, associations: int) -> None:
        self._associations = associations
        self._inbox = _Inbox()
        self._opening: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()

    async def run(self, channel: socket.socket, way: Way) -> None:
        keep_memory(2 * _BYTES)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        # An association that waits for files does so in a thread, and one more may have to look up the peer's address.
        loop.set_default_executor(ThreadPoolExecutor(self._associations + 1))
        reader, writer = await asyncio.open_unix_connection(sock=channel)
        reports = _Reports(writer)
        listening = loop.create_task(self._listen(reader))
        stopping = loop.create_task(self._stop.wait())
        sending = loop.create_task(self._send(way, reports))
        try:
            await asyncio.wait((sending, stopping, listening), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._inbox.close(drop=True)
            for task in (sending, stopping, listening):
                task.cancel()
            reports.flush()
            with contextlib.suppress(ConnectionError):  # the parent is gone
                writer.close()
                await writer.wait_closed()
        for task in (sending, listening):
            with contextlib.suppress(asyncio.CancelledError):
                await task  # raises what is a fault of ours

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):  # the parent's end
            while True:
                raw = await reader.readexactly(_LENGTH.unpack(await reader.readexactly(_LENGTH.size))[0])
                files = [_File(*fields) for fields in marshal.loads(raw)]
                if files:
                    self._inbox.put(files)
                else:
                    self._inbox.close()
                    for task in self._opening:
                        task.cancel()  # the others have done it all

    async def _send(self, way: Way, reports: _Reports) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(self._associations):
                self._opening.add(group.create_task(self._associate(way, reports)))

    async def _associate(self, way: Way, reports: _Reports) -> None:
        portion = _Portion(self._inbox)
        task = asyncio.current_task()
        assert task is not None
        try:
            async with StoragePeer(way) as peer:
                self._opening.discard(task)
                reports.say("opened")
                async for outcome in peer.store(portion):
                    reports.add(portion.give_back(), outcome)
        except NetworkError as error:
            if task in self._opening:
                import pickle

                self._opening.discard(task)
                reports.say("failed", pickle.dumps(error))
