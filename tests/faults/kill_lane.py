"""Kills a working archive at given system calls, one after the other, in one data folder that lives through all.

    kill_lane.py FOLDER     points as JSON lines on stdin: {"call": "fdatasync", "when": 3}

One JSON line for each point on stdout: whether the worker was killed, what it had reported, what is wrong afterwards.
The imports are done once and workers are forked, so that a point costs a fraction of a second; strace is attached to
the worker before it begins. Its counters are per thread, so `when` is met in whichever thread comes that far first.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import fault_objects

WHOLE_CHECK_EVERY = 20
Point = dict[str, object]


def traced(process: int, arguments: list[str]) -> subprocess.Popen[bytes]:
    """strace, attached to a process that waits."""
    strace = subprocess.Popen(
        ["strace", "-f", "-qq", "-o", os.devnull, *arguments, "-p", str(process)],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 20
    while "TracerPid:\t0\n" in Path(f"/proc/{process}/status").read_text():
        if strace.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("strace cannot attach")
        time.sleep(0.002)
    return strace


def kill(
    folder: Path, generation: int, point: dict[str, object], expected: fault_objects.Expected
) -> dict[str, object]:
    process, start, report = fault_objects.fork_worker(folder, generation)
    call, when = point["call"], point["when"]
    strace = traced(process, ["-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={when}"])
    os.write(start, b"x")
    os.close(start)
    lines = fault_objects.reports(report)
    _, status = os.waitpid(process, 0)
    strace.wait(20)
    expected.hear(lines)
    only = "" if generation % WHOLE_CHECK_EVERY == 0 else f"1.9.{generation}."
    wrong = asyncio.run(expected.faults(folder, only=only))
    return {**point, "killed": os.WIFSIGNALED(status), "reported": len(lines), "wrong": wrong, "status": status}


def main() -> None:
    logging.disable(logging.CRITICAL)
    folder = Path(sys.argv[1])
    expected = fault_objects.Expected()
    for generation, line in enumerate(sys.stdin, 1):
        print(json.dumps(kill(folder, generation, json.loads(line), expected)), flush=True)
    wrong = asyncio.run(expected.faults(folder))
    print(json.dumps({"end": True, "there": len(expected.there), "wrong": wrong}), flush=True)


if __name__ == "__main__":
    main()
