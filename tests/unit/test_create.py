"""isocenter.create: what goes in comes out of pydicom, and nothing invalid leaves."""

from __future__ import annotations

import datetime
import io
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset

import isocenter
from isocenter.errors import UsageError

NAME = "Hong^Gildong=洪^吉洞=홍^길동"
GREY = np.arange(15, dtype=np.uint8).reshape(3, 5)


def made(pixels: Any, **arguments: Any) -> list[Dataset]:
    """The objects, read back by pydicom from their bytes."""
    result = isocenter.create(pixels, **arguments)
    objects = []
    for ds in result if isinstance(result, list) else [result]:
        file = io.BytesIO()
        ds.save_as(file, enforce_file_format=True)
        file.seek(0)
        objects.append(pydicom.dcmread(file))
    return objects


def output_values(ds: Dataset) -> np.ndarray[Any, Any]:
    slope, intercept = float(ds.get("RescaleSlope", 1)), float(ds.get("RescaleIntercept", 0))
    return np.asarray(ds.pixel_array * slope + intercept)


EXACT = st.sampled_from(["u1", "i1", "<u2", ">u2", "<i2", ">i2"])
SHAPES = hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=7)


@settings(max_examples=150, deadline=None)
@given(hnp.arrays(EXACT, SHAPES), st.sampled_from(["CT", "OT"]))
def test_small_integers_come_back_exactly(pixels: np.ndarray[Any, Any], modality: str) -> None:
    objects = made(pixels, modality=modality, color=False, pixel_spacing=(1, 1), slice_thickness=1)
    frames = np.concatenate([output_values(ds).reshape(-1, *pixels.shape[-2:]) for ds in objects])
    assert np.array_equal(pixels, frames.reshape(pixels.shape))


WIDE = st.sampled_from(["<i4", "<u4", "<i8", ">u8"])


@settings(max_examples=150, deadline=None)
@given(st.data(), WIDE, st.sampled_from(["CT", "OT"]))
def test_wide_integers_come_back_exactly_or_are_refused(data: st.DataObject, dtype: str, modality: str) -> None:
    info = np.iinfo(dtype)
    low = data.draw(st.integers(max(int(info.min), -(10**14)), min(int(info.max), 10**14) - 70_000))
    span = data.draw(st.integers(0, 70_000))
    pixels = data.draw(hnp.arrays(dtype, (2, 3), elements=st.integers(low, low + span)))
    if int(pixels.max()) - int(pixels.min()) > 65535:
        with pytest.raises(UsageError, match="span"):
            made(pixels, modality=modality, pixel_spacing=(1, 1))
    else:
        (ds,) = made(pixels, modality=modality, pixel_spacing=(1, 1))
        assert np.array_equal(pixels.astype("i8"), output_values(ds).astype("i8"))


@settings(max_examples=200, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from(["f2", "f4", "f8"]),
        hnp.array_shapes(min_dims=2, max_dims=3, max_side=5),
        elements=st.floats(-30_000, 30_000, width=16),
    ),
    st.sampled_from(["CT", "OT"]),
)
def test_floats_come_back_within_one_step(pixels: np.ndarray[Any, Any], modality: str) -> None:
    objects = made(pixels, modality=modality, pixel_spacing=(1, 1), slice_thickness=1)
    frames = np.concatenate([output_values(ds).reshape(-1, *pixels.shape[-2:]) for ds in objects])
    step = float(pixels.max().astype("f8") - pixels.min().astype("f8")) / 65535
    assert np.abs(frames.reshape(pixels.shape) - pixels.astype("f8")).max() <= 0.51 * step + 1e-9 * 30_000


@settings(max_examples=50, deadline=None)
@given(hnp.arrays("u1", st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5), st.just(3))))
def test_colour_comes_back_exactly(pixels: np.ndarray[Any, Any]) -> None:
    (ds,) = made(pixels)
    assert ds.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7.4"
    assert np.array_equal(pixels.reshape(ds.pixel_array.shape), ds.pixel_array)


@pytest.mark.parametrize(
    ("shape", "dtype", "arguments", "sop_class", "count"),
    [
        ((3, 5), "u1", {}, "1.2.840.10008.5.1.4.1.1.7", 1),
        ((3, 4, 3), "u1", {}, "1.2.840.10008.5.1.4.1.1.7", 1),
        ((5, 3, 6), "u1", {}, "1.2.840.10008.5.1.4.1.1.7.2", 1),
        ((5, 3, 6), "i2", {}, "1.2.840.10008.5.1.4.1.1.7.3", 1),
        ((5, 3, 4, 3), "u1", {}, "1.2.840.10008.5.1.4.1.1.7.4", 1),
        ((5, 3, 6), "u1", {"multi_frame": False}, "1.2.840.10008.5.1.4.1.1.7", 5),
        (
            (5, 3, 4),
            "u2",
            {"pixel_spacing": (1, 1), "slice_thickness": 1, "image_position_patient": (0, 0, 0)},
            "1.2.840.10008.5.1.4.1.1.7",
            5,
        ),
        (
            (5, 3, 4),
            "u2",
            {"modality": "CT", "pixel_spacing": (1, 1), "slice_thickness": 1},
            "1.2.840.10008.5.1.4.1.1.2",
            5,
        ),
    ],
)
def test_the_array_chooses_the_sop_class(
    shape: tuple[int, ...], dtype: str, arguments: dict[str, Any], sop_class: str, count: int
) -> None:
    objects = made(np.zeros(shape, dtype), **arguments)
    assert [sop_class] * count == [ds.SOPClassUID for ds in objects]
    assert len({ds.SOPInstanceUID for ds in objects}) == count
    assert list(range(1, count + 1)) == [ds.InstanceNumber for ds in objects]


def test_slices_lie_along_the_normal() -> None:
    # sagittal: rows run to the back, columns to the feet; the normal points to the patient's right
    objects = made(
        np.zeros((3, 2, 2), "i2"),
        modality="CT",
        pixel_spacing=(1, 2),
        spacing_between_slices=2.5,
        image_orientation_patient=(0, 1, 0, 0, 0, -1),
        image_position_patient=(10, 20, 30),
    )
    assert [list(ds.ImagePositionPatient) for ds in objects] == [[10, 20, 30], [7.5, 20, 30], [5, 20, 30]]
    assert len({ds.FrameOfReferenceUID for ds in objects}) == 1
    assert [ds.SpacingBetweenSlices for ds in objects] == [2.5] * 3
    assert [ds.SliceLocation for ds in objects] == [-10, -7.5, -5]


@pytest.mark.parametrize(
    ("name", "character_set"),
    [("Doe^Jane", None), ("Müller^Jörg", "ISO_IR 100"), (NAME, "ISO_IR 192"), ("Łoś^Żaneta", "ISO_IR 192")],
)
def test_the_character_set_follows_the_text(name: str, character_set: str | None) -> None:
    (ds,) = made(GREY, patient_name=name)
    assert character_set == ds.get("SpecificCharacterSet")
    assert name == str(ds.PatientName)


def test_a_series_joins_a_study() -> None:
    study = Dataset()
    study.SpecificCharacterSet = "ISO 2022 IR 149"
    study.PatientName, study.PatientID, study.StudyInstanceUID = NAME, "1", "1.2.3"
    study.StudyDate, study.SeriesNumber, study.ReferringPhysicianName = "20240131", 4, "Doe^Jane"
    (ds,) = made(GREY, study=study, series_description="Résumé")
    assert (ds.StudyInstanceUID, ds.StudyDate, ds.SeriesNumber, str(ds.PatientName)) == ("1.2.3", "20240131", 5, NAME)
    assert ds.SpecificCharacterSet == "ISO_IR 192"
    assert ds.AccessionNumber == ""


def test_a_seed_repeats_every_byte() -> None:
    arguments = {"uid_seed": "x", "study_date": datetime.date(2024, 1, 31), "study_time": "0800"}
    first, second = (isocenter.create(GREY, **arguments) for _ in range(2))
    assert isinstance(first, Dataset)
    assert isinstance(second, Dataset)
    assert first == second
    assert isocenter.create(GREY).SOPInstanceUID != first.SOPInstanceUID  # type: ignore[union-attr]


def test_uids_lie_below_ones_own_root() -> None:
    (ds,) = made(GREY, uid_root="1.2.826.0.1.3680043.99999")
    for uid in (ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID):
        assert uid.startswith("1.2.826.0.1.3680043.99999.")
        assert uid.is_valid


CT = {"modality": "CT", "pixel_spacing": (1, 1)}


@pytest.mark.parametrize(
    ("pixels", "arguments", "message"),
    [
        (np.array([[np.nan, 1.0]]), {}, "pixels: 1 of 2 values are NaN"),
        (np.zeros((2, 2), bool), {}, "pixels: numbers are needed"),
        (np.zeros((2, 2), complex), {}, "pixels: numbers are needed"),
        (np.zeros(4), {}, r"pixels: shape \(4,\)"),
        (np.zeros((0, 4)), {}, "has no pixels"),
        (np.zeros((2, 2, 4), "u1"), {}, "drop alpha"),
        (np.zeros((2, 2, 3), "u2"), {"color": True}, "colour is stored as uint8"),
        (np.zeros((1, 65536), "u1"), {}, "at most 65535"),
        (np.ma.masked_array(GREY, GREY > 3), {}, "masked array"),
        (np.array([[-(2**40), 2**40]]), {}, "span more than 16 bits"),
        (np.array([[0, 70000]]), {"rescale": (1, 0)}, "integers are stored values"),
        (np.array([[0.0, 70000.0]]), {"rescale": (1, 0)}, "rescale: values 0..70000"),
        (np.array([[-1e308, 1e308]]), {}, "too wide a range"),
        (GREY, {"rescale": (0, 0)}, "slope not 0"),
        (GREY, {"modality": "MR"}, "modality: 'MR' is not made yet"),
        (GREY, {"modality": "CT"}, "pixel_spacing: CT Image Storage needs"),
        (GREY, {**CT, "pixel_spacing": (0, 1)}, "pixel_spacing: 0 mm"),
        (GREY, {**CT, "pixel_spacing": (1, 2, 3)}, "pixel_spacing: 2 finite numbers"),
        (GREY[np.newaxis].repeat(2, 0), CT, "spacing_between_slices: 2 slices need"),
        (GREY[np.newaxis].repeat(2, 0), {**CT, "spacing_between_slices": 0}, "spacing_between_slices: 0 mm"),
        (GREY, {**CT, "image_orientation_patient": (1, 0, 0, 1, 0, 0)}, "image_orientation_patient: row and column"),
        (GREY, {**CT, "multi_frame": True}, "multi_frame: CT Image Storage"),
        (np.zeros((2, 2, 3), "u1"), CT, "has no colour"),
        (GREY, {"window": (1, 0)}, "window: "),
        (GREY, {"frame_time": 40}, "frame_time: only a multi-frame"),
        (GREY, {"conversion_type": "X"}, "conversion_type: one of"),
        (GREY, {"image_type": "X"}, "image_type: begins with"),
        (GREY, {"patient_sex": "W"}, "patient_sex: M, F, O"),
        (GREY, {"patient_name": "a=b=c=d"}, "patient_name: has 4 groups"),
        (GREY, {"patient_name": "x" * 65}, "patient_name: a group has 65"),
        (GREY, {"patient_id": "a\\b"}, "patient_id: contains a backslash"),
        (GREY, {"patient_id": "a\nb"}, "patient_id: contains a control character"),
        (GREY, {"study_date": "31.1.2024"}, "study_date: a date is needed"),
        (GREY, {"study_time": "25:00"}, "study_time: a time is needed"),
        (GREY, {"study": Dataset()}, "study: the data set has no valid Study Instance UID"),
        (GREY, {"uid_root": "01.2"}, "uid_root: "),
        (GREY, {"frame_of_reference_uid": "x"}, "frame_of_reference_uid: not a UID"),
    ],
)
def test_what_cannot_be_valid_is_refused_by_name(pixels: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        isocenter.create(pixels, **arguments)


def test_a_different_patient_cannot_join_a_study() -> None:
    study = isocenter.create(GREY, patient_id="1")
    assert isinstance(study, Dataset)
    with pytest.raises(UsageError, match="patient_id: differs"):
        isocenter.create(GREY, study=study, patient_id="2")


def test_integers_with_rescale_are_stored_values_and_floats_output_values() -> None:
    (stored,) = made(np.array([[0, 1000]], "u2"), **CT, rescale=(2, -1024))
    assert stored.pixel_array.tolist() == [[0, 1000]]
    assert output_values(stored).tolist() == [[-1024, 976]]
    (converted,) = made(np.array([[-1000.2, 40.0]]), **CT, rescale=(0.5, -1024))
    assert converted.pixel_array.tolist() == [[48, 2128]]
    assert output_values(converted).tolist() == [[-1000, 40]]


def test_signed_stacks_become_unsigned_with_an_intercept() -> None:
    (ds,) = made(np.array([[[-32768, 0]], [[1, 32767]]], "i2"))
    assert (ds.PixelRepresentation, ds.RescaleIntercept) == (0, -32768)
    assert output_values(ds).ravel().tolist() == [-32768, 0, 1, 32767]


@pytest.mark.parametrize(
    ("arguments", "window", "function"),
    [
        ({"window": (40, 400)}, (40, 400), None),
        ({"window": (0.5, 0.25)}, (0.5, 0.25), "LINEAR_EXACT"),
        ({}, (50, 100), None),
    ],
)
def test_windows(arguments: dict[str, Any], window: tuple[float, float], function: str | None) -> None:
    (ds,) = made(np.array([[0, 100]], "i2"), **arguments)
    assert (ds.WindowCenter, ds.WindowWidth) == window
    assert ds.get("VOILUTFunction") == function
    assert "WindowCenter" not in made(GREY)[0]


@pytest.mark.parametrize(
    ("arguments", "vector", "values"),
    [
        ({"frame_time": 40}, "FrameTime", 40),
        ({"slice_thickness": 2, "pixel_spacing": (1, 1)}, "SliceLocationVector", [0, 2]),
        ({}, "PageNumberVector", [1, 2]),
    ],
)
def test_what_tells_one_frame_from_the_next(arguments: dict[str, Any], vector: str, values: Any) -> None:
    (ds,) = made(np.zeros((2, 3, 5), "u1"), **arguments)
    assert keyword_for_tag(ds.FrameIncrementPointer) == vector
    assert ds[vector].value == values


def test_placed_multi_frame_objects_have_functional_groups() -> None:
    placed = {"pixel_spacing": (1, 2), "slice_thickness": 3, "image_position_patient": (5, 6, 7), "multi_frame": True}
    (ds,) = made(np.zeros((2, 3, 5), "u1"), **placed)
    assert ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing == [1, 2]
    positions = [group.PlanePositionSequence[0].ImagePositionPatient for group in ds.PerFrameFunctionalGroupsSequence]
    assert positions == [[5, 6, 7], [5, 6, 10]]
    assert ds.PatientOrientation == ["L", "P"]


def test_an_oblique_orientation_in_letters() -> None:
    oblique = {"image_orientation_patient": (0.6, 0.8, 0, 0, 0, -1), "pixel_spacing": (1, 1)}
    assert made(GREY, **oblique)[0].PatientOrientation == ["PL", "F"]


def test_an_empty_study_date_stays_empty() -> None:
    (ds,) = made(np.zeros((2, 3, 5), "u1"), study_date="")
    assert ds.StudyDate == ""
    assert len(ds.ContentDate) == 8
