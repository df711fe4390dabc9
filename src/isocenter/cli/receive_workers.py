"""The processes of `receive`: this one accepts connections and hands each to the worker that has the fewest.

Were the listening socket shared, a connection would be taken by whichever worker wakes first, and one that is awake
takes all that wait: four associations opened at once often ended up in one of two processes, while the other's core was
idle. Only for what keeps no common state; the archive has one process, because its index has one writer.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import logging
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Sequence

from isocenter.cli.workers import Crew, StoppedEarly, Worker, WorkerDied

log = logging.getLogger("isocenter.dimse")

_REPORT = struct.Struct("<Q")  # from a worker: how many objects came so far; one for each connection that ended
_BREATH = 0.1  # seconds until the next attempt when no descriptor is free


class Reception:
    """`count` workers for the connections that come on `listeners`.

    Each runs `work` with its end of a channel, to be given to take_connections(), and with nothing else to do at the
    end of the channel but to return how many objects it received.
    """

    def __init__(self, count: int, listeners: Sequence[socket.socket], work: Callable[[socket.socket], int]) -> None:
        self._crew = Crew(count, self._serve)
        self._listeners = {listener: number for number, listener in enumerate(listeners)}
        self._work = work
        self._open: dict[int, int] = {}  # connections of each worker, by its pid
        self._objects: dict[int, int] = {}

    def run(self) -> int:
        """Until SIGINT, SIGTERM or SIGHUP; how many objects were received. Call this with one thread.

        Raises WorkerDied when a worker ends otherwise; the others are stopped then.
        """
        failed = False
        with self._crew as crew:
            for worker in crew.workers:
                self._open[worker.pid] = self._objects[worker.pid] = 0
            for listener in self._listeners:
                listener.setblocking(False)
            for worker, said in crew.listen(dict.fromkeys(self._listeners, self._accept)):
                for (objects,) in _REPORT.iter_unpack(said):
                    self._objects[worker.pid] = objects
                    self._open[worker.pid] -= 1
                if worker.exit_code:
                    failed = True
                    crew.stop()
        total = sum(self._objects.values())
        if failed:
            raise WorkerDied(f"a worker process ended; {total} objects were received")
        return total

    def _serve(self, _: int, channel: socket.socket) -> None:
        for listener in self._listeners:
            listener.close()  # the parent's; who stops listening frees the port
        objects = 0
        with contextlib.suppress(StoppedEarly):
            objects = self._work(channel)
        _report(channel, objects)

    def _accept(self, listener: socket.socket) -> None:
        try:
            accepted, _ = listener.accept()
        except OSError:
            time.sleep(_BREATH)  # it is gone again, or we may have no descriptor more: who waits, waits in the backlog
            return
        with accepted:
            if self._crew.stopped:
                return
            for worker in sorted(self._crew.running(), key=lambda worker: self._open[worker.pid]):
                if self._hand_over(worker, self._listeners[listener], accepted):
                    self._open[worker.pid] += 1
                    return
            log.warning("a connection was closed: no process takes it")

    def _hand_over(self, worker: Worker, number: int, accepted: socket.socket) -> bool:
        rights = socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [accepted.fileno()])
        try:
            worker.channel.sendmsg([bytes([number])], [rights], socket.MSG_DONTWAIT)
        except OSError:  # it is ending, or has not taken those it was handed before
            return False
        return True


def _report(channel: socket.socket, objects: int) -> None:
    with contextlib.suppress(ConnectionError):  # the parent is gone, and nobody asks
        channel.sendall(_REPORT.pack(objects))


def take_connections(
    channel: socket.socket,
    serve: Callable[[int, socket.socket], Awaitable[None]],
    objects: Callable[[], int],
    gone: Callable[[], None],
) -> None:
    """In a worker: begin to `serve` each connection that comes over the channel, with the number of its listener, and
    report `objects()` when it has ended. `gone` is called when the parent is gone. The running loop reads the channel
    until it is told not to."""
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    async def attend(number: int, accepted: socket.socket) -> None:
        try:
            await serve(number, accepted)
        finally:
            _report(channel, objects())

    def take() -> None:
        try:
            number, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
        except ConnectionError:  # it had not read all that we said
            number = b""
        if not number:
            gone()
        elif not descriptors:
            _report(channel, objects())  # we may have no descriptor more, and the connection is closed
        else:
            task = loop.create_task(attend(number[0], socket.socket(fileno=descriptors[0])))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    loop.add_reader(channel, take)
