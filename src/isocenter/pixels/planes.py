"""The planes of one object, read from its header: where each frame lies, and what tells it from others there.

Classic objects have one frame and Image Plane attributes (PS3.3 C.7.6.2); multi-frame ones have functional groups for
each frame (C.7.6.16.2), RT doses offsets of their frames (C.8.8.3.2), NM reconstructions a step (C.8.4.15). Pixels are
not touched.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

from isocenter.errors import LimitExceeded, PixelError, TruncatedError
from isocenter.pixels.geometry import Mark, Plane
from isocenter.pixels.header import Attributes
from isocenter.std.sop_classes import name_of as sop_class_name
from isocenter.std.transfer_syntaxes import TRANSFER_SYNTAXES, TransferSyntax
from isocenter.wire.elements import Buffer
from isocenter.wire.limits import Limits
from isocenter.wire.scan import inflate, scan

_SHARED, _PER_FRAME = 0x52009229, 0x52009230
_PLANE_POSITION, _PLANE_ORIENTATION, _PIXEL_MEASURES = 0x00209113, 0x00209116, 0x00289110
_POSITION, _ORIENTATION, _SPACING = 0x00200032, 0x00200037, 0x00280030
_STEP, _OFFSETS, _SLICES, _DETECTORS = 0x00180088, 0x3004000C, 0x00540080, 0x00540022
_TRANSFORMATION, _MODALITY_LUT, _INTERCEPT, _SLOPE = 0x00289145, 0x00283000, 0x00281052, 0x00281053
_DOSE_SCALING = 0x3004000E
_SEGMENT_IDENTIFICATION, _SEGMENT = 0x0062000A, 0x0062000B
_IMAGE_TYPE, _FRAMES, _ROWS, _COLUMNS = 0x00080008, 0x00280008, 0x00280010, 0x00280011
_SERIES, _FRAME_OF_REFERENCE, _INSTANCE, _NUMBER = 0x0020000E, 0x00200052, 0x00080018, 0x00200013
_SOP_CLASS = 0x00080016

_ORTHONORMAL = 1e-2  # what old scanners' decimals leave
_FARTHEST, _FINEST = 1e7, 1e-6  # mm: positions and spacings beyond are no patient's


class _Source(NamedTuple):
    """Where a mark is: `tag` in the functional group `group` (0: in the data set itself), in sequence `inner` of it."""

    name: str
    tag: int
    group: int = 0
    inner: int = 0
    text: bool = False


# The first that has a value counts.
_MARKS = (
    _Source("StackID", 0x00209056, 0x00209111, text=True),
    _Source("TemporalPosition", 0x00209128, 0x00209111),
    _Source("TemporalPosition", 0x00200100),
    _Source("EchoNumbers", 0x00180086),
    _Source("EchoTime", 0x00189082, 0x00189114),
    _Source("EchoTime", 0x00180081),
    _Source("DiffusionBValue", 0x00189087, 0x00189117),
    _Source("DiffusionBValue", 0x00189087),
    _Source("DiffusionGradientOrientation", 0x00189089, 0x00189117, 0x00189076),
    _Source("DiffusionGradientOrientation", 0x00189089),
    _Source("CardiacPhase", 0x00209153, 0x00189118),
    _Source("CardiacPhase", 0x00209241, 0x00189118),
    _Source("RespiratoryPhase", 0x00209255, 0x00209253),
    _Source("InversionTime", 0x00189079, 0x00189115),
    _Source("InversionTime", 0x00180082),
    _Source("FlipAngle", 0x00181314, 0x00189112),
    _Source("FlipAngle", 0x00181314),
    _Source("ComplexImageComponent", 0x00089208, 0x00189226, text=True),
    _Source("FrameType", 0x00089007, 0x00189226, text=True),
    _Source("FrameType", 0x00089007, 0x00189329, text=True),
    _Source("FrameType", 0x00089007, 0x00189751, text=True),
    _Source("FrameType", _IMAGE_TYPE, text=True),
    _Source("FrameReferenceTime", 0x00541300),
    _Source("ConvolutionKernel", 0x00181210, 0x00189314, text=True),
    _Source("ConvolutionKernel", 0x00181210, text=True),
    _Source("ReconstructionDiameter", 0x00181100),
    _Source("AcquisitionNumber", 0x00209156, 0x00209111),
    _Source("AcquisitionNumber", 0x00200012),
    _Source("TriggerTime", 0x00181060),
    _Source("AcquisitionDateTime", 0x00189074, 0x00209111, text=True),
    _Source("AcquisitionDateTime", 0x0008002A, text=True),
    _Source("AcquisitionDateTime", 0x00080032, text=True),
)
# Vectors with one value a frame (C.8.4.8)
_VECTORS = {"EnergyWindow": 0x00540010, "TimeSlot": 0x00540070}

_WANTED = frozenset(
    {
        *(_SHARED, _PER_FRAME, _POSITION, _ORIENTATION, _SPACING, _STEP, _OFFSETS, _SLICES, _DETECTORS, _FRAMES),
        *(_ROWS, _COLUMNS, _SERIES, _FRAME_OF_REFERENCE, _INSTANCE, _NUMBER, *_VECTORS.values()),
        *(_MODALITY_LUT, _INTERCEPT, _SLOPE, _DOSE_SCALING, _SOP_CLASS),
        *(source.tag for source in _MARKS if not source.group),
    }
)


class NoPlanes(PixelError):
    """Why an object has no place in a volume: a fact about it, and no fault of its own."""

    code = "no-planes"


def read_planes(buf: Buffer, transfer_syntax: str, start: int, source: int, limits: Limits) -> list[Plane]:
    """The planes of the object whose data set begins at `start` of `buf`, under the number `source`.

    NoPlanes with the reason if it has none that could be part of a volume; PixelError and the errors of a damaged data
    set if that cannot be told.
    """
    syntax = TRANSFER_SYNTAXES.get(transfer_syntax) or TransferSyntax(transfer_syntax, "", "", encapsulated=True)
    if syntax.deflated:
        buf, start = inflate(memoryview(buf)[start:], limits), 0
    found = scan(
        buf, little=syntax.little, explicit=syntax.explicit, start=start, wanted=_WANTED, stop=0x7FE00000,
        limits=limits, whole=False,
    )  # fmt: skip
    if "truncated" in found.flags:
        raise TruncatedError("the header is not all there", offset=found.end)
    header = Attributes(buf, found.elements, little=syntax.little, explicit=syntax.explicit, limits=limits)
    if _ROWS not in header or _COLUMNS not in header:
        if sop_class_name(header.text(_SOP_CLASS)).endswith("Image Storage"):
            raise PixelError("an image without Rows and Columns", tag_path="(0028,0010)")
        raise NoPlanes("it is no image")
    kinds = [value.strip(" ") for value in _text(header, _IMAGE_TYPE).split("\\")]
    if "LOCALIZER" in kinds[2:]:
        raise NoPlanes("a localizer")
    if "MOSAIC" in kinds[2:]:
        raise NoPlanes("a mosaic: many slices in one picture, whose position is that of none of them")
    frames = header.integer(_FRAMES, 1) or 1
    if frames > limits.frames:
        raise LimitExceeded(f"over {limits.frames} frames (limits.frames)")
    whole = _Whole(header, source)
    if header.count(_PER_FRAME) or header.count(_SHARED):
        return _of_groups(whole, frames)
    marks = _marks(lambda one: header if not one.group else None)
    if frames == 1:
        place = header if _POSITION in header else header.item(_DETECTORS) or header
        return [whole.plane(1, place, place, header, header, marks)]
    return _of_steps(whole, frames, marks)


class _Whole:
    """What all planes of an object have in common."""

    def __init__(self, header: Attributes, source: int) -> None:
        self.header = header
        self._source = source
        self._shape = header.integer(_ROWS), header.integer(_COLUMNS)
        self._series = header.text(_SERIES)
        self._frame_of_reference = header.text(_FRAME_OF_REFERENCE)
        self._instance = header.text(_INSTANCE)
        self._number = header.integer(_NUMBER, 0)

    def plane(
        self,
        frame: int,
        position: Attributes,
        orientation: Attributes,
        measures: Attributes,
        values: Attributes,
        marks: Mapping[str, Mark],
        segment: str = "",
    ) -> Plane:
        """One plane; NoPlanes for values that place nothing."""
        where, spacing = position.numbers(_POSITION), measures.numbers(_SPACING)
        directions = orientation.numbers(_ORIENTATION)
        if len(where) != 3 or len(directions) != 6:
            raise NoPlanes("it has no Image Position and Orientation (Patient)")
        if len(spacing) < 2:
            raise NoPlanes("it has no Pixel Spacing")
        if not all(map(math.isfinite, (*where, *directions, *spacing))) or not min(spacing[:2]) > 0:
            raise NoPlanes("its position, orientation or spacing is not finite, or the spacing not positive")
        if max(map(abs, (*where, *spacing))) > _FARTHEST or min(spacing[:2]) < _FINEST:
            raise NoPlanes("its position or spacing is no patient's")
        rows, columns = directions[:3], directions[3:]
        lengths = math.hypot(*rows), math.hypot(*columns)
        across = sum(r * c for r, c in zip(rows, columns, strict=True))
        if max(abs(lengths[0] - 1), abs(lengths[1] - 1), abs(across)) > _ORTHONORMAL:
            raise NoPlanes("its orientation is not of two unit vectors at a right angle")
        return Plane(
            source=self._source,
            frame=frame,
            position=(where[0], where[1], where[2]),
            orientation=directions,
            spacing=(spacing[0], spacing[1]),
            shape=self._shape,
            series=self._series,
            frame_of_reference=self._frame_of_reference,
            instance=self._instance,
            number=self._number,
            segment=segment,
            rescale=_rescale(values),
            marks=marks,
        )


def _rescale(values: Attributes) -> tuple[float, float] | None:
    if values.count(_MODALITY_LUT):
        return None
    if _DOSE_SCALING in values:
        return values.numbers(_DOSE_SCALING)[0], 0.0
    slope, intercept = values.numbers(_SLOPE), values.numbers(_INTERCEPT)
    return slope[0] if slope and slope[0] else 1.0, intercept[0] if intercept else 0.0


def _text(attributes: Attributes, tag: int) -> str:
    return attributes.raw(tag).decode("latin-1").strip(" \0") if tag in attributes else ""


def _marks(place: Callable[[_Source], Attributes | None]) -> dict[str, Mark]:
    """What distinguishes a frame; `place` gives the data set or item to look in."""
    marks: dict[str, Mark] = {}
    for one in _MARKS:
        if one.name in marks:
            continue
        attributes = place(one)
        if attributes is not None and one.inner:
            attributes = attributes.item(one.inner)
        if attributes is None or one.tag not in attributes:
            continue
        marks[one.name] = _text(attributes, one.tag) if one.text else attributes.numbers(one.tag)
    return marks


def _of_groups(whole: _Whole, frames: int) -> list[Plane]:
    header = whole.header
    shared = header.item(_SHARED)
    if not header.count(_PER_FRAME):
        raise NoPlanes("its frames have no positions of their own")
    if header.count(_PER_FRAME) != frames:
        raise NoPlanes(f"{header.count(_PER_FRAME)} items of per-frame functional groups for {frames} frames")
    common: dict[int, Attributes | None] = {}
    planes: list[Plane] = []
    for number in range(1, frames + 1):
        own = header.item(_PER_FRAME, number - 1)
        seen: dict[int, Attributes | None] = {}

        def group(tag: int, own: Attributes | None = own, seen: dict[int, Attributes | None] = seen) -> Attributes:
            """The functional group of this frame, else the shared one, else the data set."""
            if tag not in seen:
                seen[tag] = own.item(tag) if own is not None else None
            if seen[tag] is None and tag not in common:
                common[tag] = shared.item(tag) if shared is not None else None
            return seen[tag] or common.get(tag) or header

        marks = _marks(lambda one, group=group: group(one.group) if one.group else header)  # type: ignore[misc]
        segment = group(_SEGMENT_IDENTIFICATION)
        name = str(segment.integer(_SEGMENT)) if segment is not header and _SEGMENT in segment else ""
        planes.append(
            whole.plane(
                number,
                group(_PLANE_POSITION),
                group(_PLANE_ORIENTATION),
                group(_PIXEL_MEASURES),
                group(_TRANSFORMATION),
                marks,
                name,
            )
        )
    return planes


def _of_steps(whole: _Whole, frames: int, marks: Mapping[str, Mark]) -> list[Plane]:
    """Frames of which only the first has a position, and the others a distance from it."""
    header = whole.header
    offsets = header.numbers(_OFFSETS)
    place = header
    if _POSITION not in header:
        place = header.item(_DETECTORS) or header
    first = whole.plane(1, place, place, header, header, marks)
    direction = first.normal
    if offsets:
        if len(offsets) != frames:
            raise NoPlanes(f"{len(offsets)} Grid Frame Offsets for {frames} frames")
        if offsets[0]:
            # Not relative, but the planes' own z (C.8.8.3.2)
            if abs(offsets[0] - first.position[2]) > 1e-3 or abs(direction[2]) < 1 - _ORTHONORMAL:
                raise NoPlanes("Grid Frame Offset Vector is neither relative nor absolute")
            direction = (0.0, 0.0, 1.0)
            offsets = tuple(offset - offsets[0] for offset in offsets)
    else:
        # The sign of the step says to which side of the first slice the others are (C.8.4.15).
        step, slices = header.numbers(_STEP), header.integers(_SLICES)
        if len(step) != 1 or not math.isfinite(step[0]) or len(slices) != frames:
            raise NoPlanes("nothing says where its frames lie")
        offsets = tuple((number - 1) * step[0] for number in slices)
    vectors = {name: header.integers(tag) for name, tag in _VECTORS.items()}
    planes = []
    for number, offset in enumerate(offsets, 1):
        if not abs(offset) <= _FARTHEST:
            raise NoPlanes("a distance between its frames is no patient's")
        x, y, z = (p + offset * d for p, d in zip(first.position, direction, strict=True))
        more = {name: (float(values[number - 1]),) for name, values in vectors.items() if len(values) == frames}
        planes.append(replace(first, frame=number, position=(x, y, z), marks={**marks, **more}))
    return planes
