"""The archive as the skins see it: in, known, out, deleted, closed and opened again.

Long because the contract is one story, told on one set of objects.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from struct import pack

import orjson
import pytest

import fault_objects
from fault_objects import CT, EXPLICIT, ORIGIN, SETTINGS, data_set, store, uids
from isocenter.archive.archive import Archive
from isocenter.archive.check import check_folder, rebuild
from isocenter.archive.ingest import Outcome
from isocenter.errors import (
    ArchiveBusy,
    DataFolderError,
    DataFolderInUse,
    DataSetError,
    DuplicateInstance,
    InstanceMismatch,
    InvalidUID,
    LimitExceeded,
    NotDicomError,
    NotFound,
    TruncatedError,
)
from isocenter.model import Equal, InstanceRef, Level, Origin, Query, Scope
from isocenter.settings import Settings
from isocenter.wire.part10 import file_meta, read_header

ONE = "1.9.1.1.1"
FILE = Origin("import", "here")


def archived(folder: Path, scenario: Callable[[Archive], Awaitable[None]], settings: Settings = SETTINGS) -> None:
    """Run a scenario in an archive."""

    async def run() -> None:
        async with await Archive.open(folder, settings) as archive:
            await scenario(archive)

    asyncio.run(run())


async def put(archive: Archive, data: bytes, *, uid: str = ONE, sop_class: str = CT, syntax: str = EXPLICIT) -> Outcome:
    incoming = archive.begin(ORIGIN, transfer_syntax=syntax, sop_class=sop_class, sop_instance=uid)
    incoming.write([data[:50], memoryview(data)[50:]])
    return await incoming.commit()


def whole(archive: Archive, ref: InstanceRef) -> bytes:
    with archive.blob(ref) as blob:
        return blob.read()


def files(folder: Path) -> list[Path]:
    """Every file with content; a store at work keeps empty ones ready."""
    found = (path for path in (folder / "objects").rglob("*") if path.is_file())
    return sorted(path for path in found if path.stat().st_size)


def test_a_data_set_gets_a_header_and_stays_itself(tmp_path: Path) -> None:
    async def scenario(archive: Archive) -> None:
        data = data_set(ONE)
        outcome = await put(archive, data)
        assert (outcome.kind, outcome.warnings) == ("stored", ())
        ref = outcome.ref
        assert (ref.study, ref.series, ref.instance) == (*uids(ONE), ONE)
        content = whole(archive, ref)
        assert content[ref.data_set_offset :] == data
        assert ref.size == len(content)
        assert ref.digest == hashlib.sha256(data).hexdigest()
        assert ref.header_digest == hashlib.sha256(content[: ref.data_set_offset]).hexdigest()
        meta = read_header(content)
        assert (meta.sop_class, meta.sop_instance, meta.transfer_syntax) == (CT, ONE, EXPLICIT)
        assert (meta.source_aet, meta.flags) == ("FAULTS", frozenset())
        assert await archive.select(Scope(ref.study)) == [ref]

    archived(tmp_path, scenario)


@pytest.mark.parametrize("size", [0, 100_000, 200_000, 3_000_000, 20_000_000])
def test_objects_of_every_size(tmp_path: Path, size: int) -> None:
    """Small ones are hashed from memory, large ones behind the writer, both give what hashing the file gives."""

    async def scenario(archive: Archive) -> None:
        data = data_set(ONE, size)
        for given in (None, EXPLICIT):
            uid = ONE if given else ONE + "1"
            content = data_set(uid, size)
            incoming = archive.begin(ORIGIN, transfer_syntax=given, sop_class=CT, sop_instance=uid)
            header = b"" if given else file_meta(CT, uid, EXPLICIT)
            for at in range(0, len(content), 1 << 20):
                incoming.write([header, memoryview(content)[at : at + (1 << 20)]])
                header = b""
                await asyncio.sleep(0)
            ref = (await incoming.commit()).ref
            assert ref.digest == hashlib.sha256(content).hexdigest()
            assert ref.header_digest == hashlib.sha256(whole(archive, ref)[: ref.data_set_offset]).hexdigest()
        assert len(data) > size

    archived(tmp_path, scenario)
    assert check_folder(tmp_path).sound


def test_a_file_stays_as_it_is(tmp_path: Path) -> None:
    content = file_meta(CT, ONE, EXPLICIT, calling_aet="ELSEWHERE", preamble=b"II*\0" + bytes(124)) + data_set(ONE)

    async def scenario(archive: Archive) -> None:
        outcome = await archive.ingest([content[:7], content[7:400], content[400:]], FILE)
        assert outcome.warnings == ()
        assert whole(archive, outcome.ref) == content

        async def stream() -> AsyncIterator[bytes]:
            yield content

        assert (await archive.ingest(stream(), FILE)).kind == "already-there"

    archived(tmp_path, scenario)


def test_headers_that_are_missing_or_wrong_are_made_anew(tmp_path: Path) -> None:
    other = "1.2.840.10008.1.2"
    cases = {
        "no-file-meta": lambda uid: data_set(uid),
        "no-preamble": lambda uid: file_meta(CT, uid, EXPLICIT)[128:] + data_set(uid),
        "transfer-syntax-mismatch": lambda uid: file_meta(CT, uid, other) + data_set(uid),
        "file-meta-mismatch": lambda uid: file_meta(CT, "1.2.3", EXPLICIT) + data_set(uid),
    }

    async def scenario(archive: Archive) -> None:
        for number, (flag, make) in enumerate(cases.items()):
            uid = f"1.9.1.1.{number}"
            outcome = await archive.ingest([make(uid)], FILE)
            assert flag in outcome.warnings
            content = whole(archive, outcome.ref)
            assert content[outcome.ref.data_set_offset :] == data_set(uid)
            meta = read_header(content)
            assert (meta.sop_instance, meta.transfer_syntax, meta.flags) == (uid, EXPLICIT, frozenset())

    archived(tmp_path, scenario)
    assert len(files(tmp_path)) == len(cases)
    assert check_folder(tmp_path).sound


@pytest.mark.parametrize("size", [100, 20_000_000])
def test_a_preamble_that_could_be_run_is_overwritten(tmp_path: Path, size: int) -> None:
    content = file_meta(CT, ONE, EXPLICIT, preamble=b"#!/bin/sh\n" + bytes(118)) + data_set(ONE, size)

    async def scenario(archive: Archive) -> None:
        outcome = await archive.ingest((content[at : at + 100_000] for at in range(0, len(content), 100_000)), FILE)
        assert outcome.warnings == ("preamble-overwritten",)
        assert whole(archive, outcome.ref) == bytes(128) + content[128:]

    archived(tmp_path, scenario)
    assert check_folder(tmp_path).sound


def test_a_deflated_data_set_stays_deflated(tmp_path: Path) -> None:
    deflate = zlib.compressobj(wbits=-15)
    data = deflate.compress(data_set(ONE)) + deflate.flush()

    async def scenario(archive: Archive) -> None:
        outcome = await put(archive, data, syntax="1.2.840.10008.1.2.1.99")
        assert whole(archive, outcome.ref)[outcome.ref.data_set_offset :] == data
        assert outcome.ref.study == uids(ONE)[0]

    archived(tmp_path, scenario)


def _without(data: bytes, group: int, number: int) -> bytes:
    at = data.index(pack("<HH", group, number))
    length = int.from_bytes(data[at + 6 : at + 8], "little")
    return data[:at] + data[at + 8 + length :]


BAD: dict[str, tuple[type[DataSetError], int, Callable[[bytes], bytes]]] = {
    "nothing": (TruncatedError, 0xC000, lambda data: b""),
    "truncated": (TruncatedError, 0xC000, lambda data: data[:-10]),
    "cut in a header": (TruncatedError, 0xC000, lambda data: data[:-2000][:60]),
    "no study": (InvalidUID, 0xC001, lambda data: _without(data, 0x0020, 0x000D)),
    "no series": (InvalidUID, 0xC001, lambda data: _without(data, 0x0020, 0x000E)),
    "no instance": (InvalidUID, 0xC001, lambda data: _without(data, 0x0008, 0x0018)),
    "odd study": (InvalidUID, 0xC001, lambda data: data.replace(b"1.9.1\0", b"1.09.1")),
    "other instance": (InstanceMismatch, 0xA900, lambda data: data.replace(ONE.encode(), b"1.9.1.1.2")),
    "other class": (InstanceMismatch, 0xA900, lambda data: data.replace(CT.encode(), CT.encode()[:-1] + b"4")),
    "not a data set": (DataSetError, 0xC000, lambda data: b"GET / HTTP/1.1\r\n" * 10),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_data_sets_are_refused_and_nothing_is_kept(tmp_path: Path, name: str) -> None:
    kind, status, spoil = BAD[name]

    async def scenario(archive: Archive) -> None:
        with pytest.raises(kind) as refused:
            await put(archive, spoil(data_set(ONE)))
        assert refused.value.dimse_status == status
        assert "Fault" not in str(refused.value)
        assert await archive.count(Query(Level.IMAGE)) == 0
        assert files(tmp_path) == []
        assert (await put(archive, data_set(ONE))).kind == "stored"

    archived(tmp_path, scenario)


def test_files_that_are_not_dicom(tmp_path: Path) -> None:
    async def scenario(archive: Archive) -> None:
        for content in (b"", b"x", b"%PDF-1.7 " * 1000, bytes(10_000)):
            with pytest.raises(DataSetError):
                await archive.ingest([content], FILE)
        with pytest.raises(NotDicomError):
            await archive.ingest([b"hello world, this is text " * 100], FILE)
        assert files(tmp_path) == []

    archived(tmp_path, scenario)


def test_objects_over_the_limit_end_while_they_come(tmp_path: Path) -> None:
    async def scenario(archive: Archive) -> None:
        incoming = archive.begin(ORIGIN, transfer_syntax=EXPLICIT, sop_class=CT, sop_instance=ONE)
        incoming.write([bytes(60_000)])
        with pytest.raises(LimitExceeded):
            incoming.write([bytes(60_000)])
        incoming.abandon()
        assert files(tmp_path) == []

    archived(tmp_path, scenario, SETTINGS.replace(limits_object_bytes=100_000))


def test_abandoned_objects_leave_nothing(tmp_path: Path) -> None:
    async def scenario(archive: Archive) -> None:
        for size in (10, 30_000_000):
            incoming = archive.begin(ORIGIN, transfer_syntax=EXPLICIT, sop_class=CT, sop_instance=ONE)
            for _ in range(3):
                incoming.write([bytes(size // 3)])
            incoming.abandon()
            with pytest.raises(RuntimeError):
                await incoming.commit()

    archived(tmp_path, scenario)
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("policy", "kind", "there"), [("keep-first", "kept-first", 0), ("replace", "replaced", 1), ("reject", "", 0)]
)
def test_other_bytes_under_the_same_uid(tmp_path: Path, policy: str, kind: str, there: int) -> None:
    versions = [data_set(ONE, size) for size in (1000, 2000)]

    async def scenario(archive: Archive) -> None:
        assert (await put(archive, versions[0])).kind == "stored"
        if kind:
            outcome = await put(archive, versions[1])
            assert outcome.kind == kind
            assert outcome.warnings == ("other-bytes-kept-aside",)
        else:
            with pytest.raises(DuplicateInstance) as refused:
                await put(archive, versions[1])
            assert refused.value.dimse_status == 0x0111
        (ref,) = await archive.select(Scope(uids(ONE)[0]))
        assert whole(archive, ref)[ref.data_set_offset :] == versions[there]
        assert (await put(archive, versions[there])).kind == "already-there"

    settings = SETTINGS.replace(archive_on_conflict=policy)
    archived(tmp_path, scenario, settings)
    # Both are kept, but for the one that was refused, whose sender knows.
    assert len(files(tmp_path)) == (2 if kind else 1)
    assert check_folder(tmp_path).sound
    assert rebuild(tmp_path, settings).sound

    async def again(archive: Archive) -> None:
        (ref,) = await archive.select(Scope(uids(ONE)[0]))
        assert whole(archive, ref)[ref.data_set_offset :] == versions[there]
        assert await archive.delete(Scope(uids(ONE)[0]), "all of it") == (2 if kind else 1)

    archived(tmp_path, again, settings)
    assert files(tmp_path) == []


def test_many_at_once_share_commits(tmp_path: Path) -> None:
    async def scenario(archive: Archive) -> None:
        names = [f"1.9.{study}.1.{number}" for study in range(4) for number in range(40)]
        await asyncio.gather(*(store(archive, name) for name in names))
        statistics = await archive.statistics()
        assert (statistics.studies, statistics.series, statistics.instances) == (4, 4, 160)
        changes = await archive.changes(0)
        assert sorted(str(change.scope.instance) for change in changes) == sorted(names)
        assert [change.seq for change in await archive.changes(150)] == list(range(151, 161))

    archived(tmp_path, scenario)


def test_a_cancelled_sender_harms_nobody(tmp_path: Path) -> None:
    async def scenario(archive: Archive) -> None:
        tasks = [asyncio.create_task(store(archive, f"1.9.1.1.{number}")) for number in range(30)]
        await asyncio.sleep(0.01)
        for task in tasks[::2]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await store(archive, "1.9.2.1.1")
        there = {ref.instance for ref in await archive.select(Scope("1.9.1"))}
        assert {f"1.9.1.1.{number}" for number in range(1, 30, 2)} <= there

    archived(tmp_path, scenario)
    assert check_folder(tmp_path).sound


def test_a_locked_index_is_answered_busy_and_nothing_is_lost(tmp_path: Path) -> None:
    async def run() -> None:
        archive = await Archive.open(tmp_path, SETTINGS)
        archive._index.close()
        from isocenter.index.sql import SqlIndex

        archive._index = archive._group._index = SqlIndex(tmp_path / "index.sqlite", busy_seconds=0.2)
        other = sqlite3.connect(tmp_path / "index.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ArchiveBusy) as refused:
            await store(archive, ONE)
        assert refused.value.dimse_status == 0xA700
        assert refused.value.retry
        other.execute("ROLLBACK")
        other.close()
        await store(archive, ONE)
        await archive.close()

    asyncio.run(run())
    assert check_folder(tmp_path).sound


# --- the folder ------------------------------------------------------------------------------------------------------


def test_a_file_is_no_data_folder(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"")
    with pytest.raises(DataFolderError, match="is a file and not a folder"):
        asyncio.run(Archive.open(tmp_path / "data"))


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    other = (
        "import asyncio, sys\n"
        "from isocenter.archive.archive import Archive\n"
        "from isocenter.errors import DataFolderInUse\n"
        "try:\n"
        "    asyncio.run(Archive.open(sys.argv[1]))\n"
        "except DataFolderInUse as error:\n"
        "    print(error)\n"
    )

    async def scenario(archive: Archive) -> None:
        done = subprocess.run([sys.executable, "-c", other, tmp_path], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == f"{tmp_path} is in use by process {os.getpid()}"
        with pytest.raises(DataFolderInUse):
            await Archive.open(tmp_path)
        with pytest.raises(DataFolderInUse):
            check_folder(tmp_path)
        await store(archive, ONE)

    archived(tmp_path, scenario)
    archived(tmp_path, lambda archive: store(archive, "1.9.1.1.2"))


def test_folders_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path, how in ((tmp_path / "absent", True), (tmp_path, True), (tmp_path / "file", False)):
        with pytest.raises(DataFolderError):
            asyncio.run(Archive.open(path, must_exist=how))
    with pytest.raises(DataFolderError):
        asyncio.run(Archive.open(tmp_path / "file" / "below"))
    assert sorted(os.listdir(tmp_path)) == ["file"]


def test_objects_without_index_are_not_taken_for_orphans(tmp_path: Path) -> None:
    archived(tmp_path, lambda archive: store(archive, ONE))
    (tmp_path / "index.sqlite").unlink()
    with pytest.raises(DataFolderError, match="--rebuild"):
        asyncio.run(Archive.open(tmp_path))
    with pytest.raises(DataFolderError, match="--rebuild"):
        check_folder(tmp_path)
    assert len(files(tmp_path)) == 1
    assert rebuild(tmp_path).files == 1
    archived(tmp_path, lambda archive: archive.select(Scope("1.9.1")))  # type: ignore[arg-type,return-value]


def test_files_without_a_row_are_set_aside_and_can_be_taken_in(tmp_path: Path) -> None:
    archived(tmp_path, lambda archive: store(archive, ONE))
    folder = files(tmp_path)[0].parent
    later = f"{int(folder.name[:12], 16) + 5:012x}" + folder.name[12:]
    (folder.parent / later).mkdir()
    orphan = file_meta(CT, "1.9.1.1.2", EXPLICIT) + data_set("1.9.1.1.2")
    (folder.parent / later / later).write_bytes(orphan)
    (folder.parent / later / (later[:16] + "0" * 16)).write_bytes(b"")

    async def scenario(archive: Archive) -> None:
        (aside,) = archive.set_aside
        assert await archive.count(Query(Level.IMAGE)) == 1
        assert (await archive.ingest([Path(aside).read_bytes()], FILE)).kind == "stored"

    archived(tmp_path, scenario)
    assert len(files(tmp_path)) == 2
    archived(tmp_path, lambda archive: _nothing_aside(archive))
    assert check_folder(tmp_path).sound


async def _nothing_aside(archive: Archive) -> None:
    assert archive.set_aside == []


def test_a_deletion_cut_short_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Cut(BaseException):
        pass

    def cut(*_: object, **__: object) -> None:
        raise Cut

    async def scenario(archive: Archive) -> None:
        await store(archive, ONE)
        await store(archive, "1.9.2.1.1")
        with monkeypatch.context() as patched:
            patched.setattr(archive._store, "delete", cut)
            with pytest.raises(Cut):
                await archive.delete(Scope("1.9.1"), "cut short")

    archived(tmp_path, scenario)
    assert len(files(tmp_path)) == 2
    archived(tmp_path, lambda archive: _nothing_aside(archive))
    assert len(files(tmp_path)) == 1
    assert check_folder(tmp_path).sound


# --- known and out ---------------------------------------------------------------------------------------------------


def test_metadata_cold_warm_and_grown(tmp_path: Path) -> None:
    names = [f"1.9.1.{series}.{number}" for series in (1, 2) for number in range(3)]

    async def read(archive: Archive, scope: Scope, base: str = "http://x/dicomweb") -> list[dict[str, object]]:
        return [orjson.loads(one) async for one in (await archive.metadata(scope)).texts(base)]

    async def scenario(archive: Archive) -> None:
        for name in names:
            await store(archive, name)
        cold = await read(archive, Scope("1.9.1"))
        assert [one["00080018"]["Value"] for one in cold] == [[name] for name in names]  # type: ignore[index]
        uri = f"http://x/dicomweb/studies/1.9.1/series/1.9.1.1/instances/{names[0]}/bulkdata/7FE00010"
        assert cold[0]["7FE00010"] == {"vr": "OW", "BulkDataURI": uri}
        assert await read(archive, Scope("1.9.1")) == cold
        other = await read(archive, Scope("1.9.1", "1.9.1.1"), 'https://y/"q"/')
        assert other[0]["7FE00010"]["BulkDataURI"].startswith('https://y/"q"/studies')  # type: ignore[index]
        await store(archive, "1.9.1.1.7")
        grown = await read(archive, Scope("1.9.1", "1.9.1.1"))
        assert [one["00080018"]["Value"][0] for one in grown] == [*names[:3], "1.9.1.1.7"]  # type: ignore[index]
        assert await read(archive, Scope("1.9.1", "1.9.1.2", names[-1])) == cold[-1:]
        await archive.delete(Scope("1.9.1", "1.9.1.1", names[1]), "")
        left = await read(archive, Scope("1.9.1", "1.9.1.1"))
        assert [one["00080018"]["Value"][0] for one in left] == [names[0], names[2], "1.9.1.1.7"]  # type: ignore[index]
        with pytest.raises(NotFound):
            await read(archive, Scope("1.2.3"))

    archived(tmp_path, scenario)


def test_finding_in_a_stream(tmp_path: Path) -> None:
    async def scenario(archive: Archive) -> None:
        await asyncio.gather(*(store(archive, f"1.9.{number}.1.1") for number in range(30)))
        groups = [group async for group in archive.find_stream(Query(Level.STUDY))]
        assert [len(group) for group in groups] == [1, 4, 16, 9]
        assert [one for group in groups for one in group] == await archive.find(Query(Level.STUDY))
        stream = archive.find_stream(Query(Level.STUDY))
        async for _ in stream:
            break
        await stream.aclose()  # type: ignore[attr-defined]
        assert await archive.count(Query(Level.STUDY, (Equal(0x0020000D, ("1.9.1", "1.9.2")),), limit=1)) == 2

    archived(tmp_path, scenario)


def test_what_is_not_there(tmp_path: Path) -> None:
    async def scenario(archive: Archive) -> None:
        with pytest.raises(NotFound):
            await archive.select(Scope("1.2.3"))
        with pytest.raises(NotFound):
            await archive.delete(Scope("1.2.3"), "")
        await store(archive, ONE)
        (ref,) = await archive.select(Scope("1.9.1"))
        await archive.delete(ref.scope, "gone")
        with pytest.raises(NotFound):
            archive.blob(ref)

    archived(tmp_path, scenario)


@pytest.mark.slow
def test_large_objects_are_never_held(tmp_path: Path) -> None:
    """Four objects of 200 MB at once, in a process that may grow by 100 MB."""
    program = (
        "import asyncio, os, resource, sys\n"
        "from fault_objects import *\n"
        "from fault_objects import _element\n"
        "async def one(archive, uid, part):\n"
        "    head = data_set(uid, 0)[:-12]\n"
        "    incoming = archive.begin(ORIGIN, transfer_syntax=EXPLICIT, sop_class=CT, sop_instance=uid)\n"
        "    incoming.write([head, pack('<HH2sHI', 0x7FE0, 0x10, b'OW', 0, 200 * len(part))])\n"
        "    for _ in range(200):\n"
        "        incoming.write([part])\n"
        "        await asyncio.sleep(0)\n"
        "    await incoming.commit()\n"
        "def resident():\n"
        "    return int(next(l for l in open('/proc/self/status') if l.startswith('VmHWM')).split()[1]) // 1024\n"
        "async def main():\n"
        "    async with await Archive.open(sys.argv[1], SETTINGS) as archive:\n"
        "        await store(archive, '1.9.1.1.9')\n"
        "        before = resident()\n"
        "        part = bytes(1 << 20)\n"
        "        await asyncio.gather(*(one(archive, f'1.9.1.1.{n}', part) for n in range(4)))\n"
        "        print(before, resident())\n"
        "asyncio.run(main())\n"
    )
    tests = str(Path(fault_objects.__file__).parent)
    environment = {**os.environ, "PYTHONPATH": tests}
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    before, after = map(int, done.stdout.split())
    assert after - before < 100, f"grew from {before} to {after} MB"
