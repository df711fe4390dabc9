"""A server that has no descriptor left for those who call: it goes on, says so in few words, and takes them later."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import isocenter
from leash import leashed

LIMIT = 64
SERVER = """
import asyncio, contextlib, logging, resource, sys

from isocenter.dimse.endpoint import dimse_listeners, dimse_server
from isocenter.services.verification import VerificationService
from isocenter.settings import Settings


async def main(limit):
    logging.basicConfig(level=logging.ERROR)
    settings = Settings().replace(dimse_port=0, dimse_drain_timeout=0.1)
    server = dimse_server((VerificationService(),), settings)
    for listener in dimse_listeners(settings):
        await server.listen(listener.socket, listener.tls)
    # Not before: what is imported late is there, and the event loop has what it needs.
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    print(server.address[1], flush=True)
    over = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, over.set)
    await over.wait()
    await server.close()


if sys.argv[1] == "uvloop":
    import uvloop

    loop_factory = uvloop.new_event_loop
else:
    loop_factory = asyncio.new_event_loop
with asyncio.Runner(loop_factory=loop_factory) as runner:
    runner.run(main(int(sys.argv[2])))
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_who_calls_meanwhile_is_served_when_there_are_some_again(tmp_path: Path, loop: str) -> None:
    log = tmp_path / "log"
    argv = leashed([sys.executable, "-c", SERVER, loop, str(LIMIT)])
    with (
        log.open("w") as errors,
        subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        assert process.stdout is not None
        port = int(process.stdout.readline())
        folder = Path(f"/proc/{process.pid}/fd")
        with contextlib.ExitStack() as held:
            for _ in range(2 * LIMIT):
                held.enter_context(socket.create_connection(("127.0.0.1", port), 30))
            with socket.create_connection(("127.0.0.1", port), 30) as last:
                # Until the server has looked a few times more, or has hung up as libuv does
                last.settimeout(3)
                with contextlib.suppress(TimeoutError, ConnectionResetError):
                    assert last.recv(1) == b""
            assert process.poll() is None
            assert len(list(folder.iterdir())) >= LIMIT - 1
        # Or libuv, which sees those ends and the next call at a time, hangs up on that one as well
        deadline = time.monotonic() + 60
        while len(list(folder.iterdir())) > LIMIT // 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        with isocenter.sync.connect(f"ISOCENTER@127.0.0.1:{port}") as peer:
            peer.echo()
        process.communicate("", timeout=60)
    said = log.read_text().count("\n")
    assert (0, True) == (process.returncode, said < 500), said
