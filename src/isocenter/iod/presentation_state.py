"""Softcopy presentation states from Python (PS3.3 A.33): how some images are to be seen, as an object of their study.

Monochrome images get a Grayscale state, or with `palette` a Pseudo-Color one, colour images a Color one, and with
`blend` a Blending state lays other images over them. What no argument says is taken from the images, so that a state
without arguments shows them as they are: their Modality LUT, first VOI LUT, polarity and overlays. A state must say all
of it, because whoever applies it leaves out what it does not say (PS3.4 N.2).

`pixels/state.py` reads what is written here.
"""

from __future__ import annotations

import copy
import datetime
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
from pydicom.dataset import Dataset

from isocenter.errors import UsageError
from isocenter.iod import text
from isocenter.iod.decimal_string import ds_values
from isocenter.iod.series import finish
from isocenter.iod.subject import Subject, joined_study
from isocenter.iod.uids import UUID_ROOT, UIDs

Lab = tuple[int, int, int]
Point = tuple[float, float]

_POINTS = {"POINT": 1, "CIRCLE": 2, "ELLIPSE": 4, "POLYLINE": None, "INTERPOLATED": None}
_MOST_POINTS = 65534 // 8  # the length of an FL value has 16 bits
_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
_NOBODY = Subject(None, None, None, None, None, None, None, None, None, None)


@dataclass(frozen=True, slots=True)
class Graphic:
    """A shape (C.10.5.1.2): POINT, POLYLINE, INTERPOLATED, CIRCLE (centre, point on it) or ELLIPSE (ends of axes).

    `points` are (column, row), 0.0 at the outer edge of the first pixel; with `units` DISPLAY fractions of the
    displayed area.
    """

    kind: str
    points: Sequence[Point]
    filled: bool = False
    units: str = "PIXEL"
    layer: str = "GRAPHICS"


@dataclass(frozen=True, slots=True)
class Label:
    """A text, in a `box` of two corners or beside an `anchor`, or both (C.10.5.1.1); lines are separated by CR LF."""

    text: str
    box: tuple[Point, Point] | None = None
    anchor: Point | None = None
    justification: str = "LEFT"
    units: str = "PIXEL"
    layer: str = "GRAPHICS"


@dataclass(frozen=True, slots=True)
class Layer:
    """A graphic layer's grey (0 to 65,535) and colour (CIELab, 16 bits each); layers lie over those before them."""

    name: str
    grey: int = 0xFFFF
    lab: Lab | None = None


@dataclass(frozen=True, slots=True)
class ShutterShape:
    """A display shutter (C.7.6.11): any of rectangle (left, right, upper, lower edge), circle (row, column, radius) and
    polygon (row, column), in pixels from 1; what is outside gets `grey`, 0 to 65,535, or the colour `lab`."""

    rectangle: tuple[int, int, int, int] | None = None
    circle: tuple[int, int, int] | None = None
    polygon: Sequence[tuple[int, int]] | None = None
    grey: int = 0
    lab: Lab | None = None


def presentation_state(
    images: Dataset | Sequence[Dataset],
    *,
    label: str = "PRESENTATION",
    description: str = "",
    creator: str = "",
    window: tuple[float, float] | None = None,
    function: str = "LINEAR",
    invert: bool = False,
    rotation: int = 0,
    flip: bool = False,
    area: tuple[tuple[int, int], tuple[int, int]] | None = None,
    magnification: float | None = None,
    graphics: Sequence[Graphic | Label] = (),
    layers: Sequence[Layer] = (),
    shutter: ShutterShape | None = None,
    overlays: bool = True,
    palette: Any = None,
    blend: Dataset | Sequence[Dataset] | None = None,
    opacity: float = 0.5,
    icc_profile: bytes | None = None,
    series_number: int = 1,
    uid_root: str = UUID_ROOT,
    uid_seed: str | None = None,
) -> Dataset:
    """A presentation state for `images` of one study, ready for `save_as(path, enforce_file_format=True)`.

    window: (center, width) in Modality LUT units, with `function`, in place of the images' own. invert: turned greys.
    rotation: clockwise, 0, 90, 180 or 270, then `flip` from left to right. area: (column, row) of the top left and
    bottom right pixel to be shown, from 1. magnification: display pixels an image pixel. layers: those of `graphics`
    that are not to be white, and their order. palette: (entries, 3) uint8 RGB over the range of greys. blend: images to
    be laid over `images` in `palette` with `opacity` 0 to 1. icc_profile: of colours; sRGB if not given.
    Raises UsageError, naming the argument.
    """
    below, over = _several(images, "images"), _several(blend, "blend") if blend is not None else []
    grey = {str(image.get("PhotometricInterpretation", "")).startswith("MONOCHROME") for image in below + over}
    if len(grey) != 1:
        raise UsageError("images: all grey, or all in colour")
    coloured = not grey.pop()
    if coloured and (window or palette is not None or invert or blend is not None):
        raise UsageError("images: colours have no window, palette, blending or turned greys")
    if over and palette is None:
        raise UsageError("palette: needed for what `blend` lays over")
    if rotation not in (0, 90, 180, 270):
        raise UsageError("rotation: 0, 90, 180 or 270 is needed")
    uids = UIDs(uid_root, uid_seed)
    ds = _head(below[0], label, description, creator, series_number, uids)
    _write_area(ds, below, area, magnification)
    if rotation or flip:
        ds.ImageRotation, ds.ImageHorizontalFlip = rotation, "Y" if flip else "N"
    used = _write_graphics(ds, graphics)
    if over:
        _write_blending(ds, below, over, window, function, opacity)
    else:
        ds.ReferencedSeriesSequence = _by_series(below)
        if shutter is not None:
            _write_shutter(ds, shutter, coloured or palette is not None)
        if overlays:
            used += _activate_overlays(ds, below)
        if not coloured:
            _write_modality(ds, below)
            _write_voi(ds, below, window, function)
    _write_layers(ds, layers, used)
    if palette is not None:
        _write_palette(ds, palette)
    elif not coloured:
        turned = below[0].PhotometricInterpretation == "MONOCHROME1" or _shape(below[0]) == "INVERSE"
        ds.PresentationLUTShape = "INVERSE" if turned != invert else "IDENTITY"
    if coloured or palette is not None:
        profile = icc_profile or below[0].get("ICCProfile") or bytes(imagecodecs.cms_profile("srgb"))
        ds.ICCProfile = profile + b"\0" * (len(profile) % 2)
    kind = "blending" if over else "color" if coloured else "pseudo-color" if palette is not None else "grayscale"
    return finish(ds, f"{kind}-softcopy-presentation-state")


def _several(images: Dataset | Sequence[Dataset], argument: str) -> list[Dataset]:
    found = [images] if isinstance(images, Dataset) else list(images)
    if not found or len({str(image.get("StudyInstanceUID")) for image in found}) != 1:
        raise UsageError(f"{argument}: one image or more of one study are needed")
    for keyword in ("SOPInstanceUID", "SOPClassUID", "SeriesInstanceUID", "Rows", "Columns"):
        if any(keyword not in image for image in found):
            raise UsageError(f"{argument}: an image without {keyword}")
    return found


def _head(image: Dataset, label: str, description: str, creator: str, number: int, uids: UIDs) -> Dataset:
    """Patient, study, series, equipment and Presentation State Identification (C.11.10)."""
    now = datetime.datetime.now().astimezone()
    ds = joined_study(_NOBODY, image)
    ds.Modality = "PR"
    ds.SeriesInstanceUID, ds.SOPInstanceUID = uids.new("series"), uids.new("instance")
    ds.SeriesNumber, ds.InstanceNumber = number, 1
    ds.Manufacturer = "Isocenter"
    ds.ContentLabel = text.checked("label", label, "CS")
    ds.ContentDescription = text.checked("description", description, "LO")
    ds.ContentCreatorName = text.checked("creator", creator, "PN")
    ds.PresentationCreationDate, ds.PresentationCreationTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    return ds


# --- what is referred to --------------------------------------------------------------------------------------------


def _reference(image: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    return item


def _by_series(images: Iterable[Dataset]) -> list[Dataset]:
    """Items of Referenced Series Sequence (C.11.11)."""
    found: dict[str, Dataset] = {}
    for image in images:
        series = str(image.SeriesInstanceUID)
        if series not in found:
            found[series] = Dataset()
            found[series].SeriesInstanceUID = series
            found[series].ReferencedImageSequence = []
        found[series].ReferencedImageSequence.append(_reference(image))
    return list(found.values())


def _grouped(images: Sequence[Dataset], items: Sequence[Dataset]) -> list[Dataset]:
    """Items, one an image, without repeats; where they differ each names its images."""
    found: dict[str, tuple[Dataset, list[Dataset]]] = {}
    for image, item in zip(images, items, strict=True):
        found.setdefault(item.to_json(), (item, []))[1].append(_reference(image))
    if len(found) > 1:
        for item, references in found.values():
            item.ReferencedImageSequence = references
    return [item for item, _ in found.values()]


# --- greys ----------------------------------------------------------------------------------------------------------


def _group(image: Dataset, sequence: str) -> Dataset:
    """Where a transform of an image stands: its shared functional group, that of its first frame, or the top level."""
    for parent in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        groups = image.get(parent)
        if groups and groups[0].get(sequence):
            item: Dataset = groups[0][sequence].value[0]
            return item
    return image


def _write_modality(ds: Dataset, images: Sequence[Dataset]) -> None:
    """The Modality LUT of all images (C.11.1)."""
    found = {}
    for image in images:
        source, item = _group(image, "PixelValueTransformationSequence"), Dataset()
        if source.get("ModalityLUTSequence"):
            item.ModalityLUTSequence = copy.deepcopy(source.ModalityLUTSequence)
        elif source.get("RescaleSlope") is not None:
            item.RescaleIntercept, item.RescaleSlope = source.get("RescaleIntercept", 0), source.RescaleSlope
            item.RescaleType = source.get("RescaleType") or "US"
        found[item.to_json()] = item
    if len(found) > 1:
        raise UsageError("images: have different Modality LUTs, which one state cannot hold; make one for each")
    ds.update(next(iter(found.values())))


def _write_voi(ds: Dataset, images: Sequence[Dataset], window: tuple[float, float] | None, function: str) -> None:
    """The Softcopy VOI LUT (C.11.8), if there is any."""
    items = [_voi(image, window, function) for image in images]
    if all(len(item) for item in items):
        ds.SoftcopyVOILUTSequence = _grouped(images, items)
    elif any(len(item) for item in items):
        raise UsageError("window: some of the images have none of their own, so one has to be given")


def _voi(image: Dataset, window: tuple[float, float] | None, function: str) -> Dataset:
    item, source = Dataset(), _group(image, "FrameVOILUTSequence")
    if window is None and source.get("VOILUTSequence"):
        item.VOILUTSequence = [copy.deepcopy(source.VOILUTSequence[0])]
        return item
    if window is None:
        centers, widths = _numbers(source, "WindowCenter"), _numbers(source, "WindowWidth")
        if not centers or not widths:
            return item
        window, function = (centers[0], widths[0]), str(source.get("VOILUTFunction") or "LINEAR")
    if function not in _FUNCTIONS:
        raise UsageError(f"function: one of {', '.join(_FUNCTIONS)} is needed")
    if not all(math.isfinite(number) for number in window) or window[1] < (1 if function == "LINEAR" else 1e-9):
        raise UsageError("window: the width has to be positive, and at least 1 for LINEAR (C.11.2.1.2)")
    item.WindowCenter, item.WindowWidth = ds_values(window)
    if function != "LINEAR":
        item.VOILUTFunction = function
    return item


def _numbers(ds: Dataset, keyword: str) -> list[float]:
    value = ds.get(keyword)
    if value is None or value == "":
        return []
    return [float(one) for one in (value if isinstance(value, Iterable) else [value])]


def _shape(image: Dataset) -> str:
    return str(image.get("PresentationLUTShape", ""))


def _write_palette(ds: Dataset, palette: Any) -> None:
    """The palette (C.7.9) as 16-bit entries."""
    entries = np.asarray(palette)
    if entries.ndim != 2 or entries.shape[1] != 3 or entries.dtype != np.uint8 or not 2 <= len(entries) <= 65536:
        raise UsageError("palette: uint8 of shape (entries, 3) is needed, with 2 to 65,536 entries")
    for channel, name in enumerate(("Red", "Green", "Blue")):
        setattr(ds, f"{name}PaletteColorLookupTableDescriptor", [len(entries) & 0xFFFF, 0, 16])
        words = entries[:, channel].astype("<u2") * 257
        setattr(ds, f"{name}PaletteColorLookupTableData", words.tobytes())


def _write_blending(
    ds: Dataset,
    below: Sequence[Dataset],
    over: Sequence[Dataset],
    window: tuple[float, float] | None,
    function: str,
    opacity: float,
) -> None:
    """Presentation State Blending (C.11.14)."""
    if not 0 <= opacity <= 1:
        raise UsageError("opacity: 0 to 1 is needed")
    ds.BlendingSequence = []
    for position, images, given in (("UNDERLYING", below, window), ("SUPERIMPOSED", over, None)):
        item = Dataset()
        item.BlendingPosition = position
        item.StudyInstanceUID = images[0].StudyInstanceUID
        item.ReferencedSeriesSequence = _by_series(images)
        _write_modality(item, images)
        _write_voi(item, images, given, function)
        ds.BlendingSequence.append(item)
    ds.RelativeOpacity = float(opacity)


# --- space ----------------------------------------------------------------------------------------------------------


def _write_area(
    ds: Dataset,
    images: Sequence[Dataset],
    area: tuple[tuple[int, int], tuple[int, int]] | None,
    magnification: float | None,
) -> None:
    """Displayed Area Selection (C.10.4)."""
    items = []
    for image in images:
        item = Dataset()
        corners = area or ((1, 1), (int(image.Columns), int(image.Rows)))
        if corners[0][0] > corners[1][0] or corners[0][1] > corners[1][1]:
            raise UsageError("area: the top left pixel comes before the bottom right one")
        item.DisplayedAreaTopLeftHandCorner, item.DisplayedAreaBottomRightHandCorner = map(list, corners)
        item.PresentationSizeMode = "SCALE TO FIT" if magnification is None else "MAGNIFY"
        measures = _group(image, "PixelMeasuresSequence")
        spacing = _numbers(measures, "PixelSpacing") or _numbers(image, "ImagerPixelSpacing")
        if len(spacing) == 2 and min(spacing) > 0:
            item.PresentationPixelSpacing = ds_values(spacing)
        else:
            ratio = _numbers(image, "PixelAspectRatio")
            item.PresentationPixelAspectRatio = [int(one) for one in ratio] if len(ratio) == 2 else [1, 1]
        if magnification is not None:
            if not (math.isfinite(magnification) and magnification > 0):
                raise UsageError("magnification: a positive number is needed")
            item.PresentationPixelMagnificationRatio = float(magnification)
        items.append(item)
    ds.DisplayedAreaSelectionSequence = _grouped(images, items)


def _write_shutter(ds: Dataset, shutter: ShutterShape, coloured: bool) -> None:
    """The Display Shutter (C.7.6.11) and its presentation value (C.11.12)."""
    shapes = []
    if shutter.rectangle is not None:
        shapes.append("RECTANGULAR")
        left, right, upper, lower = shutter.rectangle
        ds.ShutterLeftVerticalEdge, ds.ShutterRightVerticalEdge = left, right
        ds.ShutterUpperHorizontalEdge, ds.ShutterLowerHorizontalEdge = upper, lower
    if shutter.circle is not None:
        shapes.append("CIRCULAR")
        ds.CenterOfCircularShutter, ds.RadiusOfCircularShutter = list(shutter.circle[:2]), shutter.circle[2]
    if shutter.polygon is not None:
        shapes.append("POLYGONAL")
        if len(shutter.polygon) < 3:
            raise UsageError("shutter: a polygon has three vertices or more")
        ds.VerticesOfThePolygonalShutter = [number for vertex in shutter.polygon for number in vertex]
    if not shapes:
        raise UsageError("shutter: has no shape")
    ds.ShutterShape = shapes
    ds.ShutterPresentationValue = _grey("shutter", shutter.grey)
    if coloured or shutter.lab is not None:
        ds.ShutterPresentationColorCIELabValue = list(shutter.lab or _neutral(shutter.grey))


def _neutral(grey: int) -> Lab:
    """The CIELab value of a grey: what sRGB shows for it (IEC 61966-2-1), in the encoding of C.10.7.1.1."""
    value = grey / 0xFFFF
    linear = value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
    lightness = 116 * linear ** (1 / 3) - 16 if linear > (6 / 29) ** 3 else linear * (29 / 3) ** 3
    return round(lightness / 100 * 0xFFFF), 0x8080, 0x8080


def _grey(argument: str, value: int) -> int:
    if not 0 <= value <= 0xFFFF:
        raise UsageError(f"{argument}: a grey is 0 to 65,535")
    return value


def _activate_overlays(ds: Dataset, images: Sequence[Dataset]) -> list[str]:
    """Overlay Activation (C.11.7) for every overlay of the images; the layers this needs."""
    groups = {group for image in images for group in range(0x6000, 0x6020, 2) if (group, 0x0010) in image}
    for group in sorted(groups):
        ds.add_new((group, 0x1001), "CS", "OVERLAYS")
    return ["OVERLAYS"] if groups else []


# --- graphics -------------------------------------------------------------------------------------------------------


def _write_graphics(ds: Dataset, graphics: Sequence[Graphic | Label]) -> list[str]:
    """Graphic Annotation (C.10.5), one item a layer; the layers' names."""
    items: dict[str, Dataset] = {}
    for one in graphics:
        layer = text.checked("graphics", one.layer, "CS")
        if one.units not in ("PIXEL", "DISPLAY"):
            raise UsageError("graphics: units are PIXEL or DISPLAY")
        item = items.setdefault(layer, Dataset())
        item.GraphicLayer = layer
        if isinstance(one, Graphic):
            _append(item, "GraphicObjectSequence", _graphic(one))
        else:
            _append(item, "TextObjectSequence", _label(one))
    if items:
        ds.GraphicAnnotationSequence = list(items.values())
    return list(items)


def _append(ds: Dataset, keyword: str, item: Dataset) -> None:
    if keyword not in ds:
        setattr(ds, keyword, [])
    ds[keyword].value.append(item)


def _graphic(graphic: Graphic) -> Dataset:
    if graphic.kind not in _POINTS:
        raise UsageError(f"graphics: a kind is one of {', '.join(_POINTS)}")
    points = [(float(x), float(y)) for x, y in graphic.points]
    needed = _POINTS[graphic.kind]
    if len(points) != needed and (needed is not None or len(points) < 2):
        raise UsageError(f"graphics: a {graphic.kind} has {needed or 'two or more'} points")
    if len(points) > _MOST_POINTS:
        raise UsageError(f"graphics: {len(points)} points are more than one value can hold, {_MOST_POINTS}")
    if not all(math.isfinite(number) for point in points for number in point):
        raise UsageError("graphics: points are finite")
    item = Dataset()
    item.GraphicAnnotationUnits, item.GraphicDimensions, item.NumberOfGraphicPoints = graphic.units, 2, len(points)
    item.GraphicData = [number for point in points for number in point]
    item.GraphicType = graphic.kind
    if graphic.kind in ("CIRCLE", "ELLIPSE") or (needed is None and points[0] == points[-1]):
        item.GraphicFilled = "Y" if graphic.filled else "N"
    elif graphic.filled:
        raise UsageError("graphics: only a closed shape can be filled; let its last point be its first")
    return item


def _label(label: Label) -> Dataset:
    if label.box is None and label.anchor is None:
        raise UsageError("graphics: a label needs a box or an anchor")
    item = Dataset()
    item.UnformattedTextValue = text.checked("graphics", label.text, "ST")
    if label.box is not None:
        if label.justification not in ("LEFT", "CENTER", "RIGHT"):
            raise UsageError("graphics: a justification is LEFT, CENTER or RIGHT")
        item.BoundingBoxAnnotationUnits = label.units
        item.BoundingBoxTopLeftHandCorner, item.BoundingBoxBottomRightHandCorner = (
            [float(number) for number in corner] for corner in label.box
        )
        item.BoundingBoxTextHorizontalJustification = label.justification
    if label.anchor is not None:
        item.AnchorPointAnnotationUnits = label.units
        item.AnchorPoint = [float(number) for number in label.anchor]
        item.AnchorPointVisibility = "Y" if label.box is not None else "N"
    return item


def _write_layers(ds: Dataset, layers: Sequence[Layer], used: Sequence[str]) -> None:
    """Graphic Layers (C.10.7): the given ones, and white for every other that is used."""
    given = {text.checked("layers", layer.name, "CS"): layer for layer in layers}
    ordered = [*(Layer(name) for name in dict.fromkeys(used) if name not in given), *given.values()]
    if not ordered:
        return
    ds.GraphicLayerSequence = []
    for order, layer in enumerate(ordered, 1):
        item = Dataset()
        item.GraphicLayer, item.GraphicLayerOrder = layer.name, order
        item.GraphicLayerRecommendedDisplayGrayscaleValue = _grey("layers", layer.grey)
        if layer.lab is not None:
            item.GraphicLayerRecommendedDisplayCIELabValue = list(layer.lab)
        ds.GraphicLayerSequence.append(item)
