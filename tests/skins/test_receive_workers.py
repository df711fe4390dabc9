"""The processes of `receive`: who gets a connection, what they report, and that none outlives the others."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import isocenter
from command import started
from isocenter.errors import AssociationRejected
from leash import leashed
from peers import free_port

# A worker that tells each connection its process ID and keeps it open until the peer closes it.
SCRIPT = """
import asyncio, os, signal, socket
from isocenter.cli.receive_workers import Reception, take_connections

async def serve(number, accepted):
    accepted.setblocking(False)
    loop = asyncio.get_running_loop()
    with accepted:
        await loop.sock_sendall(accepted, f"{number} {os.getpid()}\\n".encode())
        await loop.sock_recv(accepted, 1)

async def work(channel):
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    take_connections(channel, serve, lambda: 3, stop.set)
    await stop.wait()
    return 7

listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(listener.getsockname()[1] for listener in listeners), flush=True)
print(Reception(2, listeners, lambda channel: asyncio.run(work(channel))).run())
"""


@contextlib.contextmanager
def reception() -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    with subprocess.Popen(leashed([sys.executable, "-c", SCRIPT]), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, [int(port) for port in process.stdout.readline().split()]
        finally:
            process.kill()


def connect(port: int) -> tuple[socket.socket, int, int]:
    """A connection, the number of the listener it came to, and the process that serves it."""
    connection = socket.create_connection(("127.0.0.1", port), 20)
    number, pid = connection.makefile().readline().split()
    return connection, int(number), int(pid)


def test_the_worker_with_the_fewest_connections_gets_the_next() -> None:
    with reception() as (_, ports), contextlib.ExitStack() as stack:
        opened = [connect(ports[n % 2]) for n in range(6)]
        for connection, _, _ in opened:
            stack.enter_context(connection)
        assert [number for _, number, _ in opened] == [0, 1, 0, 1, 0, 1]
        assert sorted(Counter(pid for _, _, pid in opened).values()) == [3, 3]
        freed = opened[0][2]
        for connection, _, pid in opened:
            if pid == freed:
                connection.shutdown(socket.SHUT_RDWR)
        # When the parent has heard of it, the next three are that worker's again.
        deadline = time.monotonic() + 20
        while True:
            taken = [connect(ports[0]) for _ in range(3)]
            for connection, _, _ in taken:
                connection.close()
            if {pid for *_, pid in taken} == {freed}:
                break
            assert time.monotonic() < deadline


def test_what_the_workers_received_is_added_up() -> None:
    with reception() as (process, ports):
        both = [connect(ports[0]) for _ in range(2)]  # so that both have begun
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=20)
        for connection, _, _ in both:
            connection.close()
    assert (output, process.returncode) == ("14\n", 0)


@pytest.mark.parametrize("victim", ["parent", "worker"])
def test_nobody_outlives_the_others(victim: str) -> None:
    with reception() as (process, ports):
        both = [connect(ports[0]) for _ in range(2)]
        assert len({pid for *_, pid in both}) == 2
        if victim == "parent":
            process.kill()
        else:
            os.kill(both[0][2], signal.SIGKILL)
        for connection, _, _ in both:
            with connection, contextlib.suppress(ConnectionError):
                assert connection.recv(1) == b""
        assert process.wait(20) != 0


AT_BIRTH = """
import os, time
from isocenter.cli.workers import Crew

os.register_at_fork(after_in_child=lambda: time.sleep(0.3))
with Crew(1, lambda number, channel: time.sleep(600)) as crew:
    crew.stop()
    for worker, _ in crew.listen():
        print(worker.exit_code)
"""


def test_a_worker_that_is_told_to_stop_before_it_has_begun() -> None:
    done = subprocess.run([sys.executable, "-c", AT_BIRTH], capture_output=True, text=True, timeout=20)
    assert (done.stdout, done.stderr, done.returncode) == ("0\n", "", 0)


def test_the_limit_of_a_title_holds_for_all_processes_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISOCENTER_DIMSE_MAX_ASSOCIATIONS_PER_AET", "2")
    port = free_port()
    command = ("receive", tmp_path, "--listen", f"127.0.0.1:{port}", "--workers", "3")
    address = f"ISOCENTER@127.0.0.1:{port}"
    with started(*command) as server, contextlib.ExitStack() as stack:
        assert server.stderr is not None
        assert "receiving as" in server.stderr.readline()

        def let_in(title: str) -> contextlib.ExitStack | None:
            own = stack.enter_context(contextlib.ExitStack())
            try:
                own.enter_context(isocenter.sync.connect(address, calling=title)).echo()
            except AssociationRejected as error:
                assert (error.result, error.source, error.reason) == (2, 3, 2)  # transient: local limit exceeded
                return None
            return own

        # Each goes to the process that has the fewest, so that no process has two of a title.
        ct = [let_in("CT") for _ in range(6)]
        assert [one is not None for one in ct] == [True, True, False, False, False, False]
        assert all(let_in("MR") for _ in range(2))
        assert ct[0] is not None
        ct[0].close()
        deadline = time.monotonic() + 20
        while let_in("CT") is None:  # the place is free when the server has heard of the end
            assert time.monotonic() < deadline
        assert let_in("CT") is None
