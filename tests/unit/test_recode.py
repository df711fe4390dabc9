"""Data sets in another encoding: every value the same to pydicom, which reads both independently."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.filereader import read_dataset
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from data_sets import encapsulated, explicit, item, sequence
from isocenter.dimse.transcode import can_transcode, transcoded
from isocenter.errors import DataSetError
from isocenter.std.transfer_syntaxes import transfer_syntax
from isocenter.wire.limits import DEFAULT_LIMITS
from isocenter.wire.part10 import read_header
from isocenter.wire.recode import recode

EXPLICIT, IMPLICIT, BIG, DEFLATED, RLE = (f"1.2.840.10008.1.2{end}" for end in (".1", "", ".2", ".1.99", ".5"))


def values(raw: bytes | memoryview, syntax: str) -> pydicom.Dataset:
    return read_dataset(BytesIO(bytes(raw)), syntax == IMPLICIT, syntax != BIG)


@pytest.mark.parametrize("target", [EXPLICIT, IMPLICIT])
@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "rtplan.dcm", "MR_small.dcm", "ExplVR_BigEnd.dcm", "SC_rgb_small_odd.dcm", "image_dfl.dcm"]
)
def test_values_stay(name: str, target: str) -> None:
    path = get_testdata_file(name, download=False)
    assert path is not None
    raw = Path(path).read_bytes()
    header = read_header(raw)
    made = transcoded(memoryview(raw), header.data_set_offset, header.transfer_syntax, target, DEFAULT_LIMITS)
    original = pydicom.dcmread(path)
    again = values(made, target)
    assert [element.tag for element in original if element.tag.element] == [
        element.tag for element in again if element.tag.element
    ]
    for element in original:
        if element.VR not in ("OB", "OW", "OB or OW", "UN", "SQ") and element.tag.element:
            assert (element.tag, element.value) == (element.tag, again[element.tag].value)
        if element.VR == "SQ":
            assert len(element.value) == len(again[element.tag].value)
    if "PixelData" in original and original.file_meta.TransferSyntaxUID != ExplicitVRBigEndian:
        assert original.PixelData == again.PixelData


def test_big_endian_words_are_swapped() -> None:
    raw = explicit(0x00280010, "US", b"\x01\x02", order=">") + explicit(
        0x7FE00010, "OW", b"\x01\x02\x03\x04", order=">"
    )
    made = b"".join(recode(raw, start=0, source=transfer_syntax(BIG), explicit=True))
    assert explicit(0x00280010, "US", b"\x02\x01") + explicit(0x7FE00010, "OW", b"\x02\x01\x04\x03") == made


@pytest.mark.parametrize(
    "raw",
    [
        explicit(0x00091010, "UN", b"\x01\x02", order=">"),
        explicit(0x00280100, "US", b"\x00\x20", order=">") + explicit(0x7FE00010, "OW", bytes(4), order=">"),
    ],
)
def test_big_endian_words_of_unknown_size_are_refused(raw: bytes) -> None:
    with pytest.raises(DataSetError, match="byte order"):
        b"".join(recode(raw, start=0, source=transfer_syntax(BIG), explicit=False))


def test_nested_sequences_and_group_lengths() -> None:
    inner = sequence(0x00081140, item(explicit(0x00081155, "UI", b"1.23")), undefined=True)
    raw = explicit(0x00080000, "UL", b"\x10\0\0\0") + sequence(0x00400275, item(inner, undefined=True), item())
    made = b"".join(recode(raw, start=0, source=transfer_syntax(EXPLICIT), explicit=False))
    again = values(made, str(ImplicitVRLittleEndian))
    assert [0x00400275] == [int(element.tag) for element in again]
    assert "1.23" == again[0x00400275].value[0].ReferencedImageSequence[0].ReferencedSOPInstanceUID
    assert 2 == len(again[0x00400275].value)


@pytest.mark.parametrize("name", ["CT_small.dcm", "rtplan.dcm", "MR_small.dcm", "SC_rgb_small_odd.dcm"])
def test_big_endian_and_back(name: str) -> None:
    path = get_testdata_file(name, download=False)
    assert path is not None
    raw = Path(path).read_bytes()
    header = read_header(raw)
    explicit_raw = bytes(
        transcoded(memoryview(raw), header.data_set_offset, header.transfer_syntax, EXPLICIT, DEFAULT_LIMITS)
    )
    big = b"".join(recode(explicit_raw, start=0, source=transfer_syntax(EXPLICIT), explicit=True, little=False))
    original, again = pydicom.dcmread(path), values(big, BIG)
    for element in original:
        if element.VR not in ("OB", "OW", "OB or OW", "UN", "SQ") and element.tag.element:
            assert element.value == again[element.tag].value
    back = b"".join(recode(big, start=0, source=transfer_syntax(BIG), explicit=True))
    once = b"".join(recode(explicit_raw, start=0, source=transfer_syntax(EXPLICIT), explicit=True))
    assert once == back


def test_words_of_unknown_size_do_not_change_their_order() -> None:
    raw = explicit(0x00091001, "UN", b"\x01\x02")
    with pytest.raises(DataSetError, match="byte order"):
        b"".join(recode(raw, start=0, source=transfer_syntax(EXPLICIT), explicit=True, little=False))


def test_fragments_are_not_recoded() -> None:
    with pytest.raises(DataSetError, match="encapsulated"):
        b"".join(recode(encapsulated(b"\0\0"), start=0, source=transfer_syntax(EXPLICIT), explicit=False))


@pytest.mark.parametrize(
    ("expected", "stored", "target"),
    [
        (True, EXPLICIT, IMPLICIT),
        (True, IMPLICIT, EXPLICIT),
        (True, BIG, IMPLICIT),
        (True, DEFLATED, IMPLICIT),
        (True, RLE, IMPLICIT),
        (True, "1.2.840.10008.1.2.4.70", EXPLICIT),
        (True, EXPLICIT, RLE),
        (True, RLE, "1.2.840.10008.1.2.4.80"),
        (False, EXPLICIT, "1.2.840.10008.1.2.4.50"),  # would lose something
        (False, EXPLICIT, BIG),
        (False, "1.2.840.10008.1.2.4.100", EXPLICIT),  # MPEG2
        (False, "1.2.3", EXPLICIT),
    ],
)
def test_what_can_be_made_of_what(expected: bool, stored: str, target: str) -> None:
    assert expected == can_transcode(stored, target)


def test_rle_comes_out_as_its_own_pixels() -> None:
    path = get_testdata_file("MR_small_RLE.dcm", download=False)
    assert path is not None
    raw = Path(path).read_bytes()
    made = transcoded(memoryview(raw), read_header(raw).data_set_offset, RLE, IMPLICIT, DEFAULT_LIMITS)
    again = values(made, IMPLICIT)
    again.file_meta = pydicom.dataset.FileMetaDataset()
    again.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    assert (pydicom.dcmread(path).pixel_array == again.pixel_array).all()
