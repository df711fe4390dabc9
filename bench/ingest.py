"""The archive without a network: begin, write, commit, with full durability, by concurrent producers in one event loop.

What the disk itself allows stands beside it: the same bytes written and fdatasynced, one file after the other. A
producer waits for its object's outcome before it begins the next one, as an association does.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import uvloop

import objects
from isocenter.archive.archive import Archive
from isocenter.model import Origin

ORIGIN = Origin("dimse", "127.0.0.1:0", "BENCH", "ISOCENTER")
CHUNK = 128 * 1024


def disk(folder: Path, data: bytes, count: int) -> tuple[float, float]:
    """Files a second, written and fdatasynced, with nothing else done; and seconds of CPU a file."""
    folder.mkdir()
    begin, cpu = time.perf_counter(), time.process_time()
    for number in range(count):
        descriptor = os.open(folder / str(number), os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        os.writev(descriptor, [data])
        os.fdatasync(descriptor)
        os.close(descriptor)
    elapsed, spent = time.perf_counter() - begin, time.process_time() - cpu
    shutil.rmtree(folder)
    return count / elapsed, spent / count


def data_sets(template: objects.Template, batch: int, count: int) -> Iterator[tuple[str, list[memoryview]]]:
    """UID and chunks of each object."""
    for number in range(count):
        uid = objects.instance_uid(batch, number)
        data = bytearray(template.data_set)
        data[template.uid_offset : template.uid_offset + len(uid)] = uid.encode()
        view = memoryview(data)
        yield uid, [view[at : at + CHUNK] for at in range(0, len(view), CHUNK)]


async def ingest(
    archive: Archive, template: objects.Template, batch: int, count: int, producers: int
) -> tuple[float, float]:
    """Objects a second, and seconds of CPU an object."""
    waiting = list(data_sets(template, batch, count))

    async def produce() -> None:
        while waiting:
            uid, chunks = waiting.pop()
            incoming = archive.begin(
                ORIGIN,
                transfer_syntax=objects.EXPLICIT_LITTLE,
                sop_class=objects.CT_IMAGE_STORAGE,
                sop_instance=uid,
            )
            for chunk in chunks:
                incoming.write([chunk])
            await incoming.commit()

    begin, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(produce() for _ in range(producers)))
    return count / (time.perf_counter() - begin), (time.process_time() - cpu) / count


async def run(folder: Path, size: int, count: int, rounds: int, producers: list[int]) -> None:
    figures: dict[str, list[tuple[float, float]]] = {}
    for number in range(rounds):
        template = objects.template(size, number)
        figures.setdefault("disk alone", []).append(disk(folder / "disk", template.data_set, count))
        for many in producers:
            async with await Archive.open(folder / "data") as archive:
                await ingest(archive, template, number, 20, many)
                shifted = objects.template(size, 100 + number)
                rate = await ingest(archive, shifted, 100 + number, count, many)
            figures.setdefault(f"{many} producers", []).append(rate)
            shutil.rmtree(folder / "data")
    for name, measured in figures.items():
        rates, spent = [rate for rate, _ in measured], [cpu for _, cpu in measured]
        spread = f"({min(rates):.0f} to {max(rates):.0f})"
        line = f"{size // 1024:6d} KiB  {name:14s} {statistics.median(rates):8.0f}/s {spread:16s}"
        print(f"{line} {statistics.median(spent) * 1e6:6.0f} us of CPU each")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="*", default=[512, 39], help="KiB")
    parser.add_argument("--producers", type=int, nargs="*", default=[1, 2, 4, 16])
    parser.add_argument("--folder", type=Path, default=None, help="where; a disk, not a tmpfs")
    options = parser.parse_args()
    logging.getLogger("isocenter").setLevel(logging.WARNING)
    for size in options.sizes:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            uvloop.run(run(Path(folder), size * 1024, options.count, options.rounds, options.producers))


if __name__ == "__main__":
    main()
