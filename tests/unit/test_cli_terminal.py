"""What only a terminal sees: colours, and a progress bar with rate and time left after a second."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

from pydicom.data import get_testdata_file

ISOCENTER = [sys.executable, "-m", "isocenter.cli.main"]
TERMINAL = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"}
TERMINAL.pop("NO_COLOR", None)


def on_a_terminal(*command: str, environment: dict[str, str]) -> str:
    """Everything a command writes when stdin, stdout and stderr are a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        parts = []
        try:
            while part := os.read(ours, 65536):
                parts.append(part)
        except OSError:  # Linux says EIO when the last writer is gone
            pass
        process.wait(30)
    os.close(ours)
    return b"".join(parts).decode()


def test_colours_are_for_terminals_that_want_them() -> None:
    path = str(get_testdata_file("CT_small.dcm"))
    command = [*ISOCENTER, "dump", "-t", "PatientID", path]
    assert "\x1b[36m(0010,0020)\x1b[0m" in on_a_terminal(*command, environment=TERMINAL)
    assert "\x1b" not in on_a_terminal(*command, environment={**TERMINAL, "NO_COLOR": "1"})
    piped = subprocess.run(command, capture_output=True, text=True, env=TERMINAL, timeout=60, check=True)
    assert "\x1b" not in piped.stdout + piped.stderr


BAR = """
import time
from types import SimpleNamespace
from isocenter.cli import output
{clock}
with output.bar("working", 30) as bar:
    for _ in range(30):
        time.sleep({pause})
        bar.advance()
"""


def test_a_bar_appears_after_a_second_with_rate_and_time_left(tmp_path: Path) -> None:
    shown = on_a_terminal(sys.executable, "-c", BAR.format(clock="", pause=0.06), environment=TERMINAL)
    assert "working" in shown
    assert "/30" in shown
    assert "/s" in shown
    assert "0:00:0" in shown
    stopped = "output.time = SimpleNamespace(monotonic=lambda: 0.0)"  # no second passes, however slow the machine is
    quick = BAR.format(clock=stopped, pause=0)
    assert "working" not in on_a_terminal(sys.executable, "-c", quick, environment=TERMINAL)


def test_no_bar_without_a_terminal() -> None:
    bar = BAR.format(clock="", pause=0.05)
    done = subprocess.run([sys.executable, "-c", bar], capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("", "")
