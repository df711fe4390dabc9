"""A disk that fills up, under an object and under the index: refused with A700, nothing half kept, and on it goes."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import fault_objects
from fault_objects import ORIGIN, SETTINGS, data_set, store, uids
from isocenter.archive.archive import Archive
from isocenter.archive.check import check
from isocenter.errors import OutOfResources
from isocenter.model import Scope

pytestmark = pytest.mark.faults
SIZE = 16 << 20
TINY = 100


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 16 MiB."""
    if os.geteuid() != 0:
        pytest.skip("a small disk needs root, to mount a tmpfs")
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no tmpfs can be mounted: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def free(disk: Path) -> int:
    status = os.statvfs(disk)
    return status.f_bavail * status.f_frsize


def fill(disk: Path, leave: int) -> Path:
    """A file that leaves `leave` bytes free."""
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        file.write(b"x" * (free(disk) - leave))
    return ballast


async def sound(archive: Archive, expected: set[str]) -> None:
    for instance in expected:
        (ref,) = await archive.select(Scope(*uids(instance), instance))
        with archive.blob(ref) as blob:
            assert blob.read(ref.data_set_offset) in (data_set(instance), data_set(instance, TINY))
    assert (await archive.statistics()).instances == len(expected)
    assert check(archive._store, archive._index).findings == []


async def fill_up(archive: Archive, series: str, kept: set[str]) -> OutOfResources:
    """Store tiny objects, noting them in `kept`, until one is refused."""
    for number in range(1000):
        instance = f"{series}.{number}"
        try:
            await store(archive, instance, data_set(instance, TINY))
        except OutOfResources as error:
            return error
        kept.add(instance)
    raise AssertionError("the disk never filled")


def test_an_object_that_does_not_fit(disk: Path) -> None:
    async def scenario() -> None:
        async with await Archive.open(disk / "data", SETTINGS) as archive:
            await store(archive, "1.9.1.1.1")
            ballast = fill(disk, 1 << 20)
            before = free(disk)
            with pytest.raises(OutOfResources) as refused:
                await store(archive, "1.9.1.1.2", data_set("1.9.1.1.2", 3 << 20))
            assert refused.value.dimse_status == 0xA700
            assert refused.value.http_status == 507
            assert free(disk) == before
            await sound(archive, {"1.9.1.1.1"})
            ballast.unlink()
            await store(archive, "1.9.1.1.2")
            await sound(archive, {"1.9.1.1.1", "1.9.1.1.2"})

    asyncio.run(scenario())


@pytest.mark.parametrize("leave", [4096, 8192, 12288, 16384, 32768])
def test_an_index_that_does_not_fit(disk: Path, leave: int) -> None:
    async def scenario() -> None:
        async with await Archive.open(disk / "data", SETTINGS) as archive:
            await store(archive, "1.9.1.1.1")
            ballast = fill(disk, leave)
            kept = {"1.9.1.1.1"}
            refused = await fill_up(archive, "1.9.3.1", kept)
            assert "index" in str(refused)
            assert refused.dimse_status == 0xA700
            await sound(archive, kept)
            # What the failed attempt left of its log may be room enough for the next one; either way nothing is lost.
            await fill_up(archive, "1.9.4.1", kept)
            await sound(archive, kept)
            ballast.unlink()
            kept.add("1.9.1.1.2")
            await store(archive, "1.9.1.1.2")
            await sound(archive, kept)
        async with await Archive.open(disk / "data", SETTINGS) as archive:
            assert archive.set_aside == []
            await sound(archive, kept)

    asyncio.run(scenario())


def test_many_producers_on_a_disk_that_fills(disk: Path) -> None:
    async def scenario() -> None:
        kept: set[str] = set()
        # The reserve is there so that a full archive can still delete.
        settings = SETTINGS.replace(archive_minimum_free=1 << 20)
        async with await Archive.open(disk / "data", settings) as archive:

            async def produce(producer: int) -> int:
                for number in range(1000):
                    instance = f"1.9.{producer}.1.{number}"
                    try:
                        await store(archive, instance)
                    except OutOfResources:
                        return number
                    kept.add(instance)
                raise AssertionError("the disk never filled")

            await asyncio.gather(*(produce(producer) for producer in range(4)))
            await sound(archive, kept)
            victim = min(kept)
            kept.remove(victim)
            await archive.delete(Scope(uids(victim)[0]), "to make room")
            kept = {instance for instance in kept if uids(instance)[0] != uids(victim)[0]}
            await store(archive, "1.9.7.7.7")
            await sound(archive, kept | {"1.9.7.7.7"})

    asyncio.run(scenario())


def test_the_reserve_is_kept_free(disk: Path) -> None:
    async def scenario() -> None:
        settings = SETTINGS.replace(archive_minimum_free=4 << 20)
        async with await Archive.open(disk / "data", settings) as archive:
            await store(archive, "1.9.1.1.1")
            ballast = fill(disk, 3 << 20)
            await asyncio.sleep(0.1)
            with pytest.raises(OutOfResources, match="minimum_free"):
                archive.begin(ORIGIN, transfer_syntax=fault_objects.EXPLICIT, sop_class="1.2", sop_instance="1.2")
            ballast.unlink()
            await store(archive, "1.9.1.1.2")

    asyncio.run(scenario())
