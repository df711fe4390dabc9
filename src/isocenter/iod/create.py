r"""`isocenter.create`: valid DICOM objects from a numpy array.

The usual ten lines around an array forget attributes that the standard requires. Here tables complete every object
(tables.py), arguments are checked before anything is built, and what cannot become a valid object is a UsageError that
names the argument and the remedy.

What comes out: modality CT gives CT Image Storage, one object a slice. OT gives Secondary Capture: one Multi-frame
Grayscale Byte, Grayscale Word or True Color object for a stack, and Secondary Capture Image Storage for a single image
and for slices that have a place in the patient (`multi_frame` decides otherwise).

What happens to the values: see stored_values.py. In short: uint8, int16 and uint16 stay as they are; other integers
become 16 bits, exactly, or are refused; floats are quantised to 65,536 steps of their range with Rescale Slope and
Intercept, unless they are whole numbers that fit. With `rescale`, integers are stored values and floats output values
to convert. Output values of a CT are Hounsfield Units.

Where slices lie: slice k is k x `spacing_between_slices` (or `slice_thickness`, if slices touch) along the normal, row
direction x column direction, from `image_position_patient`; a negative spacing goes against the normal. Without an
orientation slices are axial, without a position the first is centred on the origin.

Left empty because unknown: KVP, Patient Position and every other Type 2 attribute that has no argument. Image Type is
DERIVED\SECONDARY(\AXIAL) unless given, since an array is not an acquisition. Secondary Capture of more than 8 bits
gets a window over its full range unless `window` is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from pydicom.dataset import Dataset

from isocenter.errors import UsageError
from isocenter.iod import ct, secondary_capture, series
from isocenter.iod.geometry import Placement, geometry
from isocenter.iod.series import Description, Request, Series
from isocenter.iod.stored_values import frames_of, store
from isocenter.iod.subject import Date, Subject, Time
from isocenter.iod.uids import UUID_ROOT, UIDs
from isocenter.names import is_uid

_BUILDERS: dict[str, Callable[[Request], list[Dataset]]] = {"CT": ct.build, "OT": secondary_capture.build}


def create(
    pixels: Any,
    *,
    modality: str = "OT",
    patient_name: str | None = None,
    patient_id: str | None = None,
    patient_birth_date: Date | None = None,
    patient_sex: str | None = None,
    study: Dataset | None = None,
    study_date: Date | None = None,
    study_time: Time | None = None,
    study_id: str | None = None,
    study_description: str | None = None,
    accession_number: str | None = None,
    referring_physician_name: str | None = None,
    series_description: str = "",
    series_number: int | None = None,
    body_part_examined: str = "",
    laterality: str = "",
    patient_position: str = "",
    manufacturer: str = "Isocenter",
    pixel_spacing: Sequence[float] | None = None,
    slice_thickness: float | None = None,
    spacing_between_slices: float | None = None,
    image_orientation_patient: Sequence[float] | None = None,
    image_position_patient: Sequence[float] | None = None,
    frame_of_reference_uid: str | None = None,
    rescale: tuple[float, float] | None = None,
    window: tuple[float, float] | None = None,
    image_type: Sequence[str] | None = None,
    derivation: str = "",
    conversion_type: str = "WSD",
    burned_in_annotation: bool = False,
    color: bool | None = None,
    multi_frame: bool | None = None,
    frame_time: float | None = None,
    uid_root: str = UUID_ROOT,
    uid_seed: str | None = None,
) -> Dataset | list[Dataset]:
    """DICOM objects holding `pixels`, ready for `save_as(path, enforce_file_format=True)`; the module tells the rest.

    A 2-D array and a multi-frame object give a Dataset; slices give a list in the order of the array's first axis.

    pixels: (rows, columns) or (slices, rows, columns) of any integer or float dtype, or uint8 RGB with a last axis of
    3; uint8 whose last axis is 3 is RGB unless `color` is False. modality: "CT" (CT Image Storage) or "OT" (Secondary
    Capture). Lengths are mm; pixel_spacing is (between rows, between columns). window: (center, width) of output
    values. rescale: (slope, intercept). frame_time: ms, makes a stack a cine. study: any object of the study to join;
    patient and study come from it. uid_root: a root of your own; uid_seed: any text, the same gives the same UIDs.
    Raises UsageError, naming the argument and what to do. Sources: PS3.3 A.3, A.8, C.7, C.8.2, C.8.6.
    """
    return _create(locals())


_Part = TypeVar("_Part")


def _part(kind: type[_Part], arguments: Mapping[str, Any]) -> _Part:
    # The dataclasses are slices of the one signature above, by name, so that no argument is listed a third time
    return kind(**{field.name: arguments[field.name] for field in fields(kind)})  # type: ignore[arg-type]


def _create(arguments: Mapping[str, Any]) -> Dataset | list[Dataset]:
    modality = arguments["modality"]
    if modality not in _BUILDERS:
        raise UsageError(f"modality: {modality!r} is not made yet; CT gives CT Image Storage, OT Secondary Capture")
    array, stack = frames_of(arguments["pixels"], arguments["color"])
    frame_of_reference = arguments["frame_of_reference_uid"]
    if frame_of_reference is not None and not is_uid(frame_of_reference):
        raise UsageError("frame_of_reference_uid: not a UID (PS3.5 section 9.1)")
    uids = UIDs(arguments["uid_root"], arguments["uid_seed"])
    needed_by = ct.NAME if modality == "CT" else ""
    request = Request(
        base=series.base(_part(Series, arguments), _part(Subject, arguments), arguments["study"], uids),
        values=store(array, arguments["rescale"]),
        geometry=geometry(_part(Placement, arguments), array.shape[:3], needed_by=needed_by),
        description=_part(Description, arguments).checked(),
        frame_of_reference=frame_of_reference or uids.new("frame of reference"),
        uids=uids,
        stack=stack,
    )
    objects = _BUILDERS[modality](request)
    return objects if stack and "NumberOfFrames" not in objects[0] else objects[0]
