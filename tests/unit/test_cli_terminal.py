"""What only a terminal sees: colours, and a progress bar with rate and time left after a second."""

from __future__ import annotations

import os
import pty
import re
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


FOLLOWED = """
import asyncio, time
from isocenter.cli import output, retrieving
from isocenter.net.retrieve import Progress

async def steps():
    for done in range(20):
        time.sleep(0.08)
        yield Progress(0xFF00, 1000 - done, done - done // 5, done // 5, 0)

with output.bar("moving", None) as bar:
    asyncio.run(retrieving.follow(steps(), bar))
"""


def test_the_counters_of_pending_answers_are_beside_the_bar() -> None:
    environment = {**TERMINAL, "COLUMNS": "80"}
    shown = re.sub(
        r"\x1b\[[0-9;?]*[A-Za-z]", "", on_a_terminal(sys.executable, "-c", FOLLOWED, environment=environment)
    )
    lines = [line for line in re.split(r"[\r\n]+", shown) if line.startswith("moving")]
    assert re.search(r"19/1000 +[0-9]+/s, 3 failed +[-0-9:]+", lines[-1]), lines
    assert max(map(len, lines)) <= 80


def test_no_bar_without_a_terminal() -> None:
    bar = BAR.format(clock="", pause=0.05)
    done = subprocess.run([sys.executable, "-c", bar], capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("", "")


TABLE = """
import sys
from isocenter.cli import output
from isocenter.errors import UsageError
name, uid = "Hong^Gildong=\\u6d2a^\\u5409\\u6d1e\\x1b[2J\\x9b\\u202e", ".".join(["1.2.840.10008"] * 4)
output.table("", ("StudyDate", "PatientName", "StudyInstanceUID"), [("20240105", name, uid)] * 2, below=sys.argv[1:])
output.note("told: " + name)
output.fail(UsageError(name), name)
output.write_json({"name": name})
"""


def told(columns: int, *below: str) -> str:
    """What a terminal of so many columns shows, without the codes of bold and colours."""
    environment = {**TERMINAL, "COLUMNS": str(columns)}
    return re.sub(r"\x1b\[[0-9;]*m", "", on_a_terminal(sys.executable, "-c", TABLE, *below, environment=environment))


def test_a_table_wider_than_the_terminal_has_columns_below_its_rows() -> None:
    uid = ".".join(["1.2.840.10008"] * 4)
    lines = [line.rstrip() for line in told(60, "StudyInstanceUID").splitlines()]
    assert [2, 2] == [lines.count(f"  {uid}"), sum(line.startswith("20240105") for line in lines)]
    assert lines[0].split() == ["Study", "Patient", "Name"], "headings are folded between words"
    assert any("20240105" in line and uid in line for line in told(160, "StudyInstanceUID").splitlines())
    assert not any(uid in line for line in told(60).splitlines()), "without a column below, cells are folded"


def test_what_a_peer_says_does_not_steer_the_terminal() -> None:
    shown = told(160)
    assert not set("\x1b\x9b\u202e") & set(shown)
    written = "Hong^Gildong=洪^吉洞\\x1b[2J\\x9b\\u202e"
    assert [2, 1, 1] == [
        sum(line.startswith(begin) and written in line for line in map(str.strip, shown.splitlines()))
        for begin in ("20240105", "told: ", f"error: {written}: ")
    ]
    assert '"Hong^Gildong=洪^吉洞\\u001b[2J\\u009b\\u202e"' in shown
