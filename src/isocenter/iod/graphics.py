"""Graphics, texts, their layers and shutters for presentation states (PS3.3 C.10.5, C.10.7, C.7.6.11)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset

from isocenter.errors import UsageError
from isocenter.iod import text

Lab = tuple[int, int, int]
Point = tuple[float, float]

_POINTS = {"POINT": 1, "CIRCLE": 2, "ELLIPSE": 4, "POLYLINE": None, "INTERPOLATED": None}
_MOST_POINTS = 65534 // 8  # the length of an FL value has 16 bits


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


def write_graphics(ds: Dataset, graphics: Sequence[Graphic | Label]) -> list[str]:
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


def write_layers(ds: Dataset, layers: Sequence[Layer], used: Sequence[str]) -> None:
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


def write_shutter(ds: Dataset, shutter: ShutterShape, coloured: bool) -> None:
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
