"""A study as a file-set: DICOMDIR and files in a ZIP file, as pydicom, DCMTK and dicom3tools read them."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from anyio import from_thread
from pydicom.data import get_testdata_file
from pydicom.fileset import FileSet
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

import peers
from isocenter.media import fileset as media
from isocenter.media.dicomdir import Node, dicomdir
from isocenter.model import InstanceRef, Origin, Scope
from isocenter.web import filesets, wado
from isocenter.web.zipped import Entry, by_uid
from skins.conftest import archived
from skins.web_harness import Web, saved

# pydicom writes what came in Implicit VR, and has remarks on the values in its own odd files.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

STUDY = generate_uid()
ZIP = "application/zip"
# What is said of each: record type, and the transfer syntax in the file-set
NAMES = {
    "CT_small.dcm": "IMAGE",
    "MR_small_implicit.dcm": "IMAGE",
    "MR_small_bigendian.dcm": "IMAGE",
    "MR_small_RLE.dcm": "IMAGE",
    "JPEG2000.dcm": "IMAGE",
    "SC_rgb_jpeg_dcmtk.dcm": "IMAGE",
    "rtplan.dcm": "RT PLAN",
    "rtdose_1frame.dcm": "RT DOSE",
    "rtstruct.dcm": "RT STRUCTURE SET",
    "waveform_ecg.dcm": "WAVEFORM",
    "test-SR.dcm": "SR DOCUMENT",
}


@contextmanager
def file_set_at(path: Path) -> Iterator[FileSet]:
    """pydicom's view of it, whose temporary folder it would leave to the garbage collector."""
    files = FileSet(path / "DICOMDIR")
    try:
        yield files
    finally:
        files._stage["t"].cleanup()


def objects() -> Iterator[pydicom.Dataset]:
    """Objects of one study of one patient, of many kinds and in many syntaxes."""
    series = generate_uid()
    for name in NAMES:
        path = get_testdata_file(name, download=False)
        assert path, name
        ds = pydicom.dcmread(str(path), force=True)
        ds.SpecificCharacterSet = "ISO_IR 192"
        ds.PatientName, ds.PatientID, ds.IssuerOfPatientID = "Hong^Gildong=洪^吉洞=홍^길동", "H1", ""
        ds.StudyInstanceUID, ds.StudyDate, ds.StudyTime = STUDY, "20240514", "0930"
        ds.StudyDescription, ds.StudyID, ds.AccessionNumber = "여러 가지", "S1", "A1"
        ds.SeriesInstanceUID = series if name.startswith("MR_small") else generate_uid()
        ds.SOPInstanceUID = generate_uid()
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        if name == "CT_small.dcm":
            del ds.InstanceNumber
            ds.SeriesNumber = None
        yield ds


@pytest.fixture(scope="module")
def sent() -> dict[str, pydicom.Dataset]:
    return {ds.SOPInstanceUID: ds for ds in objects()}


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory, sent: dict[str, pydicom.Dataset]) -> Iterator[Web]:
    with archived(tmp_path_factory.mktemp("filesets")) as running:
        for ds in sent.values():
            assert running.store(saved(ds)).status_code == 200
        yield running


@pytest.fixture(scope="module")
def medium(tmp_path_factory: pytest.TempPathFactory, web: Web) -> Path:
    """Where the ZIP file was unpacked."""
    folder = tmp_path_factory.mktemp("medium")
    answer = web.get(f"/dicomweb/studies/{STUDY}?accept={ZIP}&dicomdir=true")
    assert answer.status_code == 200
    assert ZIP == answer.headers["content-type"]
    assert f'attachment; filename="{STUDY}-dicomdir.zip"' == answer.headers["content-disposition"]
    with zipfile.ZipFile(BytesIO(answer.content)) as file:
        assert file.testzip() is None
        assert "DICOMDIR" == file.namelist()[-1]
        file.extractall(folder)
    return folder


def test_pydicom_loads_every_record(medium: Path, sent: dict[str, pydicom.Dataset]) -> None:
    with file_set_at(medium) as files:
        assert "ISOCENTER" == files.ID
        found = list(files)
        assert sent.keys() == {instance.SOPInstanceUID for instance in found}
        assert [STUDY] == files.find_values("StudyInstanceUID")
        assert ["H1"] == files.find_values("PatientID")
        for instance in found:
            ds, was = instance.load(), sent[instance.SOPInstanceUID]
            assert (
                ExplicitVRLittleEndian == ds.file_meta.TransferSyntaxUID == instance.ReferencedTransferSyntaxUIDInFile
            )
            assert was.SOPClassUID == instance.ReferencedSOPClassUIDInFile
            assert was.PatientName == ds.PatientName == instance.PatientName
            assert "여러 가지" == instance.StudyDescription
            assert all(re.fullmatch("[A-Z0-9_]{1,8}", part) for part in Path(instance.path).relative_to(medium).parts)
            if "PixelData" in was and was.SOPClassUID == "1.2.840.10008.5.1.4.1.1.4":
                assert np.array_equal(was.pixel_array, ds.pixel_array)


def test_records_are_of_their_kinds_and_complete(medium: Path, sent: dict[str, pydicom.Dataset]) -> None:
    directory = pydicom.dcmread(medium / "DICOMDIR")
    records = list(directory.DirectoryRecordSequence)
    kinds = [record.DirectoryRecordType for record in records]
    assert sorted(["PATIENT", "STUDY", *["SERIES"] * (len(NAMES) - 2), *NAMES.values()]) == sorted(kinds)
    documents = [record for record in records if record.DirectoryRecordType == "SR DOCUMENT"]
    assert all(record.ConceptNameCodeSequence and record.CompletionFlag for record in documents)
    for record in records:
        if "ReferencedFileID" in record:
            assert (medium.joinpath(*record.ReferencedFileID)).is_file()
            assert str(record.get("InstanceNumber", ""))
        if record.DirectoryRecordType == "SERIES":
            assert str(record.SeriesNumber)


def test_offsets_lead_from_record_to_record(medium: Path) -> None:
    """Each offset is where an item begins, and following them from the root meets each record once."""
    data = (medium / "DICOMDIR").read_bytes()
    directory = pydicom.dcmread(BytesIO(data))
    by_offset = {record.seq_item_tell: record for record in directory.DirectoryRecordSequence}
    assert all(data[offset : offset + 4] == b"\xfe\xff\x00\xe0" for offset in by_offset)
    met: list[int] = []
    wanted = [directory.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity]
    while wanted:
        at = wanted.pop()
        if at:
            met.append(at)
            record = by_offset[at]
            wanted += [record.OffsetOfTheNextDirectoryRecord, record.OffsetOfReferencedLowerLevelDirectoryEntity]
    assert sorted(by_offset) == sorted(met)
    assert len(met) == len(set(met))


def test_dcmtk_and_dicom3tools_read_the_directory(medium: Path, tmp_path: Path) -> None:
    peers.require("dcmdump", "dcmmkdir", "dcdirdmp")
    text = peers.run("dcmdump", medium / "DICOMDIR").stdout
    records = ("DirectoryRecordType", "OffsetOfTheNextDirectoryRecord")
    assert [22, 22] == [text.count(name) for name in records]
    # DCMTK reads the whole directory, checks it, and adds what is new: here nothing, as all is in it already.
    done = peers.run("dcmmkdir", "+A", "+id", medium, "+r", "+D", medium / "DICOMDIR", "DICOM")
    assert "error" not in done.stdout.lower()
    with file_set_at(medium) as files:
        assert len(list(files)) == len(NAMES)
    peers.require("dciodvfy")
    findings = peers.run("dciodvfy", medium / "DICOMDIR", check=False).stdout
    assert findings.startswith("BasicDirectory")
    assert "Error" not in findings
    assert "IMAGE" in peers.run("dcdirdmp", medium / "DICOMDIR").stdout


def test_a_series_and_what_is_refused(web: Web, sent: dict[str, pydicom.Dataset]) -> None:
    ds = next(one for one in sent.values() if one.Modality == "MR")
    series = f"/dicomweb/studies/{STUDY}/series/{ds.SeriesInstanceUID}"
    answer = web.get(f"{series}?dicomdir=true", ZIP)
    with zipfile.ZipFile(BytesIO(answer.content)) as file:
        assert [*(f"DICOM/ST000001/SE000001/IM00000{n}" for n in (1, 2, 3)), "DICOMDIR"] == file.namelist()
    assert 304 == web.get(f"{series}?dicomdir=true", ZIP, headers={"if-none-match": answer.headers["etag"]}).status_code
    assert answer.content == web.get(f"{series}?dicomdir=true", ZIP).content
    assert 406 == web.get(f"{series}?dicomdir=true", "application/dicom").status_code
    assert 400 == web.get(f"{series}?dicomdir=1", ZIP).status_code
    assert 404 == web.get(f"/dicomweb/studies/2.25.1?dicomdir=true&accept={ZIP}").status_code


def in_between(monkeypatch: pytest.MonkeyPatch, moment: str, happens: Callable[[], Awaitable[object]]) -> None:
    """Something happens once, before or after the records are made: between two steps of the answer."""
    made, left = filesets.file_set, [happens]

    async def file_set(*arguments: Any) -> media.FileSet:
        if moment == "before" and left:
            await left.pop()()
        result = await made(*arguments)
        if left:
            await left.pop()()
        return result

    monkeypatch.setattr(filesets, "file_set", file_set)


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Web]:
    """An archive of three images in two series."""
    with archived(tmp_path / "data") as running:
        for number in range(3):
            ds = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
            ds.SeriesInstanceUID = f"{ds.StudyInstanceUID}.{number // 2}"
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{ds.StudyInstanceUID}.9.{number}"
            ds.InstanceNumber = number
            assert running.store(saved(ds)).status_code == 200
        yield running


def objects_of(web: Web) -> list[InstanceRef]:
    study = pydicom.dcmread(str(get_testdata_file("CT_small.dcm"))).StudyInstanceUID
    refs: list[InstanceRef] = web.portal.call(web.archive.select, Scope(study))
    return refs


@pytest.mark.parametrize("moment", ["before", "after"])
def test_what_is_deleted_meanwhile_is_in_no_record_and_named(
    three: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    first, second, third = objects_of(three)
    gone = Scope(third.study, third.series)  # the only one of its series
    in_between(monkeypatch, moment, lambda: three.archive.delete(gone, "the test"))
    answer = three.get(f"/dicomweb/studies/{first.study}?dicomdir=true", ZIP)
    assert 200 == answer.status_code
    with zipfile.ZipFile(BytesIO(answer.content)) as file:
        names = file.namelist()
        file.extractall(tmp_path / "medium")
    assert ["DICOM/ST000001/SE000001/IM000001", "DICOM/ST000001/SE000001/IM000002"] == names[:2]
    assert (["MISSING.TXT", "DICOMDIR"] if moment == "after" else ["DICOMDIR"]) == names[2:]
    if moment == "after":
        assert third.instance in (tmp_path / "medium/MISSING.TXT").read_text("ascii").splitlines()
    with file_set_at(tmp_path / "medium") as files:
        assert {first.instance, second.instance} == {instance.SOPInstanceUID for instance in files}
        assert [first.series] == files.find_values("SeriesInstanceUID")
    # It has the entity tag of what is in it, whenever that was known before it was sent.
    now = three.get(f"/dicomweb/studies/{first.study}?dicomdir=true", ZIP)
    assert (moment == "before") == (now.headers["etag"] == answer.headers["etag"])


@pytest.mark.parametrize("syntax", ["", "; transfer-syntax=1.2.840.10008.1.2.4.80"])
def test_a_plain_zip_names_what_is_deleted_meanwhile(three: Web, monkeypatch: pytest.MonkeyPatch, syntax: str) -> None:
    first, second, third = objects_of(three)
    gone = [Scope(first.study, first.series, first.instance)]

    def after_deletion(*arguments: Any) -> Iterator[Entry]:
        while gone:
            from_thread.run(three.archive.delete, gone.pop(), "the test")
        return by_uid(*arguments)

    def deleting(*arguments: Any) -> Iterator[Entry]:
        yield from after_deletion(*arguments)  # when the first piece is made, in a thread

    monkeypatch.setattr(wado, "by_uid", deleting)
    path = f"/dicomweb/studies/{first.study}"
    answer = three.get(path, f"{ZIP}{syntax}")
    assert 200 == answer.status_code
    with zipfile.ZipFile(BytesIO(answer.content)) as file:
        assert file.testzip() is None
        left = [f"{ref.study}/{ref.series}/{ref.instance}.dcm" for ref in (second, third)]
        assert [*left, "MISSING.TXT"] == file.namelist()
        assert [first.instance] == file.read("MISSING.TXT").decode().splitlines()[1:]
    now = three.get(path, f"{ZIP}{syntax}")
    assert now.headers["etag"] != answer.headers["etag"]
    with zipfile.ZipFile(BytesIO(now.content)) as file:
        assert left == file.namelist()
    # With nothing left there is no file that would say so.
    gone += [Scope(first.study)]
    assert 404 == three.get(path, f"{ZIP}{syntax}").status_code


def test_a_lost_file_is_no_deleted_object(three: Web, tmp_path: Path) -> None:
    """It is still listed, so the answer must not pass for all that is left."""
    first, *_ = objects_of(three)
    (tmp_path / "data/objects" / first.blob).unlink()
    assert 404 == three.get(f"/dicomweb/studies/{first.study}", ZIP).status_code


def test_what_is_stored_meanwhile_is_in_the_next_one(three: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    first, *_ = objects_of(three)

    async def another() -> None:
        ds = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
        await three.archive.ingest([saved(ds)], Origin("test"))

    in_between(monkeypatch, "before", another)
    sizes = []
    for _ in range(2):
        answer = three.get(f"/dicomweb/studies/{first.study}?dicomdir=true", ZIP)
        with zipfile.ZipFile(BytesIO(answer.content)) as file:
            records = pydicom.dcmread(BytesIO(file.read("DICOMDIR"))).DirectoryRecordSequence
            images = [record for record in records if record.DirectoryRecordType == "IMAGE"]
            assert {"/".join(record.ReferencedFileID) for record in images} == set(file.namelist()) - {"DICOMDIR"}
            sizes.append(len(images))
    assert [3, 4] == sizes


def test_what_was_lost_and_not_deleted_is_an_error(three: Web) -> None:
    first, *_ = objects_of(three)
    three.archive._store.delete([first.blob])
    assert 404 == three.get(f"/dicomweb/studies/{first.study}?dicomdir=true", ZIP).status_code


@pytest.mark.parametrize(
    ("sop_class", "syntax"),
    [
        ("1.2.840.10008.5.1.4.1.1.77.1.1.1", "1.2.840.10008.1.2.4.102"),  # a video has no pixels for Explicit VR
        ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.4.70"),  # no JPEG at all: known when it is decoded
    ],
)
def test_what_cannot_be_had_in_the_profile_stays_as_it_is(tmp_path: Path, sop_class: str, syntax: str) -> None:
    with archived(tmp_path / "data") as web:
        ds = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = sop_class
        ds.file_meta.TransferSyntaxUID = syntax
        ds.PixelData = pydicom.encaps.encapsulate([b"\0" * 64])
        ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
        assert web.store(saved(ds)).status_code == 200
        answer = web.get(f"/dicomweb/studies/{ds.StudyInstanceUID}?dicomdir=true", ZIP)
        with zipfile.ZipFile(BytesIO(answer.content)) as file:
            file.extractall(tmp_path / "medium")
        with file_set_at(tmp_path / "medium") as files:
            (instance,) = files
            assert syntax == instance.ReferencedTransferSyntaxUIDInFile
            assert instance.load().PixelData == ds.PixelData


def test_a_directory_of_nothing_and_of_much() -> None:
    assert not pydicom.dcmread(BytesIO(dicomdir("EMPTY", "2.25.1", []))).DirectoryRecordSequence
    kind = b"\x04\x000\x14CS\x06\x00IMAGE "
    wide = dicomdir("WIDE", "2.25.1", [Node(kind, [Node(kind) for _ in range(50)]) for _ in range(20)])
    directory = pydicom.dcmread(BytesIO(wide))
    assert 20 * 51 == len(directory.DirectoryRecordSequence)
    last = directory.DirectoryRecordSequence[-51]
    assert last.seq_item_tell == directory.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity
    assert 0 == last.OffsetOfTheNextDirectoryRecord
