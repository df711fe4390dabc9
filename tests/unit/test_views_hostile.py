"""Headers that nobody should have written: a view of them is some view, what is made some data set or refused."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.datadict import tag_for_keyword

import volume_objects
from isocenter.errors import IsocenterError
from isocenter.views import planning
from isocenter.views.view import Source
from isocenter.wire.dicomjson import dataset_json
from isocenter.wire.encode import encode_dataset
from isocenter.wire.part10 import file_meta
from view_objects import View, images, item, read, ref, source, state, viewed

TOUCHED = [
    f"{tag_for_keyword(keyword):08X}"
    for keyword in (
        *("ImageType", "ContentDate", "ContentTime", "InstanceNumber", "PixelSpacing", "SliceThickness", "KVP"),
        *("ImagePositionPatient", "RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth", "BitsStored"),
        *("Rows", "NumberOfFrames", "Modality", "BodyPartExamined", "Laterality", "AnatomicRegionSequence"),
        *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "ConversionSourceAttributesSequence"),
        *("ReferencedImageSequence", "ReferencedSeriesSequence", "SeriesInstanceUID", "FrameOfReferenceUID"),
        *("AcquisitionNumber", "AcquisitionDateTime", "LossyImageCompression", "LossyImageCompressionRatio"),
        *("RequestAttributesSequence", "ContributingEquipmentSequence", "SeriesDate", "SourceImageSequence"),
        *("PlanePositionSequence", "FrameContentSequence", "DerivationImageSequence", "FrameAcquisitionDateTime"),
        *("EchoPulseSequence", "FrameType", "ExposureTimeInms", "ReferencedSOPInstanceUID", "ReferencedFrameNumber"),
    )
]
VALUES = st.lists(
    st.one_of(
        st.none(), st.integers(-5, 70000), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=8),
        st.sampled_from(["1.2.3", "20240101", "YES"]), st.just({"Alphabetic": "A"}),
    ),
    max_size=4,
)  # fmt: skip


def entries(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    items = st.lists(st.dictionaries(st.sampled_from(TOUCHED), inner, max_size=3), max_size=3)
    return st.one_of(
        st.builds(lambda held: {"vr": "SQ", "Value": held}, items),
        st.builds(lambda vr, held: {"vr": vr, "Value": held}, st.sampled_from(["LO", "DS", "US", "UI", "PN"]), VALUES),
        st.just({"vr": "LO"}),
    )


ENTRIES = st.recursive(st.just({"vr": "LO", "Value": ["x"]}), entries, max_leaves=6)


def _study() -> list[Source]:
    slices = images()
    enhanced = volume_objects.enhanced(slices)
    enhanced.SeriesInstanceUID = "2.25.5"
    return [source(one) for one in (*slices, enhanced, state(slices[0], 7, ref(slices[1]), ref(enhanced, 2)))]


STUDY = _study()


def changed(one: Source, edits: dict[str, Any]) -> Source:
    """The same with other values, in its header and, as far as that can be written, in its bytes."""
    kept = {name: entry for name, entry in edits.items() if name not in ("0020000E",) or "Value" in entry}
    header = dict(sorted({**copy.deepcopy(one.header), **kept}.items()))
    full = dataset_json(one.read(), one.ref.transfer_syntax, exclude_bulk=False)
    try:
        body = encode_dataset(dict(sorted({**full, **kept}.items())))
    except IsocenterError:
        body = bytes(one.read())
    return replace(one, header=header, read=lambda: body)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.dictionaries(st.sampled_from(TOUCHED), ENTRIES, max_size=4)), max_size=4),
    st.sampled_from(list(View)),
)
def test_no_header_breaks_a_view(edits: list[tuple[int, dict[str, Any]]], view: View) -> None:
    study = list(STUDY)
    for at, edit in edits:
        study[at] = changed(study[at], edit)
    found = viewed(study, view)
    assert found
    assert len({one.instance for one in found}) == len(found)
    for one in found:
        if one.make is not None:
            try:
                body = b"".join(one.make())
            except IsocenterError:
                continue
            data = file_meta(one.sop_class, one.instance, one.transfer_syntax) + body
            assert source(data).ref.instance == one.instance


@pytest.mark.parametrize("name", ["52009229", "52009230", "00081115", "00209172", "00082218", "00400275"])
def test_names_are_no_items(name: str) -> None:
    """A person's name where a sequence belongs is an object in JSON, too."""
    wrong = {name: {"vr": "PN", "Value": [{"Alphabetic": "A"}]}}
    for view in View:
        found = viewed([changed(one, wrong) for one in STUDY], view)
        for one in found:
            if one.make is not None:
                assert b"".join(one.make())


def test_what_is_said_of_a_frame_is_not_who_the_image_is() -> None:
    enhanced = volume_objects.enhanced(images())
    lie = item(
        StudyInstanceUID="1.2.3", SOPClassUID="1.2.4", Rows=1, BitsAllocated=8, PixelData=b"ab", SOPInstanceUID="1.2.5"
    )  # fmt: skip
    for group in enhanced.PerFrameFunctionalGroupsSequence:
        group.UnassignedPerFrameConvertedAttributesSequence = [lie]
        group.TemporalPositionSequence = [lie]
    (one, *_) = viewed([source(enhanced)], View.CLASSIC)
    ds = read(one)
    assert (ds.StudyInstanceUID, ds.SOPInstanceUID) == (enhanced.StudyInstanceUID, one.instance)
    assert (ds.Rows, ds.BitsAllocated, len(ds.PixelData)) == (8, 16, 160)


def test_an_object_of_too_many_frames_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    enhanced = source(volume_objects.enhanced(images()))
    assert len(viewed([enhanced], View.CLASSIC)) == 4
    monkeypatch.setattr(planning, "MOST_SPLIT", 3)
    (one,) = viewed([enhanced], View.CLASSIC)
    assert one.make is None
