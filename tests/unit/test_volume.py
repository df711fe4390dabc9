"""Series as volumes: order, affine, gaps, tilt, what is several volumes and what is none (PS3.3 C.7.6.2)."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

import isocenter
from isocenter.errors import DataSetError, NotAVolume, UsageError
from isocenter.pixels.geometry import Plane, stacks
from isocenter.pixels.volume import Volume, Volumes
from volume_objects import OBLIQUE, SLOPE, again, ct, enhanced, field, save


def places(shape: tuple[int, ...], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Patient coordinates of each value of an array, by its affine."""
    indices = np.stack([*np.mgrid[: shape[0], : shape[1], : shape[2]], np.ones(shape)], axis=-1)
    return np.asarray(indices @ affine.T)[..., :3]


def lies_right(volume: Volume) -> bool:
    """Whether each value is where its affine puts it."""
    return bool(
        np.allclose(volume.array, field(places(volume.array.shape, volume.affine)), atol=SLOPE, equal_nan=False)
    )


def found(folder: Path) -> Volumes:
    return isocenter.volumes(folder)


@pytest.mark.parametrize(
    "orientation",
    [(1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1), (-1, 0, 0, 0, -1, 0), (1, 0, 0, 0, -1, 0), OBLIQUE],
    ids=["axial", "sagittal", "turned", "from above", "oblique"],
)
def test_each_value_lies_where_the_affine_says(orientation: tuple[float, ...], tmp_path: Path) -> None:
    save(tmp_path, ct(orientation=orientation))
    volume = isocenter.volume(tmp_path)
    assert volume.array.shape == (6, 8, 10)
    assert volume.array.dtype == np.float32
    assert lies_right(volume)
    assert volume.spacing == pytest.approx((2.5, 0.8, 0.6))
    assert (volume.gaps, volume.tilt, volume.duplicates, volume.empty, volume.rescale) == ((), 0.0, (), (), None)
    assert np.linalg.det(volume.affine[:3, :3]) < 0  # (slice, row, column) is (column, row, slice) read backwards
    assert np.allclose(volume.ras, np.diag([-1, -1, 1, 1]) @ volume.affine)


def test_stored_values_keep_their_type_and_tell_the_rescale(tmp_path: Path) -> None:
    save(tmp_path, ct())
    stored, values = isocenter.volume(tmp_path, rescale=False), isocenter.volume(tmp_path)
    assert stored.array.dtype == np.int16
    assert stored.rescale == (0.25, -300.0)
    assert np.allclose(stored.array * 0.25 - 300.0, values.array)


@pytest.mark.parametrize("tilt", [15.0, -20.0])
def test_a_tilted_gantry_is_a_shear_of_the_affine(tilt: float, tmp_path: Path) -> None:
    save(tmp_path, ct(tilt=tilt))
    volume = isocenter.volume(tmp_path)
    assert volume.tilt == pytest.approx(abs(tilt), abs=1e-3)
    assert volume.spacing[0] == pytest.approx(2.5)
    assert lies_right(volume)


@pytest.mark.parametrize("rescale", [True, False])
@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), OBLIQUE], ids=["axial", "oblique"])
@pytest.mark.parametrize("tilt", [15.0, -20.0])
def test_a_tilted_volume_is_put_upright(
    tilt: float, orientation: tuple[float, ...], rescale: bool, tmp_path: Path
) -> None:
    save(tmp_path, ct(tilt=tilt, orientation=orientation))
    tilted = isocenter.volume(tmp_path, rescale=rescale)
    upright = tilted.upright()
    assert upright.tilt == 0.0
    assert upright.upright() is upright
    assert upright.array.dtype == tilted.array.dtype
    sides = [upright.affine[:3, axis] for axis in range(3)]
    assert max(abs(sides[0] @ sides[1]), abs(sides[0] @ sides[2])) < 1e-6
    assert np.linalg.norm(sides[0]) == pytest.approx(2.5)
    # The field is linear, and so is the interpolation: every value that is one lies where it should.
    values = upright.array if rescale else upright.array * 0.25 - 300.0
    expected = field(places(upright.array.shape, upright.affine))
    right = np.abs(values - expected) <= 2 * SLOPE
    assert right.sum(axis=(1, 2)).min() >= (8 - 1) * (10 - 1)
    if rescale:
        assert (right | np.isnan(values)).all()
    assert upright.array.shape[1] > 8


def test_slices_beside_rather_than_behind_each_other_are_not_put_upright(tmp_path: Path) -> None:
    save(tmp_path, ct(tilt=75.0))
    with pytest.raises(NotAVolume, match="75 degrees"):
        isocenter.volume(tmp_path).upright()


def test_missing_slices_are_empty_and_told(tmp_path: Path) -> None:
    objects = ct(9)
    save(tmp_path, [ds for index, ds in enumerate(objects) if index not in (2, 5, 6)])
    volume = isocenter.volume(tmp_path)
    assert [(gap.after, gap.missing) for gap in volume.gaps] == [(1, 1), (3, 2)]
    assert [gap.distance for gap in volume.gaps] == pytest.approx([5.0, 7.5])
    assert volume.empty == (2, 5, 6)
    assert np.isnan(volume.array[[2, 5, 6]]).all()
    held = [0, 1, 3, 4, 7, 8]
    expected = field(places(volume.array.shape, volume.affine))
    assert np.allclose(volume.array[held], expected[held], atol=SLOPE)
    stored = isocenter.volume(tmp_path, rescale=False)
    assert (stored.array[[2, 5, 6]] == stored.array[held].min()).all()
    assert isocenter.volume(tmp_path, gaps="keep").array.shape[0] == 6
    with pytest.raises(NotAVolume, match="after slice 2 of 6 come 5 mm"):
        isocenter.volume(tmp_path, gaps="refuse")


def test_irregular_distances_are_refused_unless_asked_for(tmp_path: Path) -> None:
    objects = ct(8)
    for ds, z in zip(objects, (0, 2.5, 5, 7.5, 9, 11.5, 14, 16.5), strict=True):
        ds.ImagePositionPatient = [-20, 30, 100 + z]
    save(tmp_path, objects)
    (stack,) = found(tmp_path).stacks
    assert not stack.regular
    assert [(gap.after, gap.missing) for gap in stack.gaps] == [(3, 0)]
    with pytest.raises(NotAVolume, match=r"irregular distances: after slice 4 of 8 come 1\.5 mm"):
        isocenter.volume(tmp_path)
    assert isocenter.volume(tmp_path, gaps="keep").array.shape[0] == 8


def test_rounded_positions_are_regular_and_the_rounding_is_told(tmp_path: Path) -> None:
    objects = ct(30, spacing=(0.625, 0.8, 0.6))
    for index, ds in enumerate(objects):
        ds.ImagePositionPatient = [-20, 30, f"{100 + 0.625 * index:.2f}"]
    save(tmp_path, objects)
    volume = isocenter.volume(tmp_path)
    assert volume.gaps == ()
    assert volume.spacing[0] == pytest.approx(0.625, abs=1e-3)
    assert 0.001 < volume.stack.deviation < 0.01


def test_the_same_object_twice_counts_once(tmp_path: Path) -> None:
    objects = ct(5)
    save(tmp_path / "a", objects)
    save(tmp_path / "b", objects[:2])
    volume = isocenter.volume(tmp_path)
    assert lies_right(volume)
    assert len(volume.duplicates) == 2


def test_echoes_and_moments_are_volumes_of_their_own(tmp_path: Path) -> None:
    objects = ct(4)
    for echo in (1.5, 4.6):
        for moment in (1, 2, 3):
            save(
                tmp_path / f"{echo}-{moment}",
                again(objects, EchoTime=echo, TemporalPositionIdentifier=moment, AcquisitionNumber=moment),
            )
    stacks = found(tmp_path).stacks
    assert {tuple(sorted(stack.apart.items())) for stack in stacks} == {
        (("EchoTime", echo), ("TemporalPosition", moment)) for echo in ("1.5", "4.6") for moment in "123"
    }
    assert all(lies_right(found(tmp_path).load(stack)) for stack in stacks)
    with pytest.raises(NotAVolume, match="6 volumes, told apart by EchoTime, TemporalPosition"):
        isocenter.volume(tmp_path)


def test_an_attribute_that_follows_the_slices_divides_nothing(tmp_path: Path) -> None:
    objects = ct(5)
    for index, ds in enumerate(objects):
        ds.TriggerTime, ds.AcquisitionNumber, ds.EchoTime = 10 * index, index, 5 if index % 2 else 6
    save(tmp_path, objects)
    assert isocenter.volume(tmp_path).stack.apart == {}


def test_b_values_and_then_directions(tmp_path: Path) -> None:
    objects = ct(4)
    save(tmp_path / "0", again(objects, DiffusionBValue=0.0))
    for number, direction in enumerate(([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]), 1):
        save(tmp_path / f"{number}", again(objects, DiffusionBValue=1000.0, DiffusionGradientOrientation=direction))
    apart = sorted(tuple(stack.apart.values()) for stack in found(tmp_path).stacks)
    assert apart == [("0",), ("1000", "0\\0\\1"), ("1000", "0\\1\\0"), ("1000", "1\\0\\0")]


def test_a_dynamic_series_without_attributes_goes_by_instance_number(tmp_path: Path) -> None:
    objects = ct(3)
    for moment in range(4):
        later = again(objects)
        for index, ds in enumerate(later):
            ds.InstanceNumber = 3 * moment + index + 1
            ds.PixelData = (np.frombuffer(ds.PixelData, np.int16) + moment).tobytes()
        save(tmp_path / f"{moment}", later)
    volumes = found(tmp_path)
    assert [stack.apart for stack in volumes.stacks] == [{"order": f"{rank} of 4"} for rank in (1, 2, 3, 4)]
    base = volumes.load(volumes.stacks[0], rescale=False).array
    for moment, stack in enumerate(volumes.stacks):
        assert (volumes.load(stack, rescale=False).array == base + moment).all()


def test_images_that_nothing_tells_apart_are_no_volume(tmp_path: Path) -> None:
    objects = ct(5)
    save(tmp_path / "a", objects)
    save(tmp_path / "b", again(objects[:2]))
    with pytest.raises(NotAVolume, match="2 of 5 places have several planes that no attribute tells apart"):
        isocenter.volume(tmp_path)


def test_what_is_no_slice_is_left_out_with_its_reason(tmp_path: Path) -> None:
    objects = ct(5)
    scout = again(objects[:1], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    save(tmp_path / "series", objects)
    save(tmp_path / "scout", scout)
    (tmp_path / "report.dcm").write_bytes(Path(str(get_testdata_file("test-SR.dcm"))).read_bytes())
    coronal = again(objects[:1], ImageOrientationPatient=[1, 0, 0, 0, 0, -1])
    save(tmp_path / "coronal", coronal)
    volumes = found(tmp_path)
    assert len(volumes.stacks) == 1
    told = {volumes.sources[one.sources[0]].label.split("/")[-2]: one.reason for one in volumes.left_out}
    assert told == {"scout": "a localizer", "coronal": "a single slice", tmp_path.name: "it is no image"}
    assert not any(one.damaged for one in volumes.left_out)
    assert lies_right(isocenter.volume(tmp_path))


def test_a_damaged_slice_is_not_passed_over(tmp_path: Path) -> None:
    save(tmp_path, ct(5), order=range(5))
    whole = (tmp_path / "00004.dcm").read_bytes()
    (tmp_path / "00004.dcm").write_bytes(whole[:700])
    with pytest.raises(DataSetError, match="1 of 5 objects"):
        isocenter.volume(tmp_path)
    volumes = found(tmp_path)
    assert [one.damaged for one in volumes.left_out] == [True]
    assert volumes.load().array.shape[0] == 4


@pytest.mark.parametrize(
    ("keyword", "value", "reason"),
    [
        ("ImagePositionPatient", None, "no Image Position"),
        ("ImagePositionPatient", ["nan", "0", "0"], "not finite"),
        ("ImageOrientationPatient", [1, 0, 0, 1, 0, 0], "unit vectors at a right angle"),
        ("ImageOrientationPatient", [2, 0, 0, 0, 1, 0], "unit vectors at a right angle"),
        ("ImagePositionPatient", [1e12, 0, 0], "no patient's"),
        ("PixelSpacing", ["0", "1"], "not positive"),
        ("PixelSpacing", ["1e-200", "1"], "no patient's"),
        ("PixelSpacing", None, "no Pixel Spacing"),
    ],
)
def test_geometry_that_cannot_be(keyword: str, value: object, reason: str, tmp_path: Path) -> None:
    objects = ct(3)
    for ds in objects:
        if value is None:
            del ds[keyword]
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # pydicom's, of a number that is none
                setattr(ds, keyword, value)
    save(tmp_path, objects)
    with pytest.raises(NotAVolume, match=reason):
        isocenter.volume(tmp_path)


def test_slices_beside_each_other_are_no_volume(tmp_path: Path) -> None:
    objects = ct(6)
    for index, ds in enumerate(objects):
        ds.ImagePositionPatient = [-20 + (7 if index % 2 else 0), 30, 100 + index]
    save(tmp_path, objects)
    with pytest.raises(NotAVolume, match="beside each other"):
        isocenter.volume(tmp_path)


def test_two_stations_that_an_attribute_tells_apart(tmp_path: Path) -> None:
    left, right = ct(4), again(ct(4, origin=(60.0, 30.0, 101.0)))
    for ds in right:
        ds.SeriesInstanceUID, ds.FrameOfReferenceUID = left[0].SeriesInstanceUID, left[0].FrameOfReferenceUID
        ds.AcquisitionNumber = 2
    for ds in left:
        ds.AcquisitionNumber = 1
    save(tmp_path / "l", left)
    save(tmp_path / "r", right)
    volumes = found(tmp_path)
    assert [stack.apart for stack in volumes.stacks] == [{"AcquisitionNumber": "1"}, {"AcquisitionNumber": "2"}]
    assert all(lies_right(volumes.load(stack)) for stack in volumes.stacks)


@pytest.mark.parametrize("undefined", [False, True])
def test_frames_of_an_enhanced_object(undefined: bool, tmp_path: Path) -> None:
    objects = ct(7, orientation=OBLIQUE)
    frames = [objects[at] for at in (3, 0, 6, 1, 5, 2, 4)]
    save(tmp_path, [enhanced(frames, undefined=undefined)])
    volume = isocenter.volume(tmp_path)
    assert volume.array.shape == (7, 8, 10)
    assert lies_right(volume)
    assert [plane.frame for plane in volume.stack.planes] == [2, 4, 6, 1, 7, 5, 3]


def test_moments_of_an_enhanced_object(tmp_path: Path) -> None:
    objects = ct(3)
    ds = enhanced([*objects, *objects])
    for number, group in enumerate(ds.PerFrameFunctionalGroupsSequence):
        group.FrameContentSequence[0].TemporalPositionIndex = number // 3 + 1
    save(tmp_path, [ds])
    assert [stack.apart for stack in found(tmp_path).stacks] == [{"TemporalPosition": "1"}, {"TemporalPosition": "2"}]


def test_pet_has_a_rescale_for_each_slice(tmp_path: Path) -> None:
    objects = ct(4)
    for index, ds in enumerate(objects):
        values = np.frombuffer(ds.PixelData, np.int16) * 0.25 - 300.0
        slope = 0.1 * (index + 1)
        ds.RescaleSlope, ds.RescaleIntercept = slope, 0
        ds.PixelData = np.rint(values / slope).astype(np.int16).tobytes()
    save(tmp_path, objects)
    volume = isocenter.volume(tmp_path)
    assert np.allclose(volume.array, field(places(volume.array.shape, volume.affine)), atol=0.5)
    with pytest.raises(NotAVolume, match="different rescales"):
        isocenter.volume(tmp_path, rescale=False)


def test_a_dose_grid(tmp_path: Path) -> None:
    path = str(get_testdata_file("rtdose.dcm"))
    volume = isocenter.volume(path)
    assert volume.array.shape == (15, 10, 10)
    assert volume.spacing == (5.0, 10.0, 10.0)
    stored = isocenter.volume(path, rescale=False)
    assert stored.array.dtype == np.uint32
    assert stored.rescale is not None
    assert np.allclose(stored.array * stored.rescale[0], volume.array)
    assert volume.array.dtype == np.float64


def test_an_nm_reconstruction_goes_where_the_sign_of_its_step_says(tmp_path: Path) -> None:
    objects = ct(5)
    ds = enhanced(objects)
    del ds.SharedFunctionalGroupsSequence, ds.PerFrameFunctionalGroupsSequence
    detector = Dataset()
    detector.ImagePositionPatient = objects[-1].ImagePositionPatient
    detector.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.DetectorInformationSequence = [detector]
    ds.PixelSpacing, ds.SpacingBetweenSlices, ds.SliceVector = [0.8, 0.6], -2.5, [1, 2, 3, 4, 5]
    ds.RescaleSlope, ds.RescaleIntercept = 0.25, -300
    ds.PixelData = b"".join(one.PixelData for one in reversed(objects))
    save(tmp_path, [ds])
    assert lies_right(isocenter.volume(tmp_path))


def test_one_series_of_several(tmp_path: Path) -> None:
    one, other = ct(3), ct(4)
    save(tmp_path / "a", one)
    save(tmp_path / "b", other)
    assert isocenter.volume(tmp_path, series=other[0].SeriesInstanceUID).array.shape[0] == 4
    with pytest.raises(NotAVolume, match="2 volumes of several series"):
        isocenter.volume(tmp_path)
    with pytest.raises(UsageError):
        isocenter.volume(tmp_path, series="1.2.3")


def test_colours_are_no_volume(tmp_path: Path) -> None:
    objects = ct(3)
    for ds in objects:
        ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
        ds.BitsAllocated = ds.BitsStored = 8
        ds.HighBit, ds.PixelRepresentation = 7, 0
        ds.PixelData = bytes(8 * 10 * 3)
    save(tmp_path, objects)
    with pytest.raises(NotAVolume, match="colours"):
        isocenter.volume(tmp_path)


def test_ten_thousand_frames_in_one_plane_are_refused_at_once() -> None:
    """Each is looked for among those near it, not among all."""
    planes = [
        Plane(0, number, (float(number % 100), float(number // 100), 0.0), (1, 0, 0, 0, 1, 0), (1.0, 1.0), (8, 8))
        for number in range(10_000)
    ]
    found, left_out = stacks(planes)
    assert found == []
    assert [one.reason for one in left_out] == ["the slices lie in one plane"]


def test_a_far_slice_makes_no_great_array(tmp_path: Path) -> None:
    objects = ct(4)
    objects[3].ImagePositionPatient = [-20, 30, 1e6]
    save(tmp_path, objects)
    with pytest.raises(NotAVolume, match="irregular"):
        isocenter.volume(tmp_path)
