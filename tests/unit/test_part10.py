"""File meta information: written strictly, read leniently, and the data set's encoding told from the bytes."""

from __future__ import annotations

from io import BytesIO

import pytest
from pydicom import dcmread

from data_sets import MODALITY, NAME, explicit, implicit
from isocenter.errors import DataSetError, NotDicomError, TruncatedError
from isocenter.wire.part10 import file_meta, preamble_is_safe, read_header

CT = "1.2.840.10008.5.1.4.1.1.2"
IMPLICIT, EXPLICIT, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
DEFLATED, JPEG = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.50"

UIDS = explicit(0x00080016, "UI", CT.encode() + b"\0") + explicit(0x00080018, "UI", b"1.2.3\0")
EXPLICIT_SET = UIDS + MODALITY + NAME
IMPLICIT_SET = (
    implicit(0x00080016, CT.encode() + b"\0")
    + implicit(0x00080018, b"1.2.3\0")
    + implicit(0x00080060, b"CT")
    + implicit(0x00100010, b"Doe^John")
)
BIG_SET = explicit(0x00080018, "UI", b"1.2.3\0", order=">") + explicit(0x00080060, "CS", b"CT", order=">")


def meta(uid: str = EXPLICIT) -> bytes:
    return file_meta(CT, "1.2.3", uid, calling_aet="CT01", called_aet="ISOCENTER")


def test_what_is_written_is_read_back() -> None:
    header = meta()
    found = read_header(header + EXPLICIT_SET)
    assert (found.sop_class, found.sop_instance, found.transfer_syntax) == (CT, "1.2.3", EXPLICIT)
    assert (found.data_set_offset, found.has_preamble, found.source_aet) == (len(header), True, "CT01")
    assert found.flags == frozenset()
    assert found.raw[0x00020018] == b"ISOCENTER "


def test_what_is_written_is_valid_to_pydicom() -> None:
    ds = dcmread(BytesIO(meta() + EXPLICIT_SET))
    assert ds.file_meta.FileMetaInformationGroupLength == len(meta()) - 144
    assert ds.file_meta.MediaStorageSOPInstanceUID == "1.2.3"
    assert ds.file_meta.SendingApplicationEntityTitle == "CT01"
    assert ds.file_meta.ReceivingApplicationEntityTitle == "ISOCENTER"
    assert ds.PatientName == "Doe^John"


def test_a_preamble_is_kept_and_must_have_its_length() -> None:
    tiff = b"II*\0" + bytes(124)
    assert file_meta(CT, "1.2.3", EXPLICIT, preamble=tiff)[:132] == tiff + b"DICM"
    with pytest.raises(ValueError, match="preamble"):
        file_meta(CT, "1.2.3", EXPLICIT, preamble=b"short")


@pytest.mark.parametrize(
    ("safe", "preamble"),
    [(True, bytes(128)), (True, b"II*\0" + b"\1" * 124), (True, b"MM\0*" + b"\1" * 124), (True, b"II+\0" + bytes(124)),
     (False, b"MZ" + bytes(126)), (False, b"#!/bin/sh\n" + bytes(118)), (False, bytes(127) + b"x")],
)  # fmt: skip
def test_preambles(safe: bool, preamble: bytes) -> None:
    assert preamble_is_safe(preamble) is safe


def group_2(*elements: bytes, length: int | None = None) -> bytes:
    content = b"".join(elements)
    size = len(content) if length is None else length
    return bytes(128) + b"DICM" + explicit(0x00020000, "UL", size.to_bytes(4, "little")) + content


SYNTAX = explicit(0x00020010, "UI", EXPLICIT.encode() + b"\0")
INSTANCE = explicit(0x00020003, "UI", b"1.2.3\0")
CLASS = explicit(0x00020002, "UI", CT.encode() + b"\0")

TOLERATED = [
    ({"no-meta-length"}, bytes(128) + b"DICM" + CLASS + INSTANCE + SYNTAX + EXPLICIT_SET),
    ({"wrong-meta-length"}, group_2(CLASS, INSTANCE, SYNTAX, length=7) + EXPLICIT_SET),
    ({"wrong-meta-length"}, group_2(CLASS, INSTANCE, SYNTAX, length=1 << 31) + EXPLICIT_SET),
    ({"no-preamble"}, group_2(CLASS, INSTANCE, SYNTAX)[128:] + EXPLICIT_SET),
    ({"no-preamble"}, group_2(CLASS, INSTANCE, SYNTAX)[132:] + EXPLICIT_SET),
    ({"no-media-storage-uids"}, group_2(SYNTAX) + EXPLICIT_SET),
    ({"no-transfer-syntax"}, group_2(CLASS, INSTANCE) + EXPLICIT_SET),
    ({"long-meta-value"}, group_2(CLASS, INSTANCE, SYNTAX, explicit(0x00020102, "OB", bytes(1 << 17))) + EXPLICIT_SET),
    ({"no-file-meta", "no-preamble"}, EXPLICIT_SET),
    ({"no-file-meta"}, bytes(128) + b"DICM" + EXPLICIT_SET),
    (
        {"implicit-file-meta", "no-meta-length"},
        bytes(128)
        + b"DICM"
        + implicit(0x00020002, CT.encode() + b"\0")
        + implicit(0x00020003, b"1.2.3\0")
        + implicit(0x00020010, EXPLICIT.encode() + b"\0")
        + EXPLICIT_SET,
    ),
]


@pytest.mark.parametrize(("flags", "data"), TOLERATED)
def test_leniency_leaves_a_flag(flags: set[str], data: bytes) -> None:
    found = read_header(data)
    assert found.flags == flags
    assert (found.sop_class, found.sop_instance, found.transfer_syntax) == (CT, "1.2.3", EXPLICIT)
    assert data[found.data_set_offset :] == EXPLICIT_SET


@pytest.mark.parametrize(("actual", "data_set"), [(IMPLICIT, IMPLICIT_SET), (EXPLICIT, EXPLICIT_SET), (BIG, BIG_SET)])
def test_bare_data_sets_are_recognised(actual: str, data_set: bytes) -> None:
    found = read_header(data_set)
    assert (found.transfer_syntax, found.sop_instance, found.data_set_offset) == (actual, "1.2.3", 0)
    assert found.flags == {"no-file-meta", "no-preamble"}


@pytest.mark.parametrize("stated", [IMPLICIT, EXPLICIT, BIG, JPEG])
@pytest.mark.parametrize(("actual", "data_set"), [(IMPLICIT, IMPLICIT_SET), (EXPLICIT, EXPLICIT_SET), (BIG, BIG_SET)])
def test_a_transfer_syntax_that_lies_is_not_believed(stated: str, actual: str, data_set: bytes) -> None:
    found = read_header(meta(stated) + data_set)
    truth = stated == actual or (stated, actual) == (JPEG, EXPLICIT)
    assert found.transfer_syntax == (stated if truth else actual)
    assert found.flags == (set() if truth else {"transfer-syntax-mismatch"})
    assert found.raw[0x00020010].rstrip(b"\0").decode() == stated


def test_unknown_and_deflated_syntaxes_are_taken_as_stated() -> None:
    assert read_header(meta("1.2.3.4") + EXPLICIT_SET).flags == {"unknown-transfer-syntax"}
    found = read_header(meta(DEFLATED) + b"\x03\x00")
    assert (found.transfer_syntax, found.flags) == (DEFLATED, frozenset())


@pytest.mark.parametrize(
    "data",
    [b"", b"DICM", b"\x02\x00", bytes(300), b"%PDF-1.7\n" * 40, b"PK\x03\x04" * 100, b"<html>" * 50, b"{}" * 100,
     "ISO text that is none of ours".encode("utf-16") * 10],
)  # fmt: skip
def test_other_files_are_not_dicom(data: bytes) -> None:
    with pytest.raises(NotDicomError):
        read_header(data)


def test_truncated_and_damaged_headers() -> None:
    header = meta()
    for size in range(133, len(header), 7):
        try:
            found = read_header(header[:size])
        except DataSetError:
            continue
        assert found.data_set_offset <= size
    with pytest.raises(TruncatedError) as caught:
        read_header(group_2(CLASS, explicit(0x00020003, "UI", b"1.2", length=500)))
    assert caught.value.tag_path == "(0002,0003)"
    with pytest.raises(DataSetError, match="undefined length"):
        read_header(group_2(explicit(0x00020102, "OB", length=0xFFFFFFFF)))
    with pytest.raises(DataSetError, match="no value representation"):
        read_header(group_2(explicit(0x00020003, "\xff\xff", b"1.2.3\0", length=0xFFF0)))
