"""Some frames of an object as an object of their own (PS3.4 sections Y.3.2 and Y.3.3)."""

from __future__ import annotations

from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.sequence import Sequence

from isocenter.errors import FrameRetrieveError, FramesNotFound, IsocenterError, NoFrameObject, NotTimeBased
from isocenter.model import FrameRange
from isocenter.pixels.codecs import encode
from isocenter.pixels.extract import New, extracted
from isocenter.pixels.layout import Layout
from isocenter.wire.limits import DEFAULT_LIMITS
from isocenter.wire.part10 import read_header
from pixel_objects import gradient

EXPLICIT, IMPLICIT, PART_2 = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.4.92"
NEW = New("2.25.1", datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC))


def extract(raw: bytes, wanted: FrameRange) -> Dataset:
    """The new object, read by pydicom."""
    meta = read_header(raw)
    made = b"".join(extracted(raw, meta.data_set_offset, meta.transfer_syntax, wanted, NEW, DEFAULT_LIMITS))
    return as_file(made, meta.transfer_syntax)


def as_file(made: bytes, syntax: str) -> Dataset:
    data_set = pydicom.dcmread(BytesIO(made), force=True) if syntax == IMPLICIT else None
    if data_set is None:
        from pydicom.filereader import read_dataset

        data_set = read_dataset(BytesIO(made), is_implicit_VR=False, is_little_endian=True)
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = syntax
    return data_set


def sample(name: str) -> bytes:
    return Path(str(get_testdata_file(name, download=False))).read_bytes()


def saved(data_set: Dataset, syntax: str = EXPLICIT) -> bytes:
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = syntax
    data_set.file_meta.MediaStorageSOPClassUID = data_set.SOPClassUID
    data_set.file_meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
    output = BytesIO()
    data_set.save_as(output, enforce_file_format=True, implicit_vr=syntax == IMPLICIT, little_endian=True)
    return output.getvalue()


def cine(frames: int = 6, rows: int = 2, columns: int = 2, **more: Any) -> Dataset:
    """An object whose frame n is filled with n."""
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.3.1", "1.2.3.4"
    made.StudyInstanceUID, made.SeriesInstanceUID = "1.2.3", "1.2.3.1"
    made.Rows, made.Columns, made.NumberOfFrames = rows, columns, frames
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PixelRepresentation = 1, "MONOCHROME2", 0
    made.BitsAllocated, made.BitsStored, made.HighBit = 8, 8, 7
    made.PixelData = b"".join(bytes([number]) * rows * columns for number in range(1, frames + 1))
    made["PixelData"].VR = "OB"
    for name, value in more.items():
        setattr(made, name, value)
    return made


def frames_of(data_set: Dataset) -> list[int]:
    """The numbers that cine() filled the frames with."""
    pixels = data_set.pixel_array.reshape(int(data_set.NumberOfFrames), -1)
    return [int(frame[0]) for frame in pixels]


@pytest.mark.parametrize(
    ("expected", "wanted"),
    [
        ([1], FrameRange(simple=(1,))),
        ([2, 5], FrameRange(simple=(2, 5, 99))),
        # the example of section Y.3.2.1.2
        ([2, 5, 8, 12, 17, 22], FrameRange(calculated=((2, 9, 3), (12, 0xFFFFFFFF, 5)))),
        ([3, 4], FrameRange(calculated=((3, 4, 1), (90, 99, 1)))),
        ([3, 4, 5], FrameRange(time=(0.2, 0.4))),
        ([25], FrameRange(time=(2.35, 1000.0))),
    ],
)
@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_the_frames_asked_for_are_there_in_their_order(expected: list[int], wanted: FrameRange, syntax: str) -> None:
    made = extract(saved(cine(25, FrameTime="100", FrameIncrementPointer=0x00181063), syntax), wanted)
    assert expected == frames_of(made)
    (item,) = made.FrameExtractionSequence
    assert "1.2.3.4" == item.MultiFrameSourceSOPInstanceUID
    given = {element.keyword for element in item} - {"MultiFrameSourceSOPInstanceUID"}
    assert given == {"SimpleFrameList" if wanted.simple else "TimeRange" if wanted.time else "CalculatedFrameList"}
    assert ("2.25.1", "1.2.3", "1.2.3.1", "20260304") == (
        made.SOPInstanceUID,
        made.StudyInstanceUID,
        made.SeriesInstanceUID,
        made.InstanceCreationDate,
    )
    (equipment,) = made.ContributingEquipmentSequence
    assert "109105" == equipment.PurposeOfReferenceCodeSequence[0].CodeValue


def test_what_was_extracted_can_be_extracted_from_again() -> None:
    once = extract(saved(cine()), FrameRange(simple=(2, 4, 6)))
    del once.file_meta
    again = extract(saved(once), FrameRange(simple=(3,)))
    assert [6] == frames_of(again)
    assert ["1.2.3.4", "2.25.1"] == [item.MultiFrameSourceSOPInstanceUID for item in again.FrameExtractionSequence]
    assert 2 == len(again.ContributingEquipmentSequence)


@pytest.mark.parametrize("name", ["examples_ybr_color.dcm", "SC_rgb_rle_2frame.dcm", "SC_rgb_rle_16bit_2frame.dcm"])
def test_compressed_frames_are_copied_as_they_are(name: str) -> None:
    raw = sample(name)
    source = pydicom.dcmread(BytesIO(raw))
    made = extract(raw, FrameRange(calculated=((2, 0xFFFFFFFF, 3),)))
    numbers = list(range(1, int(source.NumberOfFrames), 3))
    given = list(pydicom.encaps.generate_frames(source.PixelData, number_of_frames=int(source.NumberOfFrames)))
    kept = list(pydicom.encaps.generate_frames(made.PixelData, number_of_frames=int(made.NumberOfFrames)))
    assert [given[number] for number in numbers] == kept
    offsets, *_ = pydicom.encaps.parse_basic_offsets(made.PixelData), None
    assert len(kept) == len(offsets)


def test_frames_of_single_bits_are_packed_again() -> None:
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 2, (5, 3, 7), dtype=np.uint8)
    packed = np.packbits(bits.reshape(-1), bitorder="little").tobytes()
    made = cine(5, 3, 7, BitsAllocated=1, BitsStored=1, HighBit=0)
    made.PixelData = packed + b"\0" * (len(packed) % 2)
    again = extract(saved(made), FrameRange(simple=(2, 3, 5)))
    assert (bits[[1, 2, 4]] == again.pixel_array).all()


def group_of(number: int, moment: str = "") -> Dataset:
    content, group = Dataset(), Dataset()
    content.FrameAcquisitionNumber = number
    if moment:
        content.FrameReferenceDateTime = moment
    group.FrameContentSequence = Sequence([content])
    return group


def test_functional_groups_follow_their_frames_and_tell_times() -> None:
    source = cine(4, ContentDate="20260101", ContentTime="235958", ConcatenationUID="1.2", InConcatenationNumber=1)
    source.PerFrameFunctionalGroupsSequence = [
        group_of(number, f"2026010{1 + number // 3}{'23595' if number < 3 else '00000'}{(7 + number) % 10}")
        for number in range(1, 5)
    ]
    made = extract(saved(source), FrameRange(time=(1.0, 3.0)))
    groups = made.PerFrameFunctionalGroupsSequence
    assert frames_of(made) == [int(group.FrameContentSequence[0].FrameAcquisitionNumber) for group in groups]
    assert [2, 3, 4] == frames_of(made)
    assert "ConcatenationUID" not in made
    assert "InConcatenationNumber" not in made


def test_times_stay_true() -> None:
    source = cine(FrameTime="40", FrameIncrementPointer=0x00181063, RepresentativeFrameNumber=4, FrameDelay="10")
    even = extract(saved(source), FrameRange(simple=(2, 4, 6)))
    assert (80.0, 50.0, 2) == (float(even.FrameTime), float(even.FrameDelay), even.RepresentativeFrameNumber)
    uneven = extract(saved(source), FrameRange(simple=(1, 2, 6)))
    assert [0.0, 40.0, 160.0] == [float(step) for step in uneven.FrameTimeVector]
    assert 0x00181065 == uneven.FrameIncrementPointer
    assert ("FrameTime" in uneven, "RepresentativeFrameNumber" in uneven) == (False, False)
    again = cine(4, FrameTimeVector=["0", "10", "30", "5"], FrameIncrementPointer=0x00181065)
    made = extract(saved(again), FrameRange(simple=(2, 4)))
    assert ([0.0, 35.0], 10.0) == ([float(step) for step in made.FrameTimeVector], float(made.FrameDelay))


def test_vectors_and_frames_of_interest_follow_their_frames() -> None:
    source = cine(4, SliceLocationVector=["1", "2", "3", "4"], FrameNumbersOfInterest=[1, 3], RWavePointer=[1, 2])
    source.FrameOfInterestDescription = ["first", "third"]
    made = extract(saved(source), FrameRange(simple=(3, 4)))
    assert [3.0, 4.0] == [float(place) for place in made.SliceLocationVector]
    assert (1, "third") == (made.FrameNumbersOfInterest, made.FrameOfInterestDescription)
    assert "RWavePointer" not in made


def test_private_attributes_are_left_behind() -> None:
    source = cine()
    source.private_block(0x0009, "SOMEBODY", create=True).add_new(0x01, "LO", "per object")
    source.PerFrameFunctionalGroupsSequence = [group_of(number) for number in range(1, 7)]
    inner = source.PerFrameFunctionalGroupsSequence[1].FrameContentSequence[0]
    inner.private_block(0x0011, "SOMEBODY", create=True).add_new(0x01, "LO", "per frame")
    made = extract(saved(source), FrameRange(simple=(2,)))
    assert [] == [element.tag for element in made.iterall() if element.tag.is_private]


def test_a_dose_grid_keeps_its_first_plane() -> None:
    raw = sample("rtdose.dcm")
    planes = [float(offset) for offset in pydicom.dcmread(BytesIO(raw)).GridFrameOffsetVector]
    made = extract(raw, FrameRange(simple=(1, 2, 5)))
    assert [planes[0], planes[1], planes[4]] == [float(offset) for offset in made.GridFrameOffsetVector]
    with pytest.raises(NoFrameObject):
        extract(raw, FrameRange(simple=(2, 3)))


def part_2(number_of_frames: int, *codestreams: bytes) -> bytes:
    """A file in JPEG 2000 Part 2 with these codestreams, of 8 by 8 pixels."""
    made = cine(number_of_frames, 8, 8)
    made.PixelData = encapsulate(list(codestreams))
    made["PixelData"].is_undefined_length = True
    return saved(made, PART_2)


def test_frames_of_jpeg_2000_part_2_that_have_codestreams_of_their_own() -> None:
    frames = [gradient(8, 8, 1, 8, seed=seed) for seed in range(3)]
    streams = [encode(PART_2, frame, Layout(8, 8)) for frame in frames]
    made = extract(part_2(3, *streams), FrameRange(simple=(2, 3)))
    assert list(generate_frames(made.PixelData, number_of_frames=2)) == streams[1:]
    # PS3.5 section A.4.4: or they are components of one codestream, which may lie in as many fragments
    together = encode(PART_2, np.stack(frames, axis=-1), Layout(8, 8, 3, photometric="YBR_FULL"))
    third = len(together) // 3 & ~1
    for fragments in ([together], [together[:third], together[third : 2 * third], together[2 * third :]]):
        with pytest.raises(FrameRetrieveError, match="components of one codestream"):
            extract(part_2(3, *fragments), FrameRange(simple=(2,)))


@pytest.mark.parametrize(
    ("kind", "status", "source", "wanted"),
    [
        (FramesNotFound, 0xAA00, cine(), FrameRange(simple=(7, 8))),
        (FramesNotFound, 0xAA00, cine(FrameTime="100"), FrameRange(time=(5.0, 6.0))),
        (NoFrameObject, 0xAA01, cine(SOPClassUID="1.2.840.10008.5.1.4.1.1.20"), FrameRange(simple=(1,))),
        (
            NoFrameObject,
            0xAA01,
            cine(TotalPixelMatrixColumns=4, DimensionOrganizationType="TILED_FULL"),
            FrameRange(simple=(1,)),
        ),
        (NoFrameObject, 0xAA01, cine(PerFrameFunctionalGroupsSequence=[group_of(1)]), FrameRange(simple=(1,))),
        (FrameRetrieveError, 0xAA02, cine(PixelData=b"\1\2\3\4"), FrameRange(simple=(1, 3))),
        (NotTimeBased, 0xAA03, cine(), FrameRange(time=(0.0, 1.0))),
    ],
)
def test_what_cannot_be_had_says_why(
    kind: type[IsocenterError], status: int, source: Dataset, wanted: FrameRange
) -> None:
    with pytest.raises(kind) as refused:
        extract(saved(source), wanted)
    assert status == refused.value.dimse_status


def test_an_object_without_pixels_or_frames_has_none() -> None:
    for name in ("rtplan.dcm", "CT_small.dcm"):
        with pytest.raises(NoFrameObject):
            extract(sample(name), FrameRange(simple=(1,)))


@pytest.mark.parametrize(
    ("fine", "wanted"),
    [
        (True, FrameRange(simple=(1, 2, 9))),
        (True, FrameRange(calculated=((1, 1, 1), (2, 9, 4)))),
        (True, FrameRange(time=(0.0, 0.0))),
        (False, FrameRange()),
        (False, FrameRange(simple=(1,), time=(0.0, 1.0))),
        (False, FrameRange(simple=(2, 1))),
        (False, FrameRange(simple=(1, 1))),
        (False, FrameRange(simple=(0, 1))),
        (False, FrameRange(calculated=((1, 5, 0),))),
        (False, FrameRange(calculated=((5, 1, 1),))),
        (False, FrameRange(calculated=((1, 5, 2), (5, 9, 1)))),
        (False, FrameRange(time=(2.0, 1.0))),
        (False, FrameRange(time=(float("nan"), 1.0))),
    ],
)
def test_ranges_of_frames_are_checked(fine: bool, wanted: FrameRange) -> None:
    assert fine == (wanted.problem() == "")
