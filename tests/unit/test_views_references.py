"""References within a view: whatever names a converted instance names what became of it (PS3.4 section C.3.5)."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

import volume_objects
from isocenter.views.references import Moved, Moves, Target, Untold, mentions, rewritten
from isocenter.views.view import Viewed
from view_objects import GSPS, View, file_of, images, item, other, read, ref, sources, state, viewed

CT, LEGACY_CT, ENHANCED_CT = (
    "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.2", "1.2.840.10008.5.1.4.1.1.2.1",
)  # fmt: skip
KEY_OBJECTS, COMPREHENSIVE, SEGMENTATION, STRUCTURES = (
    "1.2.840.10008.5.1.4.1.1.88.59", "1.2.840.10008.5.1.4.1.1.88.33",
    "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.481.3",
)  # fmt: skip


def told(found: list[Viewed], sop_class: str) -> tuple[Viewed, Dataset]:
    (one,) = [one for one in found if one.sop_class == sop_class]
    return one, read(one)


def names(sequence: Any) -> list[tuple[str, str, list[int]]]:
    """What the items refer to: class, instance and frames."""
    found = []
    for one in sequence:
        frames = one.get("ReferencedFrameNumber", [])
        numbers = [int(number) for number in ([frames] if isinstance(frames, int) else frames)]
        found.append((one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID, numbers))
    return found


def test_a_state_of_slices_is_one_of_frames() -> None:
    slices = images()
    pr = state(slices[0], 7, ref(slices[2]), ref(slices[0]))
    found = viewed(sources([*slices, pr]), View.ENHANCED)
    whole, _ = told(found, LEGACY_CT)
    one, ds = told(found, GSPS)
    (series,) = ds.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == whole.series
    assert names(series.ReferencedImageSequence) == [(LEGACY_CT, whole.instance, [1, 3])]
    assert names(ds.GraphicAnnotationSequence[0].ReferencedImageSequence) == [(LEGACY_CT, whole.instance, [3])]
    assert ds.SOPInstanceUID == one.instance != pr.SOPInstanceUID
    assert ds.SeriesInstanceUID == one.series != pr.SeriesInstanceUID
    assert one.header["00080018"]["Value"] == [one.instance]
    (origin,) = ds.ConversionSourceAttributesSequence
    assert (origin.ReferencedSOPClassUID, origin.ReferencedSOPInstanceUID) == (GSPS, pr.SOPInstanceUID)
    equipment = ds.ContributingEquipmentSequence[-1]
    assert equipment.ContributionDescription == "Updated UID references during Legacy Enhanced Classic conversion"
    assert ds.PatientName == "A^B"


def test_a_state_of_frames_is_one_of_slices() -> None:
    enhanced = volume_objects.enhanced(images())
    pr = state(enhanced, 7, ref(enhanced, 2, 4))
    found = viewed(sources([enhanced, pr]), View.CLASSIC)
    frames = [one for one in found if one.sop_class == CT]
    _, ds = told(found, GSPS)
    (series,) = ds.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == frames[0].series
    wanted = [(CT, frames[1].instance, []), (CT, frames[3].instance, [])]
    assert names(series.ReferencedImageSequence) == wanted
    assert names(ds.GraphicAnnotationSequence[0].ReferencedImageSequence) == wanted
    # Without a frame all of them are meant
    pr = state(enhanced, 7, ref(enhanced))
    found = viewed(sources([enhanced, pr]), View.CLASSIC)
    _, ds = told(found, GSPS)
    assert len(ds.ReferencedSeriesSequence[0].ReferencedImageSequence) == 4


def test_what_refers_to_that_follows_and_nothing_else_does() -> None:
    slices = images()
    pr = state(slices[0], 7, ref(slices[1]))
    series = item(SeriesInstanceUID=pr.SeriesInstanceUID, ReferencedSOPSequence=[ref(pr)])
    evidence = item(StudyInstanceUID=pr.StudyInstanceUID, ReferencedSeriesSequence=[series])
    notes = other(slices[0], KEY_OBJECTS, 8, CurrentRequestedProcedureEvidenceSequence=[evidence])
    apart = state(slices[0], 9, item(ReferencedSOPClassUID=CT, ReferencedSOPInstanceUID="1.2.3"))
    apart.ReferencedSeriesSequence[0].SeriesInstanceUID = "1.2.4"
    found = viewed(sources([*slices, notes, pr, apart]), View.ENHANCED)
    whole, note, state_of, left = found
    assert left.make is None
    assert left.instance == apart.SOPInstanceUID
    ds = read(note)
    (held,) = ds.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert held.SeriesInstanceUID == state_of.series
    assert names(held.ReferencedSOPSequence) == [(GSPS, state_of.instance, [])]
    assert read(state_of).ReferencedSeriesSequence[0].SeriesInstanceUID == whole.series


def test_evidence_is_of_objects_and_split_by_series() -> None:
    """Hierarchical references name no frames, and one of several images that stay keeps its series."""
    slices = images()
    del slices[3].PixelSpacing
    series = item(SeriesInstanceUID=slices[0].SeriesInstanceUID, ReferencedSOPSequence=[ref(one) for one in slices])
    evidence = item(StudyInstanceUID=slices[0].StudyInstanceUID, ReferencedSeriesSequence=[series])
    notes = other(slices[0], KEY_OBJECTS, 8, CurrentRequestedProcedureEvidenceSequence=[evidence])
    found = viewed(sources([*slices, notes]), View.ENHANCED)
    whole = found[0]
    ds = read(found[-1])
    held = ds.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert [one.SeriesInstanceUID for one in held] == [whole.series, slices[3].SeriesInstanceUID]
    assert names(held[0].ReferencedSOPSequence) == [(LEGACY_CT, whole.instance, [])]
    assert names(held[1].ReferencedSOPSequence) == [(CT, slices[3].SOPInstanceUID, [])]


def report(study: Dataset, *content: Dataset, **more: Any) -> Dataset:
    return other(study, COMPREHENSIVE, 8, ValueType="CONTAINER", ContentSequence=list(content), **more)


def image_item(reference: Dataset, relation: str = "CONTAINS") -> Dataset:
    return item(RelationshipType=relation, ValueType="IMAGE", ReferencedSOPSequence=[reference])


def test_content_items_of_an_object_are_repeated_for_its_images() -> None:
    enhanced = volume_objects.enhanced(images())
    note = item(RelationshipType="CONTAINS", ValueType="TEXT", TextValue="seen")
    uids = item(RelationshipType="CONTAINS", ValueType="UIDREF", UID=enhanced.SeriesInstanceUID)
    sr = report(enhanced, image_item(ref(enhanced, 1, 3)), note, uids)
    found = viewed(sources([enhanced, sr]), View.CLASSIC)
    _, ds = told(found, COMPREHENSIVE)
    first, second, text, series = ds.ContentSequence
    assert names(first.ReferencedSOPSequence) == [(CT, found[0].instance, [])]
    assert names(second.ReferencedSOPSequence) == [(CT, found[2].instance, [])]
    assert (text.TextValue, series.UID) == ("seen", found[0].series)


@pytest.mark.parametrize("how", ["selected", "by position"])
def test_a_report_that_cannot_say_the_same_stays(how: str) -> None:
    enhanced = volume_objects.enhanced(images())
    if how == "selected":
        point = item(RelationshipType="CONTAINS", ValueType="SCOORD", GraphicType="POINT", GraphicData=[1.0, 2.0])
        point.ContentSequence = [image_item(ref(enhanced), "SELECTED FROM")]
        sr = report(enhanced, point)
    else:
        pointer = item(RelationshipType="INFERRED FROM", ReferencedContentItemIdentifier=[1, 1])
        sr = report(enhanced, image_item(ref(enhanced)), pointer)
    follower = report(
        enhanced, item(RelationshipType="CONTAINS", ValueType="COMPOSITE", ReferencedSOPSequence=[ref(sr)])
    )
    follower.SOPInstanceUID = follower.file_meta.MediaStorageSOPInstanceUID = "2.25.99"
    found = viewed(sources([enhanced, sr, follower]), View.CLASSIC)
    assert [one.sop_class for one in found] == [CT] * 4 + [COMPREHENSIVE] * 2
    assert [(one.make, one.instance) for one in found[4:]] == [(None, "2.25.8"), (None, "2.25.99")]
    # With one frame each it can
    if how == "selected":
        point.ContentSequence[0].ReferencedSOPSequence = [ref(enhanced, 2)]
        _, ds = told(viewed(sources([enhanced, sr]), View.CLASSIC), COMPREHENSIVE)
        held = ds.ContentSequence[0].ContentSequence[0]
        assert names(held.ReferencedSOPSequence) == [(CT, found[1].instance, [])]


def test_contours_and_segments_name_frames() -> None:
    slices = images()
    contours = [item(ContourImageSequence=[ref(one)], ContourNumber=number) for number, one in enumerate(slices, 1)]
    held = item(SeriesInstanceUID=slices[0].SeriesInstanceUID, ContourImageSequence=[ref(one) for one in slices])
    study = item(RTReferencedSeriesSequence=[held])
    frame = item(FrameOfReferenceUID=slices[0].FrameOfReferenceUID, RTReferencedStudySequence=[study])
    rt = other(
        slices[0], STRUCTURES, 7, ReferencedFrameOfReferenceSequence=[frame],
        ROIContourSequence=[item(ContourSequence=contours)],
    )  # fmt: skip
    groups = [item(DerivationImageSequence=[item(SourceImageSequence=[ref(one)])]) for one in slices]
    within = item(
        SeriesInstanceUID=slices[0].SeriesInstanceUID, ReferencedInstanceSequence=[ref(one) for one in slices]
    )
    seg = other(
        slices[0], SEGMENTATION, 8, PerFrameFunctionalGroupsSequence=groups, ReferencedSeriesSequence=[within],
        Rows=8, Columns=8, NumberOfFrames=4, BitsAllocated=1, BitsStored=1, HighBit=0, PixelRepresentation=0,
        SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2", PixelData=bytes(range(32)),
    )  # fmt: skip
    found = viewed(sources([*slices, rt, seg]), View.ENHANCED)
    whole = found[0]
    ds = read(found[1])
    (series,) = ds.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0].RTReferencedSeriesSequence
    assert series.SeriesInstanceUID == whole.series
    assert names(series.ContourImageSequence) == [(LEGACY_CT, whole.instance, [1, 2, 3, 4])]
    assert [names(one.ContourImageSequence) for one in ds.ROIContourSequence[0].ContourSequence] == [
        [(LEGACY_CT, whole.instance, [number])] for number in (1, 2, 3, 4)
    ]
    ds = read(found[2])
    assert [
        names(group.DerivationImageSequence[0].SourceImageSequence) for group in ds.PerFrameFunctionalGroupsSequence
    ] == [[(LEGACY_CT, whole.instance, [number])] for number in (1, 2, 3, 4)]
    assert names(ds.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == [(LEGACY_CT, whole.instance, [])]
    assert ds.PixelData == bytes(range(32))


def test_images_refer_to_each_other_as_frames_and_back() -> None:
    """Localizers of slices: the references of a series come back as they were, to the images that came back."""
    slices = images()
    scout = copy.deepcopy(slices[0])
    scout.SOPInstanceUID = scout.file_meta.MediaStorageSOPInstanceUID = "2.25.5"
    scout.SeriesInstanceUID, scout.ImageType = "2.25.6", ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    for one in slices:
        one.ReferencedImageSequence = [ref(scout)]
    found = viewed(sources([scout, *slices]), View.ENHANCED)
    localizer, whole = found
    ds = read(whole)
    held = ds.SharedFunctionalGroupsSequence[0].ReferencedImageSequence
    assert names(held) == [(LEGACY_CT, localizer.instance, [1])]
    (series,) = ds.ReferencedImageEvidenceSequence[0].ReferencedSeriesSequence
    assert series.SeriesInstanceUID == localizer.series
    assert names(series.ReferencedSOPSequence) == [(LEGACY_CT, localizer.instance, [])]
    back = viewed(sources([file_of(one) for one in found]), View.CLASSIC)
    assert [names(read(one).ReferencedImageSequence) for one in back[1:]] == [[(CT, back[0].instance, [])]] * 4


def test_a_target_that_is_stored_and_converted_itself_is_named_as_it_is_then() -> None:
    """A stored Legacy Converted image that stands for its sources, but refers to another converted one."""
    slices = images()
    scout = copy.deepcopy(slices[0])
    scout.SOPInstanceUID = scout.file_meta.MediaStorageSOPInstanceUID = "2.25.5"
    scout.SeriesInstanceUID = "2.25.6"
    enhanced = volume_objects.enhanced(slices)
    enhanced.SeriesInstanceUID = "2.25.7"
    enhanced.ReferencedImageSequence = [ref(scout)]
    for group, one in zip(enhanced.PerFrameFunctionalGroupsSequence, slices, strict=True):
        group.ConversionSourceAttributesSequence = [ref(one)]
    pr = state(slices[0], 7, ref(slices[1]))
    found = viewed(sources([scout, *slices, enhanced, pr]), View.ENHANCED)
    localizer, whole, last = found
    assert whole.instance != enhanced.SOPInstanceUID
    assert names(read(whole).ReferencedImageSequence) == [(LEGACY_CT, localizer.instance, [1])]
    ds = read(last)
    assert ds.ReferencedSeriesSequence[0].SeriesInstanceUID == whole.series
    assert names(ds.ReferencedSeriesSequence[0].ReferencedImageSequence) == [(ENHANCED_CT, whole.instance, [2])]


UIDS = [f"1.2.{number}" for number in range(6)]
TREES = st.recursive(
    st.builds(
        lambda uid, frames: {
            "00081150": {"vr": "UI", "Value": [CT]}, "00081155": {"vr": "UI", "Value": [uid]},
        } | ({"00081160": {"vr": "IS", "Value": frames}} if frames else {}),
        st.sampled_from(UIDS), st.lists(st.integers(1, 3), max_size=2),
    ),
    lambda inner: st.dictionaries(
        st.sampled_from(["00081140", "00081115", "00081199", "00082112", "0040A375", "00091010", "00209172"]),
        st.lists(inner, max_size=3).map(lambda held: {"vr": "SQ", "Value": held}), max_size=3,
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(TREES, st.sets(st.sampled_from(UIDS)), st.booleans())
def test_no_reference_to_what_is_gone_is_left(model: dict[str, Any], gone: set[str], by_frame: bool) -> None:
    targets = tuple(Target("9.1", LEGACY_CT, f"9.2.{number}", None if by_frame else 1) for number in range(1, 4))
    moves = Moves({uid: Moved(targets if by_frame else targets[:1], by_frame) for uid in gone}, {})
    before = copy.deepcopy(model)
    after = rewritten(model, moves)
    assert model == before
    assert mentions(after)[0].isdisjoint(gone)
    assert mentions(after)[0] - {f"9.2.{number}" for number in range(1, 4)} == mentions(before)[0] - gone
    if not mentions(before)[0] & gone:
        assert mentions(after) == mentions(before)


def test_very_many_references_are_told_apart_or_not_at_all() -> None:
    """As many frames of one object are one reference; as many references to all frames of another are too many."""
    many = 20_000
    moves = Moves({f"1.{n}": Moved((Target("9.1", LEGACY_CT, "9.2", n + 1),)) for n in range(many)}, {})
    held = [{"00081155": {"vr": "UI", "Value": [f"1.{n}"]}} for n in range(many)]
    after = rewritten({"00081140": {"vr": "SQ", "Value": held}}, moves)
    (one,) = after["00081140"]["Value"]
    assert one["00081160"]["Value"] == list(range(1, many + 1))
    moves = Moves({"1.1": Moved(tuple(Target("9.1", CT, f"9.{n}") for n in range(many)), by_frame=True)}, {})
    held = [{"00081155": {"vr": "UI", "Value": ["1.1"]}} for _ in range(many)]
    with pytest.raises(Untold):
        rewritten({"00081140": {"vr": "SQ", "Value": held}}, moves)


def test_a_long_chain_of_references_is_followed() -> None:
    slices = images()
    chain = [state(slices[0], 100, ref(slices[0]))]
    for number in range(101, 400):
        series = item(SeriesInstanceUID=chain[-1].SeriesInstanceUID, ReferencedSOPSequence=[ref(chain[-1])])
        chain.append(other(slices[0], KEY_OBJECTS, number, ReferencedSeriesSequence=[series]))
    found = viewed(sources([*slices, *chain[::-1]]), View.ENHANCED)
    assert len(found) == 1 + len(chain)
    assert all(one.make is not None for one in found)
    by_uid = {one.instance for one in found}
    for one in found[1:-1]:
        assert read(one).ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID in by_uid
