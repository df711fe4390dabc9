"""Where slices lie in the patient (PS3.3 C.7.6.2): one frame of reference, positions along the normal.

Patient coordinates are LPS in mm: x to the patient's left, y to the back, z to the head (C.7.6.2.1.1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset

from isocenter.errors import UsageError
from isocenter.iod.decimal_string import ds_value, ds_values

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
_TOLERANCE = 1e-4  # what six decimals of a direction cosine leave


@dataclass(frozen=True, slots=True)
class Geometry:
    """`spacing` is (between rows, between columns), `step` the signed distance of slices along row x column, in mm.

    `position` is the centre of the first slice's first pixel. `patient_space` tells whether orientation and position
    are known; a spacing alone describes pixels on a page.
    """

    spacing: tuple[float, float]
    orientation: tuple[float, ...]
    position: tuple[float, ...]
    step: float
    thickness: float | None
    patient_space: bool
    slices: int

    @property
    def normal(self) -> tuple[float, float, float]:
        rx, ry, rz, cx, cy, cz = self.orientation
        return ry * cz - rz * cy, rz * cx - rx * cz, rx * cy - ry * cx

    def position_of(self, index: int) -> list[float]:
        """Image Position (Patient) of the slice with this 0-based index."""
        return [p + index * self.step * n for p, n in zip(self.position, self.normal, strict=True)]

    def location_of(self, index: int) -> float:
        """Slice Location: the position's distance from the origin along the normal."""
        return sum(p * n for p, n in zip(self.position_of(index), self.normal, strict=True))

    def write_plane(self, ds: Dataset, index: int) -> None:
        """The Image Plane Module of one slice."""
        ds.PixelSpacing = ds_values(self.spacing)
        ds.ImageOrientationPatient = ds_values(self.orientation)
        ds.ImagePositionPatient = ds_values(self.position_of(index))
        ds.SliceThickness = None if self.thickness is None else ds_value(self.thickness)
        if self.slices > 1:
            ds.SpacingBetweenSlices = ds_value(abs(self.step))
        ds.SliceLocation = ds_value(self.location_of(index))

    def patient_orientation(self) -> list[str]:
        """Patient Orientation (C.7.6.1.1.1): the directions of rows and columns in letters, strongest first."""
        return [_letters(self.orientation[:3]), _letters(self.orientation[3:])]


def _letters(direction: Sequence[float]) -> str:
    names = zip(direction, ("LR", "PA", "HF"), strict=True)
    strongest_first = sorted(names, key=lambda pair: -abs(pair[0]))
    return "".join(pair[0 if part > 0 else 1] for part, pair in strongest_first if abs(part) > 1e-3)


def _numbers(argument: str, values: Sequence[float], count: int) -> tuple[float, ...]:
    try:
        result = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        result = ()
    if len(result) != count or not all(map(math.isfinite, result)):
        raise UsageError(f"{argument}: {count} finite numbers are needed")
    return result


def _length(argument: str, value: float) -> float:
    (number,) = _numbers(argument, (value,), 1)
    if number <= 0:
        raise UsageError(f"{argument}: {number:g} mm; a positive distance is needed")
    return number


def _checked_orientation(values: Sequence[float]) -> tuple[float, ...]:
    six = _numbers("image_orientation_patient", values, 6)
    row, column = six[:3], six[3:]
    lengths = math.hypot(*row), math.hypot(*column)
    across = sum(r * c for r, c in zip(row, column, strict=True))
    if max(abs(lengths[0] - 1), abs(lengths[1] - 1), abs(across)) > _TOLERANCE:
        raise UsageError(
            "image_orientation_patient: row and column direction must be unit vectors at a right angle, "
            "as (1, 0, 0, 0, 1, 0) for axial slices"
        )
    return six


@dataclass(frozen=True, slots=True)
class Placement:
    """The arguments of `create` about place and distance, in mm; None was not given."""

    pixel_spacing: Sequence[float] | None
    slice_thickness: float | None
    spacing_between_slices: float | None
    image_orientation_patient: Sequence[float] | None
    image_position_patient: Sequence[float] | None


def geometry(placement: Placement, shape: Sequence[int], *, needed_by: str) -> Geometry | None:
    """The geometry of `shape` (slices, rows, columns), or None when nothing is known of it.

    `needed_by` names the SOP Class that cannot do without, or is empty. Raises UsageError naming the argument.
    """
    orientation, position = placement.image_orientation_patient, placement.image_position_patient
    patient_space = bool(needed_by) or orientation is not None or position is not None
    thickness = None if placement.slice_thickness is None else _length("slice_thickness", placement.slice_thickness)
    step = _step(placement, thickness, shape[0], patient_space)
    if placement.pixel_spacing is None:
        if patient_space:
            why = f"{needed_by} needs" if needed_by else "an orientation or position needs"
            raise UsageError(
                f"pixel_spacing: {why} the distance of pixel centres in mm, (between rows, between columns)"
            )
        return None
    rows, columns = _numbers("pixel_spacing", placement.pixel_spacing, 2)
    spacing = _length("pixel_spacing", rows), _length("pixel_spacing", columns)
    directions = AXIAL if orientation is None else _checked_orientation(orientation)
    if position is None:
        # The centre of the first slice on the origin: as good as any, and it keeps volumes of one shape in register
        right, down = (shape[2] - 1) / 2 * spacing[1], (shape[1] - 1) / 2 * spacing[0]
        first = tuple(-right * r - down * c + 0.0 for r, c in zip(directions[:3], directions[3:], strict=True))
    else:
        first = _numbers("image_position_patient", position, 3)
    return Geometry(spacing, directions, first, step, thickness, patient_space, shape[0])


def _step(placement: Placement, thickness: float | None, slices: int, patient_space: bool) -> float:
    if placement.spacing_between_slices is not None:
        (step,) = _numbers("spacing_between_slices", (placement.spacing_between_slices,), 1)
        if step == 0:
            raise UsageError("spacing_between_slices: 0 mm; slices in one place are not a volume")
        return step
    if thickness is None and slices > 1 and patient_space:
        raise UsageError(
            f"spacing_between_slices: {slices} slices need their distance in mm (or slice_thickness, if they touch)"
        )
    return thickness or 0.0
