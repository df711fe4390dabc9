"""Series with known places for tests: each value says by itself where in the patient it lies."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

import isocenter

OBLIQUE = (0.96, 0.28, 0.0, -0.2688, 0.9216, 0.28)
SLOPE, INTERCEPT = 0.25, -300.0


def field(lps: NDArray[np.float64]) -> NDArray[np.float64]:
    """The value at patient coordinates (..., 3) in mm: each direction changes it by an amount of its own."""
    return np.asarray(lps @ np.array([1.0, 2.0, 5.0]))


def ct(
    slices: int = 6,
    shape: tuple[int, int] = (8, 10),
    *,
    spacing: tuple[float, float, float] = (2.5, 0.8, 0.6),
    orientation: Sequence[float] = (1, 0, 0, 0, 1, 0),
    origin: Sequence[float] = (-20.0, 30.0, 100.0),
    tilt: float = 0.0,
    value: Callable[[NDArray[np.float64]], NDArray[np.float64]] = field,
) -> list[Dataset]:
    """A CT series of `field`, one slice an object; `tilt` in degrees moves slices along their columns, as a gantry."""
    rows, columns = np.array(orientation[:3], float), np.array(orientation[3:], float)
    normal = np.cross(rows, columns)
    step = normal * spacing[0] + columns * np.tan(np.radians(tilt)) * spacing[0]
    k, i, j = np.mgrid[:slices, : shape[0], : shape[1]].astype(np.float64)
    places = (
        np.array(origin) + k[..., None] * step + i[..., None] * columns * spacing[1] + j[..., None] * rows * spacing[2]
    )
    stored = np.rint((value(places) - INTERCEPT) / SLOPE).astype(np.int16)
    made: Any = isocenter.create(
        stored, modality="CT", pixel_spacing=spacing[1:], spacing_between_slices=spacing[0],
        image_orientation_patient=orientation, image_position_patient=origin, rescale=(SLOPE, INTERCEPT),
    )  # fmt: skip
    for index, ds in enumerate(made):
        ds.ImagePositionPatient = [f"{part:.6f}" for part in np.array(origin) + index * step]
    return list(made)


def save(folder: Path, objects: Sequence[Dataset], order: Sequence[int] | None = None) -> Path:
    """The objects as files, by names in another order than theirs unless `order` says which."""
    folder.mkdir(parents=True, exist_ok=True)
    names = order if order is not None else np.random.default_rng(4).permutation(len(objects)).tolist()
    for name, ds in zip(names, objects, strict=True):
        ds.save_as(folder / f"{name:05d}.dcm", enforce_file_format=True)
    return folder


def again(objects: Sequence[Dataset], **attributes: Any) -> list[Dataset]:
    """The same images as other instances of the same series, with other attributes."""
    made = []
    for ds in objects:
        one = copy.deepcopy(ds)
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        for keyword, value in attributes.items():
            setattr(one, keyword, value)
        made.append(one)
    return made


def enhanced(objects: Sequence[Dataset], *, undefined: bool = False) -> Dataset:
    """A multi-frame object of the slices, with functional groups for each frame, as Enhanced CT has them.

    `undefined` gives its sequences undefined lengths.
    """
    first = objects[0]
    ds = copy.deepcopy(first)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope"):
        del ds[keyword]
    del ds.RescaleIntercept, ds.RescaleType
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    shared, measures, orientation, values = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = first.PixelSpacing
    orientation.ImageOrientationPatient = first.ImageOrientationPatient
    values.RescaleSlope, values.RescaleIntercept, values.RescaleType = first.RescaleSlope, first.RescaleIntercept, "HU"
    shared.PixelMeasuresSequence = [measures]
    shared.PlaneOrientationSequence = [orientation]
    shared.PixelValueTransformationSequence = [values]
    ds.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for number, one in enumerate(objects, 1):
        item, content, position = Dataset(), Dataset(), Dataset()
        content.DimensionIndexValues, content.StackID, content.InStackPositionNumber = [1, number], "1", number
        position.ImagePositionPatient = one.ImagePositionPatient
        item.FrameContentSequence, item.PlanePositionSequence = [content], [position]
        groups.append(item)
    ds.PerFrameFunctionalGroupsSequence = groups
    ds.NumberOfFrames = len(objects)
    ds.PixelData = b"".join(one.PixelData for one in objects)
    if undefined:
        for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
            ds[keyword].is_undefined_length = True
            for item in ds[keyword].value:
                item.is_undefined_length_sequence_item = True
    return ds
