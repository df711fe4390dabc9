"""Some frames of a multi-frame object as a new object: the rules of PS3.4 section Y.3.3.

The new object has the old one's SOP class, patient, study and series, its own SOP Instance UID, and says in Frame
Extraction and Contributing Equipment Sequence where it comes from. Frames are copied as they are stored, in their
order. What belongs to frames goes with them: functional groups, vectors, times, pointers. Where that would not leave a
valid object (NM images, whose frames are all combinations of their vectors; dose grids without their first plane; tiles
placed by their number; video, which has no frames of its own) none is made.

Left out, as the new object does not need them or they would not be true of it: private attributes, everything about
concatenations, Pixel Data Provider URL, signatures, mask subtraction, trims, overlays of several frames, offset tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from io import BytesIO
from itertools import pairwise
from struct import Struct
from typing import Any

import numpy as np
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.valuerep import DA, DT, TM, DSfloat

from isocenter.errors import (
    FrameRetrieveError,
    FramesNotFound,
    LimitExceeded,
    NoFrameObject,
    NotTimeBased,
    PixelError,
)
from isocenter.model import FrameRange
from isocenter.pixels.codestream import read_codestream
from isocenter.pixels.encapsulate import encapsulated
from isocenter.pixels.image import Image
from isocenter.std.dictionary import vr_of
from isocenter.std.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from isocenter.std.transfer_syntaxes import TransferSyntax, transfer_syntax
from isocenter.wire.elements import Buffer
from isocenter.wire.limits import Limits
from isocenter.wire.scan import scan

_VIDEO = re.compile(r"1\.2\.840\.10008\.1\.2\.4\.10\d(\.1)?")  # MPEG-2, MPEG-4 and HEVC
_PART_2 = ("1.2.840.10008.1.2.4.92", "1.2.840.10008.1.2.4.93")

_NM = "1.2.840.10008.5.1.4.1.1.20"
_GROUP_7FE0 = 0x7FE00000
_LONG = Struct("<HH2sHI")
_PLAIN = Struct("<HHI")

# Attributes with one value for each frame, where they have as many values as there are frames: those that Frame
# Increment Pointer (C.7.6.6.1.1) may name, and increments of positioner and table (C.8.7.5, C.8.7.4).
_VECTORS = (
    "PageNumberVector", "FrameLabelVector", "FramePrimaryAngleVector", "FrameSecondaryAngleVector",
    "SliceLocationVector", "DisplayWindowLabelVector", "GridFrameOffsetVector", "PositionerPrimaryAngleIncrement",
    "PositionerSecondaryAngleIncrement", "TableVerticalIncrement", "TableLateralIncrement",
    "TableLongitudinalIncrement",
)  # fmt: skip
_LEFT_OUT = (
    "ConcatenationUID", "SOPInstanceUIDOfConcatenationSource", "InConcatenationNumber", "InConcatenationTotalNumber",
    "ConcatenationFrameOffsetNumber", "PixelDataProviderURL", "MACParametersSequence", "MaskSubtractionSequence",
    "RecommendedViewingMode", "StartTrim", "StopTrim", "EffectiveDuration", "RWaveTimeVector",
)  # fmt: skip
# Numbers of frames, with what is said of each
_POINTERS = (
    ("RepresentativeFrameNumber",),
    ("RWavePointer",),
    ("FrameNumbersOfInterest", "FrameOfInterestDescription", "FrameOfInterestType"),
)


@dataclass(frozen=True, slots=True)
class New:
    """What the new object is told: its SOP Instance UID, and when it is made."""

    sop_instance: str
    at: datetime


def extracted(
    buf: Buffer, start: int, syntax_uid: str, wanted: FrameRange, new: New, limits: Limits
) -> Iterator[bytes]:
    """The new data set, in the transfer syntax of the one that begins at `start` of `buf`, in pieces; blocking.

    For little endian transfer syntaxes that are not deflated. Raises FrameRetrieveErrors before the first piece, but
    for a later frame that is not all there.
    """
    syntax = transfer_syntax(syntax_uid)
    if not syntax.little or syntax.deflated or syntax.big_endian_pixels:
        raise FrameRetrieveError(f"frames are not taken out of {syntax.name}")
    if _VIDEO.fullmatch(syntax_uid):
        raise FrameRetrieveError("the frames of a video cannot be had apart")
    try:
        image = Image.of(buf, syntax_uid, start, limits)
        found = scan(
            buf, little=True, explicit=syntax.explicit, start=start, wanted=frozenset(), stop=_GROUP_7FE0,
            limits=limits, whole=False,
        )  # fmt: skip
    except PixelError as error:
        raise NoFrameObject(str(error)) from None
    if found.end - start > limits.header_bytes:
        raise LimitExceeded(f"the header has over {limits.header_bytes} bytes (limits.header_bytes)")
    if image.number_of_frames > limits.frames:
        raise LimitExceeded(f"over {limits.frames} frames (limits.frames)")
    if syntax_uid in _PART_2 and not _apart(image):
        raise FrameRetrieveError("frames that are components of one codestream cannot be had apart")
    try:
        header = read_dataset(
            BytesIO(bytes(buf[start : found.end])), is_implicit_VR=not syntax.explicit, is_little_endian=True
        )
        frames = _chosen(header, image.number_of_frames, wanted)
        edited = _edited(header, image.number_of_frames, frames, wanted, new)
        output = DicomBytesIO()
        output.is_little_endian, output.is_implicit_VR = True, not syntax.explicit
        write_dataset(output, edited)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, NotImplementedError, OverflowError) as error:
        raise NoFrameObject(f"the header cannot be rewritten ({type(error).__name__})") from None
    yield output.getvalue()
    try:
        yield from _fragments(image, frames) if image.encapsulated else _native(image, frames, syntax)
    except PixelError as error:
        raise FrameRetrieveError(str(error)) from None


# --- which frames ---------------------------------------------------------------------------------------------------


def _chosen(header: Dataset, count: int, wanted: FrameRange) -> list[int]:
    if "NumberOfFrames" not in header:
        raise NoFrameObject("the object has no frames, but is one image")
    if wanted.time is None:
        frames = wanted.numbers(count)
    else:
        times = _times(header, count)
        if times is None:
            raise NotTimeBased("the object does not say when its frames are")
        low, high = wanted.time
        frames = [number for number, time in enumerate(times, 1) if low <= time <= high]
    if not frames:
        raise FramesNotFound("none of the frames asked for are there")
    return frames


def _times(header: Dataset, count: int) -> list[float] | None:
    """Seconds after Content Time of each frame, by one of the attributes of section Y.3.2.1.3; None without any."""
    groups = header.get("PerFrameFunctionalGroupsSequence") or []
    contents = [(group.get("FrameContentSequence") or [Dataset()])[0] for group in groups]
    moments = [content.get("FrameReferenceDateTime") for content in contents]
    if len(moments) == count and all(moments) and "ContentDate" in header and "ContentTime" in header:
        begin = datetime.combine(DA(header.ContentDate), TM(header.ContentTime))
        return [_seconds(DT(moment), begin) for moment in moments]
    delay = float(header.get("FrameDelay") or 0) / 1000
    vector = header.get("FrameTimeVector")
    steps = [float(step) / 1000 for step in _values(vector)]
    if len(steps) == count:
        times, now = [], delay
        for step in steps:
            now += step
            times.append(now)
        return times
    step = float(header.get("FrameTime") or 0) / 1000
    return [delay + number * step for number in range(count)] if step > 0 else None


def _seconds(moment: Any, begin: datetime) -> float:
    return float((moment.replace(tzinfo=None) - begin) / timedelta(seconds=1))


def _values(value: Any) -> Sequence[Any]:
    if value is None or value == "":
        return ()
    return value if isinstance(value, Sequence) and not isinstance(value, str) else (value,)


# --- the header -----------------------------------------------------------------------------------------------------


def _edited(header: Dataset, count: int, frames: list[int], wanted: FrameRange, new: New) -> Dataset:
    _check_possible(header, frames)
    source = header.SOPInstanceUID
    _remove_private(header)
    for keyword in _LEFT_OUT:
        if keyword in header:
            del header[keyword]
    tags = list(header.keys())  # iteration would give elements, and decode them
    overlays = {tag.group for tag in tags if tag.group & 0xFF01 == 0x6000 and tag.element == 0x0015}
    for tag in tags:
        if tag.group in overlays:
            del header[tag]
    if "PerFrameFunctionalGroupsSequence" in header:
        groups = header.PerFrameFunctionalGroupsSequence
        if len(groups) != count:
            raise NoFrameObject(f"{len(groups)} items of per-frame functional groups for {count} frames")
        header.PerFrameFunctionalGroupsSequence = [groups[number - 1] for number in frames]
    if "DimensionOrganizationType" in header or "TotalPixelMatrixColumns" in header:
        # Neither a regular volume any more nor all the tiles (C.7.6.17.3)
        header.pop("DimensionOrganizationType", None)
        if "TotalPixelMatrixColumns" in header:
            header.DimensionOrganizationType = "TILED_SPARSE"
    _retime(header, count, frames)
    for keyword in _VECTORS:
        values = _values(header.get(keyword))
        if len(values) == count > 1:
            setattr(header, keyword, [values[number - 1] for number in frames])
    for first, *others in _POINTERS:
        _repoint(header, first, others, frames)
    header.NumberOfFrames = len(frames)
    header.SOPInstanceUID = new.sop_instance
    header.InstanceCreatorUID = IMPLEMENTATION_CLASS_UID
    header.InstanceCreationDate, header.InstanceCreationTime = new.at.strftime("%Y%m%d"), new.at.strftime("%H%M%S")
    _append(header, "FrameExtractionSequence", _extraction(source, wanted))
    _append(header, "ContributingEquipmentSequence", _equipment(new))
    return header


def _check_possible(header: Dataset, frames: list[int]) -> None:
    organization = header.get("DimensionOrganizationType")
    if header.SOPClassUID == _NM:
        raise NoFrameObject("the frames of an NM image are all combinations of its vectors")
    tiled = "TotalPixelMatrixColumns" in header
    if tiled and not ("PerFrameFunctionalGroupsSequence" in header and organization != "TILED_FULL"):
        raise NoFrameObject("the tiles are placed by their number")
    if "GridFrameOffsetVector" in header and frames[0] != 1:
        raise NoFrameObject("the planes are placed by the first one")


def _remove_private(header: Dataset) -> None:
    """Those of all levels; only sequences are looked into, so that no other value is decoded."""
    waiting = [header]
    while waiting:
        one = waiting.pop()
        tags = list(one.keys())
        for tag in tags:
            if tag.is_private:
                del one[tag]
            elif (one.get_item(tag).VR or vr_of(tag)) == "SQ":
                waiting.extend(one[tag].value)


def _retime(header: Dataset, count: int, frames: list[int]) -> None:
    """Frame Time, or its vector, and Frame Delay (C.7.6.5) for what is left."""
    steps = [float(step) for step in _values(header.get("FrameTimeVector"))]
    if len(steps) != count:
        one = float(header.get("FrameTime") or 0)
        if not one:
            return
        steps = [0.0, *([one] * (count - 1))]
    moments = np.cumsum(steps)
    kept = [float(moments[number - 1]) for number in frames]
    if kept[0]:
        header.FrameDelay = _decimal(float(header.get("FrameDelay") or 0) + kept[0])
    between = [after - before for before, after in pairwise(kept)]
    if "FrameTimeVector" in header:
        header.FrameTimeVector = [_decimal(0.0), *map(_decimal, between)]
    elif len({after - before for before, after in pairwise(frames)}) > 1:
        # No longer one time between all frames (C.7.6.5.1.1, C.7.6.5.1.2)
        del header.FrameTime
        header.FrameTimeVector = [_decimal(0.0), *map(_decimal, between)]
        header.FrameIncrementPointer = 0x00181065
    elif between:
        header.FrameTime = _decimal(between[0])


def _decimal(number: float) -> DSfloat:
    return DSfloat(round(number, 6), auto_format=True)


def _repoint(header: Dataset, keyword: str, others: Sequence[str], frames: list[int]) -> None:
    """Numbers of frames as they are now; what points at none that is left goes, with what is said of it."""
    if keyword not in header:
        return
    values = [int(value) for value in _values(header[keyword].value)]
    places = {number: place for place, number in enumerate(frames, 1)}
    kept = [at for at, value in enumerate(values) if value in places]
    for name in (keyword, *others):
        if name not in header:
            continue
        given = _values(header[name].value)
        if not kept or len(given) != len(values):
            del header[name]
        elif name == keyword:
            setattr(header, name, [places[values[at]] for at in kept])
        else:
            setattr(header, name, [given[at] for at in kept])


def _extraction(source: str, wanted: FrameRange) -> Dataset:
    """An item of the Frame Extraction Module (PS3.3 C.12.3)."""
    item = Dataset()
    item.MultiFrameSourceSOPInstanceUID = source
    if wanted.time is not None:
        item.TimeRange = list(wanted.time)
    elif wanted.calculated:
        item.CalculatedFrameList = [number for one in wanted.calculated for number in one]
    else:
        item.SimpleFrameList = list(wanted.simple)
    return item


def _equipment(new: New) -> Dataset:
    """Who took the frames out (PS3.3 C.12.1.1.5, PS3.16 CID 7005)."""
    purpose = Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator = "109105", "DCM"
    purpose.CodeMeaning = "Frame Extracting Equipment"
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [purpose]
    item.Manufacturer = "Isocenter"
    item.SoftwareVersions = IMPLEMENTATION_VERSION_NAME
    item.ContributionDateTime = new.at.strftime("%Y%m%d%H%M%S")
    return item


def _append(header: Dataset, keyword: str, item: Dataset) -> None:
    header[keyword] = DataElement(keyword, "SQ", [*(header.get(keyword) or []), item])


# --- the pixels -----------------------------------------------------------------------------------------------------


def _native(image: Image, frames: list[int], syntax: TransferSyntax) -> Iterator[bytes]:
    layout = image.layout
    tag = (0x7FE00009 if layout.bits_allocated == 64 else 0x7FE00008) if layout.floating else 0x7FE00010
    vr = b"OD" if tag == 0x7FE00009 else b"OF" if tag == 0x7FE00008 else b"OW" if layout.words else b"OB"
    if layout.bits_allocated == 1 and layout.native_bits % 8:
        bits = [_bits(image.frame_bytes(number), layout.native_bits) for number in frames]
        pieces: Iterator[bytes] = iter([np.packbits(np.concatenate(bits), bitorder="little").tobytes()])
    else:
        pieces = (image.frame_bytes(number) for number in frames)
    length = -(-layout.native_bits * len(frames) // 8)
    if syntax.explicit:
        yield _LONG.pack(tag >> 16, tag & 0xFFFF, vr, 0, length + length % 2)
    else:
        yield _PLAIN.pack(tag >> 16, tag & 0xFFFF, length + length % 2)
    yield from pieces
    if length % 2:
        yield b"\0"


def _bits(frame: bytes, count: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.unpackbits(np.frombuffer(frame, np.uint8), bitorder="little")[:count]


def _apart(image: Image) -> bool:
    """Whether frames have codestreams of their own: in JPEG 2000 Part 2 several may have one (PS3.5 section A.4.4)."""
    try:
        return read_codestream(image.frame_bytes(1)).samples == image.layout.samples
    except PixelError:
        return False


def _fragments(image: Image, frames: list[int]) -> Iterator[bytes]:
    sizes = [len(image.frame_bytes(number)) for number in frames]
    return encapsulated(sizes, ((image.frame_bytes(number),) for number in frames))
