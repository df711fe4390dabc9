"""The archive keeps objects of no patient as it keeps all others, beside the studies (PS3.4 Annex GG)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import orjson
import pytest

from fault_objects import CT, ORIGIN, SETTINGS, data_set, store
from isocenter.archive.archive import Archive
from isocenter.archive.check import check_folder, rebuild
from isocenter.archive.ingest import Outcome
from isocenter.errors import InstanceMismatch, InvalidUID, NotFound
from isocenter.model import Equal, Level, Origin, Query, Scope
from isocenter.std.non_patient import NON_PATIENT_KEYS, RESOURCE_OF, RESOURCES
from isocenter.wire.part10 import read_header
from non_patient_objects import PALETTES, UID_OF, hanging_protocol, one_of_each, read

FILE = Origin("import", "here")
HANGING = (UID_OF["HangingProtocolStorage"],)


def archived(folder: Path, scenario: Callable[[Archive], Awaitable[None]]) -> None:
    """Run a scenario in an archive."""

    async def run() -> None:
        async with await Archive.open(folder, SETTINGS) as archive:
            await scenario(archive)

    asyncio.run(run())


def whole(archive: Archive, outcome: Outcome) -> bytes:
    with archive.blob(outcome.ref) as blob:
        return blob.read()


async def put(archive: Archive, file: bytes) -> Outcome:
    """As an association does."""
    meta = read_header(file)
    incoming = archive.begin(
        ORIGIN, transfer_syntax=meta.transfer_syntax, sop_class=meta.sop_class, sop_instance=meta.sop_instance
    )
    incoming.write([file[meta.data_set_offset :]])
    return await incoming.commit()


@pytest.mark.parametrize("way", ["association", "file"])
def test_one_of_each_class_is_kept_as_it_came(tmp_path: Path, way: str) -> None:
    files = one_of_each()
    assert {UID_OF[keyword] for keyword in files} == NON_PATIENT_KEYS.keys()

    async def scenario(archive: Archive) -> None:
        await store(archive, "1.9.1.1.1")
        for keyword, file in files.items():
            outcome = await put(archive, file) if way == "association" else await archive.ingest([file], FILE)
            assert (outcome.kind, outcome.warnings) == ("stored", ())
            ref = outcome.ref
            assert (ref.study, ref.series, ref.sop_class) == ("", "", UID_OF[keyword])
            assert ref.resource == f"{RESOURCE_OF[ref.sop_class]}/{ref.instance}"
            assert whole(archive, outcome)[ref.data_set_offset :] == file[read_header(file).data_set_offset :]
            assert await archive.select(ref.scope) == [ref]
        counts = await archive.statistics()
        assert (counts.patients, counts.studies, counts.series) == (1, 1, 1)
        assert (counts.instances, counts.non_patient) == (1 + len(files), len(files))
        for level in Level:
            assert len(await archive.find(Query(level))) == 1
        found = {name: await archive.find(Query(Level.IMAGE, sop_classes=RESOURCES[name])) for name in RESOURCES}
        assert {name: len(answers) for name, answers in found.items()} == {
            name: len(classes) for name, classes in RESOURCES.items()
        }

    archived(tmp_path, scenario)
    assert check_folder(tmp_path).sound


def test_they_survive_a_new_start_a_check_and_a_new_index(tmp_path: Path) -> None:
    files = list(one_of_each().values())

    async def fill(archive: Archive) -> None:
        await store(archive, "1.9.1.1.1")
        for file in files:
            await put(archive, file)
        assert (await put(archive, hanging_protocol(1, "Another", "MG"))).kind == "kept-first"

    async def compare(archive: Archive) -> None:
        assert archive.set_aside == []
        counts = await archive.statistics()
        assert (counts.studies, counts.non_patient) == (1, len(files))
        (protocol,) = await archive.find(Query(Level.IMAGE, sop_classes=HANGING))
        assert protocol.attributes["00720002"]["Value"] == ["Mammo"]
        for file in files:
            data = read(file)
            (ref,) = await archive.select(Scope("", "", data.SOPInstanceUID))
            assert ref.sop_class == data.SOPClassUID

    archived(tmp_path, fill)
    archived(tmp_path, compare)
    report = check_folder(tmp_path)
    assert (report.files, report.findings) == (len(files) + 2, [])
    rebuilt = rebuild(tmp_path, SETTINGS)
    assert (rebuilt.files, rebuilt.findings) == (len(files) + 2, [])
    archived(tmp_path, compare)


def test_damage_is_found(tmp_path: Path) -> None:
    async def fill(archive: Archive) -> None:
        outcome = await put(archive, hanging_protocol(1, "Mammo", "MG"))
        path = tmp_path / "objects" / outcome.ref.blob
        raw = bytearray(path.read_bytes())
        raw[-3] ^= 1
        path.write_bytes(raw)
        assert await archive.commit([(outcome.ref.sop_class, outcome.ref.instance)])

    archived(tmp_path, fill)
    (finding,) = check_folder(tmp_path).findings
    assert (finding.kind, finding.scope is not None and finding.scope.non_patient) == ("digest", True)


def test_deleting(tmp_path: Path) -> None:
    async def scenario(archive: Archive) -> None:
        first = await put(archive, hanging_protocol(1, "Mammo", "MG"))
        await put(archive, hanging_protocol(1, "Another", "MG"))
        kept = await put(archive, hanging_protocol(2, "Chest", "CR"))
        assert await archive.delete(first.ref.scope, "obsolete") == 2
        with pytest.raises(NotFound):
            archive.blob(first.ref)
        with pytest.raises(NotFound):
            await archive.delete(first.ref.scope, "again")
        assert [one.instance for one in await archive.find(Query(Level.IMAGE, sop_classes=HANGING))] == [
            kept.ref.instance
        ]
        assert (await archive.changes(0))[-1].scope == first.ref.scope

    archived(tmp_path, scenario)
    assert check_folder(tmp_path).files == 1


def test_the_archive_answers_for_them(tmp_path: Path) -> None:
    async def scenario(archive: Archive) -> None:
        ref = (await put(archive, PALETTES[0].read_bytes())).ref
        assert await archive.commit([(ref.sop_class, ref.instance), (CT, ref.instance)]) == {
            (CT, ref.instance): "other-class"
        }

    archived(tmp_path, scenario)


def test_metadata_has_the_address_of_bulk_data(tmp_path: Path) -> None:
    async def scenario(archive: Archive) -> None:
        ref = (await put(archive, PALETTES[0].read_bytes())).ref
        found = await archive.metadata(ref.scope)
        (text,) = [one async for one in found.texts("http://here/dicomweb")]
        answer = orjson.loads(text)
        assert answer["00080018"]["Value"] == [ref.instance]
        # The ICC profile is longer than what is given inline.
        assert answer["00282000"]["BulkDataURI"] == f"http://here/dicomweb/{ref.resource}/bulkdata/00282000"

    archived(tmp_path, scenario)


def test_what_is_refused_of_other_objects_is_refused_of_them(tmp_path: Path) -> None:
    async def scenario(archive: Archive) -> None:
        file = hanging_protocol(1, "Mammo", "MG")
        incoming = archive.begin(
            ORIGIN, transfer_syntax="1.2.840.10008.1.2.1", sop_class=HANGING[0], sop_instance="1.2.3"
        )
        incoming.write([file[read_header(file).data_set_offset :]])
        with pytest.raises(InstanceMismatch):
            await incoming.commit()
        with pytest.raises(InvalidUID):
            await put(archive, file.replace(b".8.498.77.", b".08.49.77."))
        assert (await archive.statistics()).instances == 0

    archived(tmp_path, scenario)


def test_an_image_without_a_study_is_refused_as_before(tmp_path: Path) -> None:
    async def scenario(archive: Archive) -> None:
        data = data_set("1.9.1.1.1")
        study = data.index(b"\x20\x00\x0d\x00UI")
        without = data[:study] + data[data.index(b"\x20\x00\x0e\x00UI") :]
        with pytest.raises(InvalidUID) as caught:
            await store(archive, "1.9.1.1.1", without)
        assert (caught.value.dimse_status, caught.value.tag_path) == (0xC001, "(0020,000D)")

    archived(tmp_path, scenario)


def test_a_study_does_not_make_a_patient_of_a_hanging_protocol(tmp_path: Path) -> None:
    async def scenario(archive: Archive) -> None:
        outcome = await put(archive, hanging_protocol(1, "Mammo", "MG", StudyInstanceUID="1.2.3", PatientID="P1"))
        assert outcome.ref.scope == Scope("", "", outcome.ref.instance)
        assert await archive.count(Query(Level.PATIENT)) == 0
        match = Equal(0x00080018, (outcome.ref.instance,))
        (found,) = await archive.find(Query(Level.IMAGE, (match,), sop_classes=HANGING))
        assert "00100020" not in found.attributes

    archived(tmp_path, scenario)
