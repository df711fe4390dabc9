"""Secondary Capture, single-frame and multi-frame (PS3.3 A.8, C.8.6).

A stack becomes one multi-frame object; slices that lie in the patient become single-frame objects with an Image Plane
Module, because far more software reads positions there than in functional groups.
"""

from __future__ import annotations

from dataclasses import replace

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from isocenter.errors import UsageError
from isocenter.iod.decimal_string import ds_value, ds_values
from isocenter.iod.geometry import Geometry
from isocenter.iod.series import Request, finish, full_window, write_pixels, write_rescale, write_window
from isocenter.iod.stored_values import IDENTITY

_MOST_BYTES = 0xFFFFFFFE  # an explicit length of Pixel Data has 32 bits (PS3.5 section 7.1)
_SINGLE = "secondary-capture-image"
_COLOR = "multi-frame-true-color-secondary-capture-image"
_BYTE = "multi-frame-grayscale-byte-secondary-capture-image"
_WORD = "multi-frame-grayscale-word-secondary-capture-image"


def build(request: Request) -> list[Dataset]:
    """One object, or one per slice; see the module."""
    count = len(request.values.array)
    placed = request.geometry is not None and request.geometry.patient_space
    multi_frame = request.description.multi_frame
    if multi_frame is None:
        multi_frame = request.stack and not placed
    if not multi_frame:
        if request.description.frame_time is not None:
            raise UsageError("frame_time: only a multi-frame object has one; pass multi_frame=True")
        return [_single(request, index) for index in range(count)]
    if request.values.array.nbytes > _MOST_BYTES:
        raise UsageError("pixels: more than 4 GiB do not fit one object; pass multi_frame=False, or fewer frames")
    return [_multi(request)]


def _common(request: Request, ds: Dataset, modules: list[str]) -> None:
    ds.ConversionType = request.description.conversion_type
    ds.DateOfSecondaryCapture, ds.TimeOfSecondaryCapture = ds.ContentDate, ds.ContentTime
    ds.BurnedInAnnotation = "YES" if request.description.burned_in_annotation else "NO"
    request.write_image_type(ds, ("DERIVED", "SECONDARY"))
    window = request.description.window or full_window(request.values)
    if window is not None:
        if request.values.color:
            raise UsageError("window: colour has none; leave it out")
        write_window(ds, window)
        modules.append("voi-lut")
    if request.geometry is not None and request.geometry.patient_space:
        request.write_frame_of_reference(ds)
        modules.append("frame-of-reference")


def _single(request: Request, index: int) -> Dataset:
    modules = ["general-equipment"]
    ds = request.start(index + 1)
    _common(request, ds, modules)
    write_pixels(ds, request.values, slice(index, index + 1))
    if request.values.rescale != IDENTITY:
        write_rescale(ds, request.values, "US")
        modules.append("modality-lut")
    geometry = request.geometry
    if geometry is not None and geometry.patient_space:
        geometry.write_plane(ds, index)
        ds.PatientOrientation = geometry.patient_orientation()
        modules.append("image-plane")
    else:
        ds.PatientOrientation = None
        if geometry is not None:
            ds.PixelSpacing = ds_values(geometry.spacing)
    return finish(ds, _SINGLE, modules)


def _multi(request: Request) -> Dataset:
    if not request.values.color:
        # C.8.6.3 allows no signed values; the intercept takes them back
        request = replace(request, values=request.values.as_unsigned())
    values, geometry = request.values, request.geometry
    modules = ["general-equipment", "sc-image"]
    ds = request.start(1)
    _common(request, ds, modules)
    write_pixels(ds, values, slice(None))
    ds.NumberOfFrames = len(values.array)
    ds.PatientOrientation = None
    if not values.color:
        write_rescale(ds, values, "US")
        ds.PresentationLUTShape = "IDENTITY"
    if geometry is not None:
        if geometry.patient_space:
            ds.PatientOrientation = geometry.patient_orientation()
            _write_functional_groups(ds, geometry)
        else:
            ds.PixelSpacing = ds_values(geometry.spacing)
    if ds.NumberOfFrames > 1:
        _write_frame_increment(ds, request, modules)
    return finish(ds, _COLOR if values.color else _BYTE if values.bits == 8 else _WORD, modules)


def _write_frame_increment(ds: Dataset, request: Request, modules: list[str]) -> None:
    # C.7.6.6.1.2: what tells one frame from the next; time, place, or only the page number
    geometry, count = request.geometry, ds.NumberOfFrames
    if request.description.frame_time is not None:
        ds.FrameTime = ds_value(request.description.frame_time)
        ds.FrameIncrementPointer = Tag("FrameTime")
        modules.append("cine")
        return
    modules.append("sc-multi-frame-vector")
    if geometry is not None and geometry.step:
        ds.SliceLocationVector = ds_values([geometry.location_of(index) for index in range(count)])
        ds.FrameIncrementPointer = Tag("SliceLocationVector")
    else:
        ds.PageNumberVector = list(range(1, count + 1))
        ds.FrameIncrementPointer = Tag("PageNumberVector")


def _write_functional_groups(ds: Dataset, geometry: Geometry) -> None:
    # A.8.2.4: Pixel Measures, Plane Position and Plane Orientation come together or not at all
    measures, orientation, shared = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = ds_values(geometry.spacing)
    if geometry.thickness is not None:
        measures.SliceThickness = ds_value(geometry.thickness)
    if geometry.slices > 1:
        measures.SpacingBetweenSlices = ds_value(abs(geometry.step))
    orientation.ImageOrientationPatient = ds_values(geometry.orientation)
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.PlaneOrientationSequence = Sequence([orientation])
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    groups = []
    for index in range(geometry.slices):
        position, group = Dataset(), Dataset()
        position.ImagePositionPatient = ds_values(geometry.position_of(index))
        group.PlanePositionSequence = Sequence([position])
        groups.append(group)
    ds.PerFrameFunctionalGroupsSequence = Sequence(groups)
