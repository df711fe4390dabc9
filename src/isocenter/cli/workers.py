"""Several processes on one listening socket: each association is served by whichever accepts it.

Only for what keeps no common state; the archive has one process, because its index has one writer.
"""

from __future__ import annotations

import os
import signal
import struct
import sys
import traceback
from collections.abc import Callable

from isocenter.errors import IsocenterError

_COUNT = struct.Struct("<Q")
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class WorkerDied(IsocenterError):
    """A worker process ended without being told to."""

    code = "worker-died"
    hint = "What was answered is stored; its own message is above."


class _StoppedEarly(BaseException):
    """SIGTERM came before the work had begun."""


def _stop_early(*_: object) -> None:
    raise _StoppedEarly


def run_workers(count: int, work: Callable[[int], int]) -> int:
    """Run `work` in `count` child processes until SIGINT, SIGTERM or SIGHUP; the sum of what they return.

    `work` gets a descriptor that reads as ended when this process is gone, and has to return soon after that, or after
    SIGTERM. Raises WorkerDied when one ends otherwise; the others are stopped then.
    """
    alive, held = os.pipe()  # nobody writes: children see the end of the file when the parent is gone
    children: dict[int, int] = {}

    def stop(*_: object) -> None:
        for pid in children:
            os.kill(pid, signal.SIGTERM)

    sys.stdout.flush()
    sys.stderr.flush()
    for number in _STOPPING:
        signal.signal(number, stop)
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)  # a child that is told to stop at birth must hear it
    for _ in range(count):
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(held)
            _child(work, alive, writer)
        os.close(writer)
        children[pid] = reader
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)
    total, failed = 0, False
    while children:
        pid, status = os.wait()
        reader = children.pop(pid)
        told = os.read(reader, _COUNT.size)
        os.close(reader)
        if status != 0 or len(told) < _COUNT.size:
            failed = True
            stop()
        else:
            total += _COUNT.unpack(told)[0]
    os.close(alive)
    os.close(held)
    if failed:
        raise WorkerDied(f"a worker process ended; {total} objects were received by the others")
    return total


def _child(work: Callable[[int], int], alive: int, writer: int) -> None:
    status = 1
    try:
        for number in _STOPPING:
            signal.signal(number, signal.SIG_IGN)  # a terminal sends them to all; the parent says when to stop
        signal.signal(signal.SIGTERM, _stop_early)  # until `work` has a handler of its own
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)
        os.write(writer, _COUNT.pack(work(alive)))
        status = 0
    except _StoppedEarly:
        os.write(writer, _COUNT.pack(0))
        status = 0
    except BaseException:  # noqa: BLE001  nothing may go back up into the parent's code
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
