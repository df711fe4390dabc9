"""Data sets without their bulk data (PS3.4 Table Z.1-1)."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset

from data_sets import explicit
from isocenter.std.transfer_syntaxes import transfer_syntax
from isocenter.wire.bulk import without_bulk
from isocenter.wire.part10 import read_header

NAMES = (
    "CT_small.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm", "JPEG2000.dcm", "rtdose.dcm", "rtplan.dcm",
    "waveform_ecg.dcm", "examples_overlay.dcm", "SC_rgb_rle_2frame.dcm", "reportsi.dcm",
)  # fmt: skip


def stripped(raw: bytes) -> tuple[bytes, Dataset]:
    meta = read_header(raw)
    syntax = transfer_syntax(meta.transfer_syntax)
    made = b"".join(without_bulk(raw, start=meta.data_set_offset, source=syntax))
    return made, read_dataset(BytesIO(made), is_implicit_VR=not syntax.explicit, is_little_endian=syntax.little)


def is_bulk(element: pydicom.DataElement) -> bool:
    tag = element.tag
    names = ("PixelData", "FloatPixelData", "DoubleFloatPixelData", "EncapsulatedDocument", "SpectroscopyData")
    return element.keyword in names or (tag.group & 0xFF01 == 0x6000 and tag.element == 0x3000)


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")  # rtdose.dcm has one
@pytest.mark.parametrize("name", NAMES)
def test_all_else_is_there_and_nothing_of_the_bulk(name: str) -> None:
    raw = Path(str(get_testdata_file(name, download=False))).read_bytes()
    _, made = stripped(raw)
    source = pydicom.dcmread(BytesIO(raw))
    for wave in source.get("WaveformSequence", ()):
        del wave.WaveformData
    wanted = {element.tag: str(element) for element in source if not is_bulk(element)}
    assert wanted == {element.tag: str(element) for element in made}
    assert len(wanted) < len(source) or "WaveformSequence" in source or name in ("rtplan.dcm", "reportsi.dcm")


def test_what_has_no_bulk_keeps_every_byte() -> None:
    raw = Path(str(get_testdata_file("rtplan.dcm", download=False))).read_bytes()
    assert raw[read_header(raw).data_set_offset :] == stripped(raw)[0]


@pytest.mark.parametrize("undefined", [False, True])
def test_pixels_within_an_icon_stay(undefined: bool) -> None:
    icon, whole = Dataset(), Dataset()
    icon.Rows, icon.PixelData = 1, b"\1\2"
    icon["PixelData"].VR = "OB"
    whole.IconImageSequence = [icon]
    whole["IconImageSequence"].is_undefined_length = undefined
    icon.is_undefined_length_sequence_item = undefined
    whole.PixelData = b"\3\4"
    whole["PixelData"].VR = "OB"
    output = BytesIO()
    from pydicom.filebase import DicomFileLike

    file = DicomFileLike(output)
    file.is_little_endian, file.is_implicit_VR = True, False
    write_dataset(file, whole)
    made = b"".join(without_bulk(output.getvalue(), start=0, source=transfer_syntax("1.2.840.10008.1.2.1")))
    assert output.getvalue().startswith(made)
    assert b"\1\2" in made
    assert b"\3\4" not in made


def test_repeating_groups_and_the_document_go() -> None:
    kept = [explicit(0x00100010, "PN", b"A^B "), explicit(0x60020010, "US", b"\1\0")]
    gone = [
        explicit(0x00420011, "OB", b"%PDF"),
        explicit(0x50043000, "OW", b"\1\2"),
        explicit(0x5006200C, "OB", b"\1\2"),
        explicit(0x60023000, "OW", b"\1\2"),
        explicit(0x56000020, "OF", bytes(8)),
        explicit(0x7FE00008, "OF", bytes(4)),
    ]
    tail = explicit(0xFFFCFFFC, "OB", bytes(4))
    raw = kept[0] + gone[0] + gone[1] + gone[2] + gone[4] + kept[1] + gone[3] + gone[5] + tail
    made = b"".join(without_bulk(raw, start=0, source=transfer_syntax("1.2.840.10008.1.2.1")))
    assert kept[0] + kept[1] + tail == made
