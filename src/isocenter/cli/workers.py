"""Processes of one command, forked when all is imported, so that nothing is loaded twice."""

from __future__ import annotations

import contextlib
import gc
import os
import selectors
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType, TracebackType
from typing import Any, Self, cast

from isocenter.errors import IsocenterError, OutOfResources

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_READ = 256 * 1024


class WorkerDied(IsocenterError):
    """A worker process ended without being told to."""

    code = "worker-died"
    hint = "What was answered is stored; its own message is above."


class NoProcess(OutOfResources):
    """The system lets us have no further process."""

    hint = "Ask for fewer at a time, or raise the limit on processes."


class StoppedEarly(BaseException):
    """SIGTERM came before the work had begun."""


def _stop_early(*_: object) -> None:
    raise StoppedEarly


@dataclass(slots=True, eq=False)
class Worker:
    """A child. `channel` is a stream between it and us; whoever is left reads its end when the other is gone."""

    pid: int
    channel: socket.socket
    exit_code: int | None = field(default=None, init=False)  # negative: the signal that killed it

    def wait(self) -> None:
        """Wait for its end, which must be near."""
        self.exit_code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self.channel.close()


class Crew:
    """`count` children, as a context manager; enter it with one thread. Each runs `work` with its number, from 0, and
    its end of a channel.

    Signals that ask us to end go to the children as SIGTERM (a second Ctrl-C as SIGKILL) and set `stopped`. A child has
    to end soon after SIGTERM, which raises StoppedEarly in it until it has a handler, and after the end of its channel:
    then we are gone. Raises NoProcess.
    """

    def __init__(self, count: int, work: Callable[[int, socket.socket], None]) -> None:
        self.workers: list[Worker] = []
        self.stopped = False
        self._count = count
        self._work = work
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        sys.stdout.flush()
        sys.stderr.flush()
        self._handlers = {number: signal.signal(number, self._stop) for number in _STOPPING}
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)  # a child that is told to stop at birth must hear it
        gc.freeze()  # the collector writes to what it looks at, and each child would get a copy of that
        try:
            for number in range(self._count):
                self.workers.append(self._fork(number))
        except OSError as error:
            self._end()
            raise NoProcess(f"cannot start a process: {error.strerror}") from None
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def listen(
        self, others: Mapping[socket.socket, Callable[[socket.socket], None]] = MappingProxyType({})
    ) -> Iterator[tuple[Worker, bytes]]:
        """What the children say, as it comes; b"" is the last of each, when it has ended. Meanwhile the sockets in
        `others` are looked at too, and what stands by one is called when it can be read."""
        with selectors.DefaultSelector() as selector:
            for other in others:
                selector.register(other, selectors.EVENT_READ)
            for worker in self.running():
                selector.register(worker.channel, selectors.EVENT_READ, worker)
            while self.running():
                for key, _ in selector.select():
                    worker = key.data
                    if worker is None:
                        other = cast(socket.socket, key.fileobj)
                        others[other](other)
                        continue
                    try:
                        said = worker.channel.recv(_READ)
                    except ConnectionError:  # it ended before it had read all we said
                        said = b""
                    if not said:
                        selector.unregister(worker.channel)
                        worker.wait()
                    yield worker, said

    def running(self) -> list[Worker]:
        """Those that have not ended."""
        return [worker for worker in self.workers if worker.exit_code is None]

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Tell those that run to end."""
        for worker in self.running():
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid, number)

    def _stop(self, number: int, _: object) -> None:
        self.stop(signal.SIGKILL if self.stopped and number == signal.SIGINT else signal.SIGTERM)
        self.stopped = True

    def _end(self) -> None:
        self.stop()
        for worker in self.running():
            worker.channel.close()  # nobody reads it any more, and whoever writes shall not wait
            worker.wait()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _fork(self, number: int) -> Worker:
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            for inherited in (ours, *(worker.channel for worker in self.workers)):
                inherited.close()
            _child(self._work, number, theirs)
        theirs.close()
        return Worker(pid, ours)


def _child(work: Callable[[int, socket.socket], None], number: int, channel: socket.socket) -> None:
    status = 1
    try:
        # Until `work` has a handler of its own. Never ignored: that would discard the one that waits to be unblocked.
        signal.signal(signal.SIGTERM, _stop_early)
        for one in (signal.SIGINT, signal.SIGHUP):
            signal.signal(one, signal.SIG_IGN)  # a terminal sends them to all; the parent says when to stop
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)
        work(number, channel)
        status = 0
    except StoppedEarly:
        status = 0
    except BaseException:  # noqa: BLE001  nothing may go back up into the parent's code
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def cores() -> int:
    """How many processes can work at a time."""
    return os.cpu_count() or 1
