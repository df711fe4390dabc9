"""Verifying a data folder, and the index made anew from its files."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from fault_objects import CT, EXPLICIT, ORIGIN, SETTINGS, data_set, store
from isocenter.archive.archive import Archive
from isocenter.archive.check import check_folder, rebuild
from isocenter.archive.jobs import Wanted
from isocenter.errors import DataFolderError, DataSetError
from isocenter.model import InstanceRef, Level, Origin, Query, Scope
from isocenter.wire.part10 import read_header

ONE = "1.9.1.1.1"
FILE = Origin("import", "here")


def archived(folder: Path, scenario: Callable[[Archive], Awaitable[None]]) -> None:
    """Run a scenario in an archive."""

    async def run() -> None:
        async with await Archive.open(folder, SETTINGS) as archive:
            await scenario(archive)

    asyncio.run(run())


def whole(archive: Archive, ref: InstanceRef) -> bytes:
    with archive.blob(ref) as blob:
        return blob.read()


def files(folder: Path) -> list[Path]:
    """Every file with content; a store at work keeps empty ones ready."""
    found = (path for path in (folder / "objects").rglob("*") if path.is_file())
    return sorted(path for path in found if path.stat().st_size)


async def _nothing_aside(archive: Archive) -> None:
    assert archive.set_aside == []


def test_check_finds_what_is_wrong(tmp_path: Path) -> None:
    names = [f"1.9.1.1.{number}" for number in range(6)]

    async def scenario(archive: Archive) -> None:
        for name in names:
            await store(archive, name)

    archived(tmp_path, scenario)
    assert check_folder(tmp_path) == check_folder(tmp_path)
    sound = check_folder(tmp_path)
    assert (sound.files, sound.findings) == (6, [])
    assert sound.bytes == sum(path.stat().st_size for path in files(tmp_path))
    flipped, header, missing, shorter, _, _ = files(tmp_path)
    _flip(flipped, flipped.stat().st_size - 100)
    _flip(header, 140)
    missing.unlink()
    shorter.write_bytes(shorter.read_bytes()[:-1])
    extra = shorter.with_name("f" * 32)
    extra.write_bytes(b"who am I")
    seen: list[tuple[int, int]] = []
    report = check_folder(tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert [(found.kind, found.scope and found.scope.instance) for found in report.findings] == [
        ("digest", names[0]),
        ("header", names[1]),
        ("missing", names[2]),
        ("size", names[3]),
        ("extra", None),
    ]
    assert not report.sound
    assert seen[-1] == (6, 6)


def _flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


async def _answers(archive: Archive) -> list[object]:
    found: list[object] = []
    for level in Level:
        found.append(await archive.find(Query(level, include=None)))
    found.append(
        [ref for one in await archive.find(Query(Level.STUDY)) for ref in await archive.select(Scope(one.study))]
    )
    found.append(await archive.statistics())
    return found


def test_a_rebuilt_index_answers_the_same(tmp_path: Path) -> None:
    before: list[object] = []
    after: list[object] = []

    async def fill(archive: Archive) -> None:
        for number in range(20):
            await store(archive, f"1.9.{number % 3}.{number % 2}.{number}")
        other = archive.begin(ORIGIN, transfer_syntax=EXPLICIT, sop_class=CT, sop_instance="1.9.0.0.0")
        other.write([data_set("1.9.0.0.0", 99)])
        assert (await other.commit()).kind == "kept-first"
        await archive.delete(Scope("1.9.1", "1.9.1.0"), "not to come back")
        before.extend(await _answers(archive))

    async def look(archive: Archive) -> None:
        after.extend(await _answers(archive))

    archived(tmp_path, fill)
    (tmp_path / "index.sqlite").unlink()
    report = rebuild(tmp_path)
    assert report.findings == []
    archived(tmp_path, look)
    assert after == before
    assert check_folder(tmp_path).sound


def test_a_damaged_index_is_rebuilt_and_kept(tmp_path: Path) -> None:
    archived(tmp_path, lambda archive: store(archive, ONE))
    index = tmp_path / "index.sqlite"
    index.write_bytes(b"garbage" * 1000)
    with pytest.raises(DataFolderError, match="--rebuild"):
        asyncio.run(Archive.open(tmp_path))
    folder = files(tmp_path)[0].parent
    (folder / ("e" * 32)).write_bytes(b"not an object")
    (folder / ("f" * 32)).write_bytes(files(tmp_path)[0].read_bytes())
    report = rebuild(tmp_path)
    assert [found.kind for found in report.findings] == ["unreadable", "duplicate", "jobs"]
    assert (tmp_path / "index.before-rebuild.sqlite").read_bytes() == b"garbage" * 1000
    assert len(os.listdir(tmp_path / "set-aside")) == 2
    assert check_folder(tmp_path).sound
    archived(tmp_path, lambda archive: _nothing_aside(archive))


def test_jobs_are_taken_over(tmp_path: Path) -> None:
    """What was acknowledged has to be forwarded, and no file says so."""

    async def fill(archive: Archive) -> None:
        await store(archive, ONE)
        await archive.jobs.add(
            Wanted("forward", "a"), Wanted("forward", "b", {"x": [1]}, [f"1.{n}" for n in range(1200)])
        )

    before: list[object] = []
    after: list[object] = []

    async def look(archive: Archive, kept: list[object]) -> None:
        kept.extend(await archive.jobs.listed())
        kept.append(await archive.jobs.left(2))

    archived(tmp_path, fill)
    archived(tmp_path, lambda archive: look(archive, before))
    assert rebuild(tmp_path).findings == []
    archived(tmp_path, lambda archive: look(archive, after))
    assert 3 == len(after)
    assert before == after


def test_the_corpus_comes_back_byte_for_byte(corpus: Path, corpus_index: list[dict[str, str]], tmp_path: Path) -> None:
    """Every file that is a whole object: its data set is kept as it is, and a rebuilt index answers the same."""
    before: list[object] = []
    after: list[object] = []

    async def fill(archive: Archive) -> None:
        stored = 0
        for row in corpus_index:
            content = (corpus / row["source"] / row["path"]).read_bytes()
            try:
                outcome = await archive.ingest([content], FILE)
            except DataSetError:
                continue
            if outcome.kind == "stored":
                stored += 1
                kept = whole(archive, outcome.ref)[outcome.ref.data_set_offset :]
                assert kept == content[read_header(content).data_set_offset :]
        assert stored > 300
        before.extend(await _answers(archive))

    async def look(archive: Archive) -> None:
        after.extend(await _answers(archive))

    archived(tmp_path, fill)
    assert check_folder(tmp_path).sound
    assert rebuild(tmp_path).findings == []
    archived(tmp_path, look)
    assert after == before
