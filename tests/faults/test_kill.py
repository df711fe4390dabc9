"""Kill -9 at the n-th system call, at more than 500 points spread over everything that changes a data folder.

After each the folder is opened again: every object that was acknowledged is there with its bytes, what was deleted is
not, nothing half is visible, and the index is sound.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import fault_objects

LANE = Path(__file__).parent / "kill_lane.py"
POINTS = 540
# What changes files or says that they are durable, and the report itself.
CALLS = (
    "openat", "mkdir", "writev", "pwrite64", "write", "fdatasync", "fsync", "unlink", "rename", "ftruncate", "close",
    "fcntl", "rmdir",
)  # fmt: skip

pytestmark = [
    pytest.mark.faults,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
]


def calls_of_a_whole_run(folder: Path) -> Counter[str]:
    """How often each call comes in the thread that makes it most."""
    log = folder / "strace.log"
    process, start, report = fault_objects.fork_worker(folder / "data", 1)
    trace = ["strace", "-f", "-qq", "-o", str(log), "-e", f"trace={','.join(CALLS)}", "-p", str(process)]
    strace = subprocess.Popen(trace, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    status = Path(f"/proc/{process}/status")
    while "TracerPid:\t0\n" in status.read_text():
        if strace.poll() is not None:
            os.close(start)
            os.waitpid(process, 0)
            assert strace.stderr is not None
            pytest.skip(f"strace cannot attach here: {strace.stderr.read().decode().strip()}")
    os.write(start, b"x")
    os.close(start)
    assert fault_objects.reports(report)
    assert os.waitpid(process, 0)[1] == 0
    strace.wait(20)
    assert strace.stderr is not None
    strace.stderr.close()
    by_thread: Counter[tuple[str, str]] = Counter()
    for line in log.read_text().splitlines():
        if found := re.match(r"(\d+) +(\w+)\(", line):
            by_thread[found[1], found[2]] += 1
    most: Counter[str] = Counter()
    for (_, call), count in by_thread.items():
        most[call] = max(most[call], count)
    return most


def chosen(most: Counter[str]) -> list[dict[str, object]]:
    """Points spread evenly over all calls and over the run. Rare calls are met more than once: where the other threads
    stand at that moment differs from run to run."""
    share = -(-POINTS // len(most))
    return [
        {"call": call, "when": 1 + at * count // share} for call, count in sorted(most.items()) for at in range(share)
    ]


def test_every_acknowledged_object_survives(tmp_path: Path) -> None:
    asyncio.run(fault_objects.Expected().faults(tmp_path / "data"))  # makes the folder
    most = calls_of_a_whole_run(tmp_path)
    assert {"openat", "writev", "pwrite64", "fdatasync", "fsync", "unlink", "write"} <= set(most)
    points = chosen(most)
    lanes = []
    for number in range(2):
        shutil.copytree(tmp_path / "data", tmp_path / f"lane{number}")
        (tmp_path / f"points{number}").write_text("".join(json.dumps(point) + "\n" for point in points[number::2]))
        with (tmp_path / f"points{number}").open() as given:
            lanes.append(
                subprocess.Popen(
                    [sys.executable, LANE, tmp_path / f"lane{number}"], stdin=given, stdout=subprocess.PIPE, text=True
                )
            )
    results = [json.loads(line) for lane in lanes for line in lane.communicate()[0].splitlines()]
    assert [lane.returncode for lane in lanes] == [0, 0]
    ends = [result for result in results if "end" in result]
    kills = [result for result in results if "end" not in result]
    assert [result for result in results if result["wrong"]] == []
    assert len(kills) == len(points) >= 500
    killed = Counter(result["call"] for result in kills if result["killed"])
    assert killed.total() >= 500, f"only {killed.total()} of {len(kills)} points were reached: {killed}"
    assert set(killed) == set(most)
    # The workers had something to lose: they were killed before, between and after reports.
    assert len({result["reported"] for result in kills}) > 5
    assert all(end["there"] > 100 for end in ends)
    print(f"{killed.total()} kills: {dict(killed)}; {[end['there'] for end in ends]} objects survived them")
