"""Cuts the power of a file system under a working archive, again and again.

    power_lane.py FOLDER CUTS

FOLDER gets an ext4 image, loop-mounted. A cut is EXT4_IOC_SHUTDOWN without flushing the journal: what the kernel had
not written is lost, as when the plug is pulled. Then unmount, mount (the journal is replayed) and look. One JSON line
for each cut on stdout.

The processor runs on, unlike in a real cut, and an fdatasync that was under way may then return success for a journal
transaction that was thrown away (jbd2 takes an aborted transaction for a finished one). So what counts as acknowledged
is what had been read from the worker before the cut; what it said afterwards binds nobody, but half objects do not
excuse themselves with it.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from struct import pack

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import fault_objects

EXT4_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2
CUTS_PER_IMAGE = 25


def run(*command: object) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stderr.strip()}")


def format_image(image: Path) -> None:
    with image.open("wb") as file:
        file.truncate(1 << 30)  # sparse
    run("mkfs.ext4", "-q", "-F", image)


def cut(mount: Path, report: int, delay: float) -> bytes:
    """What had been reported when the power went, `delay` seconds after the first report."""
    heard = b""
    descriptor = os.open(mount, os.O_RDONLY)
    os.set_blocking(report, False)
    try:
        deadline = time.monotonic() + 30.0
        while select.select([report], [], [], max(0.0, deadline - time.monotonic()))[0]:
            part = os.read(report, 65536)
            if not part:
                break
            if not heard:
                deadline = time.monotonic() + delay
            heard += part
            if time.monotonic() > deadline:
                break
        fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, pack("I", NO_LOG_FLUSH))
    finally:
        os.close(descriptor)
    return heard


def one(image: Path, mount: Path, generation: int, expected: fault_objects.Expected) -> dict[str, object]:
    run("mount", "-o", "loop", image, mount)
    data = mount / "data"
    try:
        process, start, report = fault_objects.fork_worker(data, generation, rounds=2000, producers=4)
        os.write(start, b"x")
        os.close(start)
        heard = cut(mount, report, random.uniform(0.0, 0.25))
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        os.close(report)
    finally:
        run("umount", mount)
    lines = heard.decode().split("\n")[:-1]
    expected.hear(lines)
    run("mount", "-o", "loop", image, mount)
    try:
        wrong = asyncio.run(expected.faults(data))
        aside = len(os.listdir(data / "set-aside")) if (data / "set-aside").is_dir() else 0
    finally:
        run("umount", mount)
    return {"cut": generation, "reported": len(lines), "there": len(expected.there), "aside": aside, "wrong": wrong}


def main() -> None:
    logging.disable(logging.CRITICAL)
    folder, cuts = Path(sys.argv[1]), int(sys.argv[2])
    image, mount = folder / "disk.img", folder / "mount"
    mount.mkdir()
    expected = fault_objects.Expected()
    for generation in range(1, cuts + 1):
        if generation % CUTS_PER_IMAGE == 1:
            format_image(image)
            expected = fault_objects.Expected()
        print(json.dumps(one(image, mount, generation, expected)), flush=True)


if __name__ == "__main__":
    main()
