"""What the archive answers for: everything that came under a UID, read again."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Literal

import pytest

from fault_objects import CT, ORIGIN, SETTINGS, data_set
from isocenter.archive.archive import Archive
from isocenter.errors import OutOfResources
from isocenter.model import InstanceRef, Scope

MR = "1.2.840.10008.5.1.4.1.1.4"
FIRST, SECOND, THIRD = "1.9.1.1.1", "1.9.1.1.2", "1.9.1.1.3"


async def put(archive: Archive, uid: str, size: int) -> InstanceRef:
    incoming = archive.begin(ORIGIN, transfer_syntax="1.2.840.10008.1.2.1", sop_class=CT, sop_instance=uid)
    incoming.write([data_set(uid, size)])
    return (await incoming.commit()).ref


def damage(folder: Path, blob: str, how: str) -> None:
    (path,) = (folder / "objects").rglob(Path(blob).name)
    if how == "gone":
        path.unlink()
        return
    raw = bytearray(path.read_bytes())
    if how == "shorter":
        del raw[-2:]
    else:
        raw[{"header": 5, "data": len(raw) - 1}[how]] ^= 0x80
    path.write_bytes(raw)


@pytest.mark.parametrize("how", ["gone", "shorter", "header", "data"])
def test_whatever_is_wrong_with_a_file_it_is_not_committed(tmp_path: Path, how: str) -> None:
    async def scenario() -> None:
        async with await Archive.open(tmp_path, SETTINGS) as archive:
            refs = [await put(archive, uid, 3000) for uid in (FIRST, SECOND)]
            both = [(CT, FIRST), (CT, SECOND)]
            assert {} == await archive.commit(both)
            damage(tmp_path, refs[1].blob, how)
            assert {(CT, SECOND): "damaged"} == await archive.commit(both)

    asyncio.run(scenario())


def test_what_is_not_there_and_what_is_something_else(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with await Archive.open(tmp_path, SETTINGS) as archive:
            ref = await put(archive, FIRST, 100)
            await put(archive, SECOND, 100)
            asked = [(MR, FIRST), (CT, FIRST), (CT, SECOND), (CT, THIRD)]
            assert {(MR, FIRST): "other-class", (CT, THIRD): "not-stored"} == await archive.commit(asked)
            await archive.delete(Scope(ref.study, ref.series, FIRST), "test")
            assert "not-stored" == (await archive.commit(asked))[CT, FIRST]
            assert {} == await archive.commit([])

    asyncio.run(scenario())


@pytest.mark.parametrize("policy", ["keep-first", "replace"])
@pytest.mark.parametrize("version", [0, 1])
def test_every_version_that_is_kept_has_to_be_sound(
    tmp_path: Path, policy: Literal["keep-first", "replace"], version: int
) -> None:
    async def scenario() -> None:
        async with await Archive.open(tmp_path, SETTINGS.replace(archive_on_conflict=policy)) as archive:
            blobs = []
            for size in (1000, 2000):
                known = set(_files(tmp_path))
                await put(archive, FIRST, size)
                blobs += [path.name for path in _files(tmp_path) if path not in known]
            assert {} == await archive.commit([(CT, FIRST)])
            damage(tmp_path, blobs[version], "data")
            assert {(CT, FIRST): "damaged"} == await archive.commit([(CT, FIRST)])

    asyncio.run(scenario())


def _files(folder: Path) -> list[Path]:
    return [path for path in (folder / "objects").rglob("*") if path.is_file() and path.stat().st_size]


def test_many_objects_take_turns_with_other_readers(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with await Archive.open(tmp_path, SETTINGS) as archive:
            wanted = [f"1.9.1.1.{number}" for number in range(1, 41)]
            refs = [await put(archive, uid, 200) for uid in wanted]
            damage(tmp_path, refs[33].blob, "data")
            reading = asyncio.create_task(archive.commit([(CT, uid) for uid in wanted]))
            assert 1 == len(await archive.select(refs[0].scope))
            assert {(CT, wanted[33]): "damaged"} == await reading

    asyncio.run(scenario())


def test_without_descriptors_nothing_is_said_about_the_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    async def scenario() -> None:
        async with await Archive.open(tmp_path, SETTINGS) as archive:
            await put(archive, FIRST, 100)
            real = os.open

            def exhausted(path: object, *arguments: object, **options: object) -> int:
                raise OSError(24, "Too many open files")

            monkeypatch.setattr(os, "open", exhausted)
            try:
                with pytest.raises(OutOfResources):
                    await archive.commit([(CT, FIRST)])
            finally:
                monkeypatch.setattr(os, "open", real)

    asyncio.run(scenario())
