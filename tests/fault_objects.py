"""Small CT objects whose bytes follow from their UID, and what a data folder must hold after a fault.

A worker reports each object over a pipe when, and only when, `commit()` has returned. Whoever survives it can then say
which objects must be there, and with which bytes.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from struct import pack

from isocenter.archive.archive import Archive
from isocenter.archive.check import check
from isocenter.archive.routing import Rule
from isocenter.errors import DataSetError, NotFound
from isocenter.known_peers import KnownPeer
from isocenter.model import Level, Origin, Query, Scope
from isocenter.settings import Settings

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
ORIGIN = Origin("dimse", "127.0.0.1:0", "FAULTS", "ISOCENTER")
# Without this the small disks of these tests would be refused at once.
SETTINGS = Settings(archive_minimum_free=0, archive_sync_threads=2)


def _element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
    value += b"\0" * (len(value) & 1) if vr == b"UI" else b" " * (len(value) & 1)
    if vr == b"OW":
        return pack("<HH2sHI", group, number, vr, 0, len(value)) + value
    return pack("<HH2sH", group, number, vr, len(value)) + value


def uids(instance: str) -> tuple[str, str]:
    """Study and Series Instance UID of an instance "1.9.STUDY.SERIES.NUMBER"."""
    parts = instance.split(".")
    return ".".join(parts[:3]), ".".join(parts[:4])


def data_set(instance: str, size: int | None = None) -> bytes:
    """An Explicit VR Little Endian CT object; its pixels are drawn from its UID."""
    seed = hashlib.sha256(instance.encode()).digest()
    size = 2_000 + int.from_bytes(seed[:2], "big") * 2 if size is None else size
    pixels = (seed * (size // 32 + 1))[: size & ~1]
    study, series = uids(instance)
    return b"".join(
        (
            _element(0x0008, 0x0016, b"UI", CT.encode()),
            _element(0x0008, 0x0018, b"UI", instance.encode()),
            _element(0x0008, 0x0060, b"CS", b"CT"),
            _element(0x0010, 0x0010, b"PN", b"Fault^" + study.encode()),
            _element(0x0010, 0x0020, b"LO", study.encode()),
            _element(0x0020, 0x000D, b"UI", study.encode()),
            _element(0x0020, 0x000E, b"UI", series.encode()),
            _element(0x0028, 0x0010, b"US", pack("<H", 16)),
            _element(0x7FE0, 0x0010, b"OW", pixels),
        )
    )


async def store(archive: Archive, instance: str, data: bytes | None = None) -> None:
    """As an association does."""
    data = data_set(instance) if data is None else data
    incoming = archive.begin(ORIGIN, transfer_syntax=EXPLICIT, sop_class=CT, sop_instance=instance)
    for at in range(0, len(data), 40_000):
        incoming.write([data[at : at + 40_000]])
    await incoming.commit()


def say(pipe: int, word: str, instance: str) -> None:
    os.write(pipe, f"{word} {instance}\n".encode())


async def work(folder: Path, generation: int, pipe: int, rounds: int = 2, producers: int = 3) -> None:
    """Everything that changes a data folder: storing in company, the same again, a refusal, a deletion, closing.

    Reports "stored UID" after commit, "deleting UID" before and "deleted UID" after a deletion.
    """
    async with await Archive.open(folder, SETTINGS) as archive:
        # Nobody performs the jobs, so that they can be looked at afterwards.
        archive.router.replace(SETTINGS, [Rule(KnownPeer("there", "THERE", "127.0.0.1", 104))], ())  # type: ignore[arg-type]

        async def produce(producer: int) -> None:
            for number in range(rounds):
                instance = f"1.9.{generation}.{producer}.{number}"
                await store(archive, instance)
                say(pipe, "stored", instance)

        await asyncio.gather(*(produce(producer) for producer in range(1, producers + 1)))
        first = f"1.9.{generation}.1.0"
        await store(archive, first)
        try:
            await store(archive, f"1.9.{generation}.8.0", data_set(f"1.9.{generation}.8.0")[:-7])
        except DataSetError:
            say(pipe, "refused", f"1.9.{generation}.8.0")
        say(pipe, "deleting", first)
        await archive.delete(Scope(*uids(first), first), "fault test")
        say(pipe, "deleted", first)


class Expected:
    """What the folder must hold, from the reports of all workers so far."""

    def __init__(self) -> None:
        self.there: set[str] = set()
        self.gone: set[str] = set()

    def hear(self, lines: Iterable[str]) -> None:
        for line in lines:
            word, _, instance = line.partition(" ")
            if word == "stored":
                self.there.add(instance)
            elif word == "deleting":
                self.there.discard(instance)
            elif word in ("deleted", "refused"):
                self.gone.add(instance)

    async def faults(self, folder: Path, *, only: str = "") -> list[str]:
        """Open the folder and say what is wrong with it. `only`: look at the bytes of UIDs with this beginning."""
        wrong: list[str] = []
        async with await Archive.open(folder, SETTINGS) as archive:
            for instance in self.there:
                if instance.startswith(only):
                    wrong.extend([found async for found in _lost(archive, instance)])
            found = await archive.find(Query(Level.IMAGE))
            visible = {one.instance for one in found}
            wrong.extend(f"{instance} is visible" for instance in self.gone & visible)
            wrong.extend(f"{instance} is not found" for instance in self.there - visible)
            to_forward = {uid for job in await archive.jobs.listed() for uid in await archive.jobs.left(job.id)}
            wrong.extend(f"{instance} will not be forwarded" for instance in visible - to_forward)
            if not only:
                report = check(archive._store, archive._index)
                wrong.extend(f"{finding.kind} {finding.blob}" for finding in report.findings)
            counted = (await archive.statistics()).instances
            if counted != len(found):
                wrong.append(f"{len(found)} instances, {counted} counted")
        return wrong


async def _lost(archive: Archive, instance: str) -> AsyncIterator[str]:
    try:
        (ref,) = await archive.select(Scope(*uids(instance), instance))
        with archive.blob(ref) as blob:
            if blob.read(ref.data_set_offset) != data_set(instance):
                yield f"{instance} has other bytes"
    except NotFound:
        yield f"{instance} is lost"


def fork_worker(folder: Path, generation: int, **how: int) -> tuple[int, int, int]:
    """Fork a worker that waits for a byte: its process id, the pipe to start it, the pipe it reports to."""
    start_read, start = os.pipe()
    report, report_write = os.pipe()
    process = os.fork()
    if process:
        os.close(start_read)
        os.close(report_write)
        return process, start, report
    try:
        os.close(start)
        os.close(report)
        os.read(start_read, 1)
        asyncio.run(work(folder, generation, report_write, **how))
        os._exit(0)
    finally:
        os._exit(1)


def reports(pipe: int) -> list[str]:
    """The whole lines a worker reported before it ended."""
    with os.fdopen(pipe, "rb") as file:
        text = file.read().decode()
    return text.split("\n")[:-1]
