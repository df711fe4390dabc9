"""Query/Retrieve Views: classic images as one Legacy Converted Enhanced image, and back, attribute by attribute."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

import volume_objects
from isocenter.errors import PixelError
from isocenter.wire.dicomjson import dataset_json
from view_objects import View, classes, file_of, read, source, sources, viewed

CT, LEGACY_CT, ENHANCED_CT = (
    "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.2", "1.2.840.10008.5.1.4.1.1.2.1",
)  # fmt: skip
MR, LEGACY_MR = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.4"
PET, LEGACY_PET = "1.2.840.10008.5.1.4.1.1.128", "1.2.840.10008.5.1.4.1.1.128.1"

# What another instance says otherwise: its UIDs, its character set, when it was made, what it comes from
OTHERWISE = {
    *("SOPInstanceUID", "SeriesInstanceUID", "SpecificCharacterSet", "ContributingEquipmentSequence", "PixelData"),
    *("ConversionSourceAttributesSequence", "InstanceCreationDate", "InstanceCreationTime", "InstanceCreatorUID"),
}


def slices(count: int = 4, **more: Any) -> list[Dataset]:
    """A series of CT images, each with what tells it apart."""
    made = volume_objects.ct(count)
    for number, ds in enumerate(made, 1):
        ds.SliceThickness = 2.5
        ds.WindowCenter, ds.WindowWidth = [40, 300 + number], [400, 1500]
        ds.ContentTime = f"1011{number:02d}"
        ds.SeriesDate, ds.SeriesTime = "20240229", f"1010{60 - number:02d}"
        ds.BodyPartExamined = "CHEST"
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        for keyword, value in more.items():
            setattr(ds, keyword, value)
    return made


def mr(count: int = 3) -> list[Dataset]:
    made = slices(count)
    for number, ds in enumerate(made, 1):
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = MR
        ds.Modality = "MR"
        ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions = "SE", "NONE", None
        ds.MRAcquisitionType, ds.EchoTime, ds.EchoTrainLength = "2D", 10 * number, 1
        del ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType, ds.WindowCenter, ds.WindowWidth, ds.KVP
    return made


def pet(count: int = 3) -> list[Dataset]:
    made = slices(count)
    for number, ds in enumerate(made, 1):
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = PET
        ds.Modality = "PT"
        ds.Units, ds.CountsSource, ds.SeriesType = "BQML", "EMISSION", ["STATIC", "IMAGE"]
        ds.DecayCorrection, ds.CorrectedImage, ds.CollimatorType = "START", ["DECY", "ATTN"], "NONE"
        ds.NumberOfSlices, ds.ImageIndex, ds.FrameReferenceTime = count, number, 1000 * number
        ds.ActualFrameDuration, ds.AcquisitionDate, ds.AcquisitionTime = 180000, "20240229", f"1000{number:02d}"
        ds.RadiopharmaceuticalInformationSequence = [Dataset()]
        ds.RadiopharmaceuticalInformationSequence[0].RadionuclideTotalDose = 3.5e8
        ds.RescaleIntercept, ds.RescaleSlope = 0, 1.5 * number
        del ds.KVP
    return made


IGNORED = {f"{tag_for_keyword(keyword):08X}" for keyword in OTHERWISE}
# Said of the whole by enhanced images, and kept as classic ones may say it, too
ADDED = {
    f"{tag_for_keyword(keyword):08X}"
    for keyword in (
        *("PixelPresentation", "VolumetricProperties", "VolumeBasedCalculationTechnique", "PresentationLUTShape"),
        *("AcquisitionContextSequence", "ContentQualification", "FrameAcquisitionDateTime", "FrameLaterality"),
        *("FrameAcquisitionNumber", "FrameAcquisitionDuration", "FrameComments", "AnatomicRegionSequence"),
        *("RescaleType", "AcquisitionDate", "AcquisitionTime", "ReferencedImageEvidenceSequence"),
        *("SourceImageEvidenceSequence", "ContentTime", "SeriesTime"),
    )
}


def said(data: bytes) -> dict[str, Any]:
    """All that a file says but what another instance says otherwise."""
    (one,) = sources([data])
    found = dataset_json(one.read(), one.ref.transfer_syntax, exclude_bulk=False)
    return {name: entry for name, entry in found.items() if name not in IGNORED}


def saved(ds: Dataset) -> bytes:
    file = BytesIO()
    ds.save_as(file, enforce_file_format=True)
    return file.getvalue()


def there_and_back(images: list[Dataset]) -> list[bytes]:
    """The images as one, and its frames as images again."""
    (whole,) = [one for one in viewed(sources(images), View.ENHANCED) if one.make]
    return [file_of(one) for one in viewed(sources([file_of(whole)]), View.CLASSIC)]


def same_again(images: list[Dataset], back: list[bytes]) -> None:
    """Nothing of the images is lost, nothing but what is known is added, and pixels are the same bytes."""
    assert len(back) == len(images)
    for image, data in zip(images, back, strict=True):
        before, after = said(saved(image)), said(data)
        for name in ("00080021", "00080031"):  # that of a converted series is the earliest one (PS3.4 C.3.5)
            before.pop(name, None)
            after.pop(name, None)
        assert {name: after.get(name) for name in before} == before
        more = {name for name in after.keys() - before.keys() if after[name].get("Value")}
        assert more <= ADDED, more
        assert pydicom.dcmread(BytesIO(data)).PixelData == image.PixelData


@pytest.mark.parametrize(("make", "legacy"), [(slices, LEGACY_CT), (mr, LEGACY_MR), (pet, LEGACY_PET)])
def test_a_series_is_one_object_and_comes_back(make: Callable[[], list[Dataset]], legacy: str) -> None:
    images = make()
    (whole,) = viewed(sources(images), View.ENHANCED)
    assert whole.sop_class == legacy
    ds = read(whole)
    assert ds.SOPClassUID == legacy == whole.header["00080016"]["Value"][0]
    assert ds.NumberOfFrames == len(images) == len(ds.PerFrameFunctionalGroupsSequence)
    assert ds.PixelData == b"".join(image.PixelData for image in images)
    assert ds.StudyInstanceUID == images[0].StudyInstanceUID
    assert ds.FrameOfReferenceUID == images[0].FrameOfReferenceUID
    assert ds.SeriesInstanceUID == whole.series != images[0].SeriesInstanceUID
    assert (ds.SeriesDate, ds.SeriesTime) == ("20240229", f"1010{60 - len(images)}")
    assert [
        group.ConversionSourceAttributesSequence[0].ReferencedSOPInstanceUID
        for group in ds.PerFrameFunctionalGroupsSequence
    ] == [image.SOPInstanceUID for image in images]
    equipment = ds.ContributingEquipmentSequence[-1]
    assert equipment.PurposeOfReferenceCodeSequence[0].CodeValue == "109106"
    assert equipment.ContributionDescription == "Legacy Enhanced Image created from Classic Images"
    same_again(images, there_and_back(images))


def test_a_frame_is_a_classic_image() -> None:
    enhanced = volume_objects.enhanced(slices())
    found = viewed(sources([enhanced]), View.CLASSIC)
    assert classes(found) == [CT] * 4
    third = read(found[2])
    assert list(third.ImagePositionPatient) == [-20.0, 30.0, 105.0]
    assert list(third.PixelSpacing) == [0.8, 0.6]
    assert (third.RescaleSlope, third.RescaleIntercept) == (0.25, -300)
    assert (third.InstanceNumber, "NumberOfFrames" in third) == (3, False)
    assert "PerFrameFunctionalGroupsSequence" not in third
    assert third.SOPInstanceUID == found[2].instance == found[2].header["00080018"]["Value"][0]
    (source,) = third.ConversionSourceAttributesSequence
    assert source.ReferencedSOPInstanceUID == enhanced.SOPInstanceUID
    assert (source.ReferencedSOPClassUID, source.ReferencedFrameNumber) == (ENHANCED_CT, 3)
    frames = np.frombuffer(enhanced.PixelData, "<i2").reshape(4, 8, 10)
    assert (third.pixel_array == frames[2]).all()
    assert len({one.instance for one in found}) == 4
    assert {one.series for one in found} == {third.SeriesInstanceUID}
    assert third.SeriesInstanceUID != enhanced.SeriesInstanceUID


def test_the_same_study_is_the_same_view() -> None:
    images = slices()
    one, other = (viewed(sources(order), View.ENHANCED)[0] for order in (images, images[::-1]))
    assert (one.instance, one.series, file_of(one)) == (other.instance, other.series, file_of(other))
    fewer = viewed(sources(images[1:]), View.ENHANCED)[0]
    assert fewer.instance != one.instance
    assert fewer.series == one.series
    enhanced = volume_objects.enhanced(images)
    first, second = ([file_of(one) for one in viewed(sources([enhanced]), View.CLASSIC)] for _ in range(2))
    assert first == second


def test_only_what_goes_together_is_put_together() -> None:
    """Image Type, size, depth, padding, Frame of Reference and transfer syntax are of the whole object."""
    images = slices(12)
    for image in images[2:4]:
        image.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    for image in images[4:6]:
        image.Rows, image.Columns = image.Columns, image.Rows
    for image in images[6:8]:
        image.FrameOfReferenceUID = "1.2.3"
    for image in images[8:10]:
        image.PixelPaddingValue = -2000
    for image in images[10:]:
        image.compress(RLELossless)
    found = viewed(sources(images), View.ENHANCED)
    assert [read(one).NumberOfFrames for one in found] == [2] * 6
    assert len({one.instance for one in found}) == 6
    assert len({one.series for one in found}) == 1
    assert [read(one).InstanceNumber for one in found] == [1, 2, 3, 4, 5, 6]
    assert found[-1].transfer_syntax == RLELossless


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_what_is_native_becomes_explicit_little_endian(syntax: str) -> None:
    images = slices()
    stored = []
    for image in images:
        other = copy.deepcopy(image)
        if syntax == ExplicitVRBigEndian:
            other.PixelData = np.frombuffer(image.PixelData, "<i2").astype(">i2").tobytes()
        other.file_meta.TransferSyntaxUID = syntax
        file = BytesIO()
        other.save_as(
            file, enforce_file_format=True, implicit_vr=syntax == ImplicitVRLittleEndian,
            little_endian=syntax != ExplicitVRBigEndian,
        )  # fmt: skip
        stored.append(file.getvalue())
    (whole,) = viewed(sources(stored), View.ENHANCED)
    assert whole.transfer_syntax == "1.2.840.10008.1.2.1"
    assert read(whole).PixelData == b"".join(image.PixelData for image in images)
    same_again(images, [file_of(one) for one in viewed(sources([file_of(whole)]), View.CLASSIC)])
    # One of another syntax is native just as well
    (mixed,) = viewed(sources([saved(images[0]), *stored[1:]]), View.ENHANCED)
    assert read(mixed).PixelData == b"".join(image.PixelData for image in images)


def test_codestreams_are_not_decoded() -> None:
    images = slices()
    for image in images:
        image.compress(RLELossless)
    streams = [next(generate_frames(image.PixelData, number_of_frames=1)) for image in images]
    (whole,) = viewed(sources(images), View.ENHANCED)
    ds = read(whole)
    assert whole.transfer_syntax == ds.file_meta.TransferSyntaxUID == RLELossless
    assert list(generate_frames(ds.PixelData, number_of_frames=4)) == streams
    back = [pydicom.dcmread(BytesIO(data)) for data in there_and_back(images)]
    assert [next(generate_frames(one.PixelData, number_of_frames=1)) for one in back] == streams


def test_private_attributes_keep_their_creators() -> None:
    images = slices(3)
    for number, image in enumerate(images):
        image.private_block(0x0019, "SAME", create=True).add_new(1, "LO", "in all")
        image.private_block(0x0021, "OTHER" if number else "ONE", create=True).add_new(1, "LO", "equal")
        image.private_block(0x0023, "DIFFERS", create=True).add_new(7, "FD", float(number))
    (whole,) = viewed(sources(images), View.ENHANCED)
    ds = read(whole)
    shared = ds.SharedFunctionalGroupsSequence[0].UnassignedSharedConvertedAttributesSequence[0]
    assert shared.private_block(0x0019, "SAME")[1].value == "in all"
    assert (0x0021, 0x1001) not in shared
    own = [g.UnassignedPerFrameConvertedAttributesSequence[0] for g in ds.PerFrameFunctionalGroupsSequence]
    assert own[0].private_block(0x0021, "ONE")[1].value == own[1].private_block(0x0021, "OTHER")[1].value == "equal"
    assert [one.private_block(0x0023, "DIFFERS")[7].value for one in own] == [0.0, 1.0, 2.0]
    same_again(images, there_and_back(images))


LACKS = {
    "no PixelSpacing": lambda ds: ds.pop("PixelSpacing"),
    "no SliceThickness": lambda ds: setattr(ds, "SliceThickness", None),
    "no FrameOfReferenceUID": lambda ds: ds.pop("FrameOfReferenceUID"),
    "no rescale": lambda ds: ds.pop("RescaleSlope"),
    "overlays": lambda ds: ds.add_new(0x60000010, "US", 8),
    "MONOCHROME2": lambda ds: setattr(ds, "PhotometricInterpretation", "MONOCHROME1"),
    "not all there": lambda ds: setattr(ds, "Rows", 2000),
    "Bits Stored": lambda ds: setattr(ds, "BitsStored", 13),
    "no pixel data": lambda ds: ds.pop("PixelData"),
}


@pytest.mark.parametrize("why", LACKS)
def test_what_cannot_be_converted_stays(why: str, caplog: pytest.LogCaptureFixture) -> None:
    images = slices(3)
    LACKS[why](images[1])
    images[1].PatientName = "Someone^Known"
    with caplog.at_level("INFO", "isocenter.views"):
        found = viewed(sources(images), View.ENHANCED)
    assert classes(found) == [LEGACY_CT, CT]
    assert found[1].make is None
    assert found[1].instance == images[1].SOPInstanceUID
    assert why in caplog.text
    assert "Someone" not in caplog.text


def test_an_enhanced_image_without_what_a_classic_one_says_stays() -> None:
    enhanced = volume_objects.enhanced(slices())
    del enhanced.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence
    (found,) = viewed(sources([enhanced]), View.CLASSIC)
    assert (found.make, found.instance) == (None, enhanced.SOPInstanceUID)
    enhanced = volume_objects.enhanced(slices())
    enhanced.PerFrameFunctionalGroupsSequence = enhanced.PerFrameFunctionalGroupsSequence[:-1]
    (found,) = viewed(sources([enhanced]), View.CLASSIC)
    assert found.make is None


def test_pixel_data_that_break_off_are_an_error_of_their_frame() -> None:
    images = slices(2)
    for image in images:
        image.compress(RLELossless)
    images[1].PixelData = images[1].PixelData[:12]  # an offset table, and nothing more
    (whole,) = viewed(sources(images), View.ENHANCED)
    with pytest.raises(PixelError):
        file_of(whole)


def test_each_view_leaves_its_own_alone() -> None:
    images = slices(2)
    enhanced = volume_objects.enhanced(slices())
    enhanced.StudyInstanceUID = images[0].StudyInstanceUID
    enhanced.SeriesInstanceUID = "1.2.3"
    found = viewed(sources([*images, enhanced]), View.ENHANCED)
    assert classes(found) == [LEGACY_CT, ENHANCED_CT]
    assert found[1].make is None
    found = viewed(sources([*images, enhanced]), View.CLASSIC)
    assert classes(found) == [CT] * 6
    assert [one.make is None for one in found] == [True, True, False, False, False, False]


def test_what_is_stored_both_ways_is_there_once() -> None:
    images = slices()
    (whole,) = viewed(sources(images), View.ENHANCED)
    both = sources([*images, file_of(whole)])
    (one,) = viewed(both, View.ENHANCED)
    assert (one.instance, one.make) == (whole.instance, None)
    found = viewed(both, View.CLASSIC)
    assert [one.instance for one in found] == [image.SOPInstanceUID for image in images]
    assert all(one.make is None for one in found)
    # Of one frame the source is gone
    found = viewed(sources([*images[:2], images[3], file_of(whole)]), View.CLASSIC)
    assert [one.instance for one in found[:3]] == [image.SOPInstanceUID for image in (*images[:2], images[3])]
    assert read(found[3]).InstanceNumber == 3
    # What is of another size cannot be that frame, whatever it says
    other = slices()
    for image, first in zip(other, images, strict=True):
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = first.SOPInstanceUID
        image.StudyInstanceUID, image.Rows, image.PixelData = first.StudyInstanceUID, 4, image.PixelData[:80]
    assert len(viewed(sources([*other, file_of(whole)]), View.ENHANCED)) == 2
    # The other way round: images made of an enhanced one
    enhanced = volume_objects.enhanced(images)
    made = [file_of(one) for one in viewed(sources([enhanced]), View.CLASSIC)]
    found = viewed(sources([*made, enhanced]), View.ENHANCED)
    assert [(one.instance, one.make) for one in found] == [(enhanced.SOPInstanceUID, None)]
    assert len(viewed(sources([*made, enhanced]), View.CLASSIC)) == 4


def test_few_sources_are_open_at_a_time() -> None:
    images = slices(6)
    reads: list[str] = []
    (whole,) = viewed([source(image, reads) for image in images], View.ENHANCED)
    assert reads == []
    file_of(whole)
    assert len(reads) <= 3 * len(images)
    reads.clear()
    enhanced = volume_objects.enhanced(images)
    found = viewed([source(enhanced, reads)], View.CLASSIC)
    assert reads == []
    for one in found:
        file_of(one)
    assert len(reads) == 1


POOL: dict[str, st.SearchStrategy[Any]] = {
    "SeriesDescription": st.sampled_from(["Thorax", "폐", "Å é ü"]),
    "PatientName": st.sampled_from(["A^B", "洪^吉洞", ""]),
    "ImageComments": st.text("abc é한\n", max_size=20),
    "KVP": st.integers(60, 140),
    "ExposureTime": st.integers(0, 5000),
    "AcquisitionNumber": st.integers(-1, 70000),
    "SliceLocation": st.floats(-1e6, 1e6, allow_nan=False).map(lambda number: round(number, 3)),
    "ProtocolName": st.just("protocol"),
    "PatientPosition": st.sampled_from(["HFS", "FFP"]),
    "AcquisitionDate": st.sampled_from(["20240229", "20240301"]),
    "ScanOptions": st.lists(st.sampled_from(["A", "B"]), min_size=1, max_size=3),
    "IrradiationEventUID": st.sampled_from(["1.2.3", "1.2.4"]),
    "BurnedInAnnotation": st.just("NO"),
    "StationName": st.sampled_from(["", "STATION"]),
    "InstitutionName": st.just("Hôpital"),
    "DerivationDescription": st.text("ab", max_size=5),
}


@st.composite
def series(draw: st.DrawFn) -> list[Dataset]:
    """Slices, each with some of the pool: the same in all, of its own, or not at all; and private attributes."""
    images = [copy.deepcopy(image) for image in _SLICES[: draw(st.integers(1, 4))]]
    for keyword, values in POOL.items():
        how = draw(st.sampled_from(["none", "same", "each", "some"]))
        same = draw(values)
        for image in images:
            if how == "same" or (how == "some" and draw(st.booleans())):
                setattr(image, keyword, same)
            elif how == "each":
                setattr(image, keyword, draw(values))
    for image in images:
        image.SpecificCharacterSet = "ISO_IR 192"
        for creator in draw(st.lists(st.sampled_from(["A", "B", "C"]), unique=True)):
            image.private_block(0x0029, creator, create=True).add_new(
                draw(st.integers(0, 3)), "OB", draw(st.binary(max_size=2000).filter(lambda raw: len(raw) % 2 == 0))
            )
        if draw(st.booleans()):
            item = Dataset()
            item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = draw(st.sampled_from("ab")), "99X", "code"
            image.ProcedureCodeSequence = [item]
    return images


_SLICES = slices(4)


@settings(max_examples=60, deadline=None)
@given(series(), st.randoms(use_true_random=False))
def test_whatever_images_say_comes_back(images: list[Dataset], chance: random.Random) -> None:
    shuffled = images[:]
    chance.shuffle(shuffled)
    made = [one for one in viewed(sources(shuffled), View.ENHANCED) if one.make]
    back: dict[str, bytes] = {}
    for whole in made:
        for data in (file_of(one) for one in viewed(sources([file_of(whole)]), View.CLASSIC)):
            back[str(pydicom.dcmread(BytesIO(data)).InstanceNumber)] = data
    assert len(back) == len(images)
    same_again(images, [back[str(image.InstanceNumber)] for image in images])


def test_macros_say_what_images_did() -> None:
    """Anatomy by PS3.16 Annex L, windows where there are none but must be, and when a frame was acquired."""
    images = slices(2, AcquisitionDate="20240229", AcquisitionTime="101112", AcquisitionNumber=7)
    for image in images:
        del image.WindowCenter, image.WindowWidth, image.Laterality
    ds = read(viewed(sources(images), View.ENHANCED)[0])
    shared = ds.SharedFunctionalGroupsSequence[0]
    (anatomy,) = shared.FrameAnatomySequence
    assert anatomy.AnatomicRegionSequence[0].CodeValue == "816094009"  # Chest
    assert anatomy.FrameLaterality == "U"
    assert shared.FrameVOILUTSequence[0].WindowWidth == 65536 * 0.25
    assert shared.CTImageFrameTypeSequence[0].FrameType == ["ORIGINAL", "PRIMARY", "AXIAL", "NONE"]
    content = ds.PerFrameFunctionalGroupsSequence[1].FrameContentSequence[0]
    assert (content.FrameAcquisitionDateTime, content.FrameAcquisitionNumber) == ("20240229101112", 7)
    # The side of a knee is not known, and no code may say that it is
    for image in images:
        image.BodyPartExamined = "KNEE"
    ds = read(viewed(sources(images), View.ENHANCED)[0])
    assert "FrameAnatomySequence" not in ds.SharedFunctionalGroupsSequence[0]
    assert ds.BodyPartExamined == "KNEE"
    for image in images:
        image.ImageLaterality = "L"
    ds = read(viewed(sources(images), View.ENHANCED)[0])
    assert ds.SharedFunctionalGroupsSequence[0].FrameAnatomySequence[0].FrameLaterality == "L"


def test_enhanced_mr_says_how_it_was_scanned_in_classic_words() -> None:
    enhanced = volume_objects.enhanced(slices())
    enhanced.SOPClassUID = enhanced.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4.1"
    enhanced.Modality, enhanced.EchoPulseSequence, enhanced.EchoPlanarPulseSequence = "MR", "GRADIENT", "YES"
    enhanced.SteadyStatePulseSequence, enhanced.SegmentedKSpaceTraversal = "FREE_PRECESSION", "SINGLE"
    enhanced.MRAcquisitionType, enhanced.PulseSequenceName = "2D", "*fl2d1"
    group = Dataset()
    group.EffectiveEchoTime = 12.5
    enhanced.SharedFunctionalGroupsSequence[0].MREchoSequence = [group]
    timing = Dataset()
    timing.RepetitionTime, timing.FlipAngle, timing.EchoTrainLength = 500, 90, 1
    enhanced.SharedFunctionalGroupsSequence[0].MRTimingAndRelatedParametersSequence = [timing]
    found = viewed(sources([enhanced]), View.CLASSIC)
    assert classes(found) == [MR] * 4
    ds = read(found[0])
    assert (list(ds.ScanningSequence), ds.SequenceVariant, ds.EchoTime) == (["GR", "EP"], "SS", 12.5)
    assert (ds.RepetitionTime, ds.FlipAngle, ds.SequenceName) == (500, 90, "*fl2d1")
    # Without a word of the sequence there is no valid classic image
    del enhanced.EchoPulseSequence
    (one,) = viewed(sources([enhanced]), View.CLASSIC)
    assert one.make is None
