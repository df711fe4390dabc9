"""Servers that tests start do not outlive a killed pytest."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import leash

TESTS = Path(__file__).resolve().parents[1]
STARTED = {
    "peers": "with peers.running(server, log=Path(sys.argv[2])) as one: told(one.process)",
    "command": "command.ISOCENTER = server\nwith command.started() as process: told(process)",
}
SCRIPT = """
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
import command, peers

server = [sys.executable, "-c", "import time; time.sleep(600)"]

def told(process):
    print(process.pid, flush=True)
    sys.stdin.read()

"""


@pytest.mark.skipif(leash._SETPRIV is None, reason="needs setpriv (util-linux)")
@pytest.mark.parametrize("how", STARTED)
def test_a_server_ends_with_the_tests_that_are_killed(tmp_path: Path, how: str) -> None:
    argv = [sys.executable, "-c", SCRIPT + STARTED[how], str(TESTS), str(tmp_path / "log")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as tests:
        assert tests.stdout is not None
        server = os.pidfd_open(int(tests.stdout.readline()))
        deadline = time.monotonic() + 30
        # Not before it is itself: setpriv stands there first, and nothing at all in between.
        while not Path(f"/proc/{_pid(server)}/cmdline").read_bytes().startswith(os.fsencode(sys.executable)):
            assert time.monotonic() < deadline
        tests.kill()
    try:
        ended = select.select([server], [], [], 30)[0]
        if not ended:
            signal.pidfd_send_signal(server, signal.SIGKILL)
        assert ended == [server]
    finally:
        os.close(server)


def _pid(descriptor: int) -> int:
    lines = Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pid:"))
