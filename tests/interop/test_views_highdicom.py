"""Legacy Converted Enhanced images beside highdicom: ours it reads, its own we take apart, and volumes are the same."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from highdicom.legacy import LegacyConvertedEnhancedCTImage, lceread
from pydicom.dataset import Dataset

import isocenter
from view_objects import View, file_of, images, read, source, sources, viewed

pytestmark = pytest.mark.interop


def series() -> list[Dataset]:
    made = images()
    for number, ds in enumerate(made, 1):
        ds.WindowCenter, ds.WindowWidth = 40, 400
        ds.AcquisitionNumber, ds.SeriesNumber, ds.PatientID = number, 3, "1"
    return made


def values(ds: Dataset) -> np.ndarray:
    return ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept)


def test_highdicom_finds_the_frames_of_our_sources() -> None:
    slices = series()
    (whole,) = viewed(sources(slices), View.ENHANCED)
    image = lceread(BytesIO(file_of(whole)))
    assert isinstance(image, LegacyConvertedEnhancedCTImage)
    asked = [slices[at].SOPInstanceUID for at in (2, 0)]
    found = image.get_pixels_by_legacy_source_instance(asked)
    assert np.array_equal(found, np.stack([values(slices[2]), values(slices[0])]))
    assert image.get_volume_geometry() is not None


def test_what_highdicom_converted_comes_back_as_its_sources_were() -> None:
    slices = series()
    theirs = LegacyConvertedEnhancedCTImage(
        slices, series_instance_uid="2.25.71", series_number=5, sop_instance_uid="2.25.72", instance_number=1,
    )  # fmt: skip
    found = viewed([source(theirs)], View.CLASSIC)
    by_place = {tuple(ds.ImagePositionPatient): ds for ds in slices}
    assert len(found) == len(slices)
    for one in found:
        ds = read(one)
        was = by_place[tuple(ds.ImagePositionPatient)]
        assert np.array_equal(values(ds), values(was))
        for keyword in ("InstanceNumber", "SliceThickness", "PixelSpacing", "ImageOrientationPatient", "WindowWidth"):
            assert ds[keyword].value == was[keyword].value, keyword
    # Where its sources are here, too, they are what there is
    both = viewed([*sources(slices), source(theirs)], View.CLASSIC)
    assert [one.instance for one in both] == [ds.SOPInstanceUID for ds in slices]
    assert [one.instance for one in viewed([*sources(slices), source(theirs)], View.ENHANCED)] == ["2.25.72"]


def test_volumes_are_the_same_in_each_view(tmp_path: Path) -> None:
    slices = series()
    (whole,) = viewed(sources(slices), View.ENHANCED)
    frames = viewed(sources([file_of(whole)]), View.CLASSIC)
    found = []
    for name, files in (("classic", sources(slices)), ("enhanced", [whole]), ("back", frames)):
        folder = tmp_path / name
        folder.mkdir()
        for number, one in enumerate(files):
            path = folder / f"{number}.dcm"
            if name == "classic":
                slices[number].save_as(path, enforce_file_format=True)
            else:
                path.write_bytes(file_of(one))  # type: ignore[arg-type]
        found.append(isocenter.volume(folder))
    for other in found[1:]:
        assert np.array_equal(found[0].array, other.array)
        assert np.allclose(found[0].affine, other.affine)
