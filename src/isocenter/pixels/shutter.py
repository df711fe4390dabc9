"""Display shutters (PS3.3 C.7.6.11, C.7.6.15): what of an image is hidden, and all that lies over its pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isocenter.errors import PixelError
from isocenter.pixels.colour import Ink
from isocenter.pixels.header import Attributes
from isocenter.pixels.image import Image
from isocenter.pixels.overlay import Mask, Overlay, outline

_SHAPE, _LEFT, _RIGHT, _UPPER, _LOWER = 0x00181600, 0x00181602, 0x00181604, 0x00181606, 0x00181608
_CENTER, _RADIUS, _VERTICES = 0x00181610, 0x00181612, 0x00181620
_VALUE, _OVERLAY_GROUP, _COLOUR = 0x00181622, 0x00181623, 0x00181624


@dataclass(frozen=True, slots=True)
class Shutter:
    """`p_value` (0 to 65,535) or `lab` (CIELab, as three 16-bit values) fill what is hidden; neither is black.

    `overlay_group` names the overlay whose bits hide (BITMAP), else 0. The other shapes hide what is outside of any.
    """

    shapes: tuple[str, ...]
    p_value: int
    lab: tuple[int, int, int] | None
    overlay_group: int
    _attributes: Attributes

    def hidden(self, rows: int, columns: int, aspect: float = 1.0) -> Mask:
        """Which pixels of an image lie outside of the shapes; `aspect` is a pixel's height over its width.

        Edges, and what lies on them, are inside.
        """
        shown = np.ones((rows, columns), np.bool_)
        for shape in self.shapes:
            if shape == "RECTANGULAR":
                shown &= self._rectangle(rows, columns)
            elif shape == "CIRCULAR":
                shown &= self._circle(rows, columns, aspect)
            elif shape == "POLYGONAL":
                shown &= self._polygon(rows, columns)
        return ~shown

    def _rectangle(self, rows: int, columns: int) -> Mask:
        edges = [self._attributes.integers(tag) for tag in (_UPPER, _LOWER, _LEFT, _RIGHT)]
        if not all(edges):
            raise PixelError("a rectangular shutter has four edges", tag_path="(0018,1602)")
        upper, lower, left, right = (edge[0] for edge in edges)
        mask = np.zeros((rows, columns), np.bool_)
        mask[max(0, upper - 1) : max(0, lower), max(0, left - 1) : max(0, right)] = True
        return mask

    def _circle(self, rows: int, columns: int, aspect: float) -> Mask:
        center, radius = self._attributes.numbers(_CENTER), self._attributes.numbers(_RADIUS)
        if len(center) < 2 or not radius:
            raise PixelError("a circular shutter has a center and a radius", tag_path="(0018,1610)")
        # The radius counts pixels along a row.
        down = (np.arange(1, rows + 1) - center[0]) * aspect
        across = np.arange(1, columns + 1) - center[1]
        return np.asarray(down[:, None] ** 2 + across[None, :] ** 2 <= radius[0] ** 2)

    def _polygon(self, rows: int, columns: int) -> Mask:
        values = self._attributes.numbers(_VERTICES)
        if len(values) < 6 or len(values) % 2:
            raise PixelError("a polygonal shutter has at least three vertices", tag_path="(0018,1620)")
        return polygon(np.array(values).reshape(-1, 2) - 1.0, rows, columns)


def shutter_of(attributes: Attributes) -> Shutter | None:
    """The shutter of an image, a Frame Display Shutter item or a presentation state; None if there is none."""
    shapes = tuple(shape for shape in attributes.texts(_SHAPE) if shape)
    if not shapes:
        return None
    for shape in shapes:
        if shape not in ("RECTANGULAR", "CIRCULAR", "POLYGONAL", "BITMAP"):
            raise PixelError("a Shutter Shape that is not known", tag_path="(0018,1600)")
    value, lab = attributes.words(_VALUE), attributes.words(_COLOUR)
    group = attributes.words(_OVERLAY_GROUP)
    return Shutter(
        shapes,
        value[0] if value else 0,
        (lab[0], lab[1], lab[2]) if len(lab) >= 3 else None,
        group[0] if "BITMAP" in shapes and group else 0,
        attributes,
    )


def laid_over(
    image: Image,
    number: int,
    aspect: float,
    source: Attributes | None,
    bitmaps: Sequence[Overlay],
    shown: Sequence[tuple[Overlay, Ink]],
    notes: list[str],
) -> Iterator[tuple[Mask, Ink]]:
    """What lies over a frame's pixels, in order: the shutter of `source`, if any, then the overlays that are `shown`.

    `bitmaps` are the overlays among which the one is that a BITMAP shutter names; it hides where its bits are set, and
    is not shown. Regions of interest are shown by their outline, or nobody would see what they are about. What cannot
    be read is left out, with a line in `notes`.
    """
    hiding = 0
    try:
        shutter = shutter_of(source) if source is not None else None
        if shutter is not None:
            ink, hiding = Ink(shutter.p_value, shutter.lab), shutter.overlay_group
            yield shutter.hidden(image.rows, image.columns, aspect), ink
            for overlay in bitmaps:
                mask = overlay.mask(image, number) if overlay.group == hiding else None
                if mask is not None:
                    yield mask, ink
    except PixelError as error:
        notes.append(f"shown without its shutter: {error}")
    for overlay, ink in shown:
        if overlay.group == hiding:
            continue
        try:
            mask = overlay.mask(image, number)
        except PixelError as error:
            notes.append(f"an overlay is left out: {error}")
            continue
        if mask is not None:
            yield mask if overlay.graphic else outline(mask), ink


def polygon(vertices: NDArray[np.float64], rows: int, columns: int) -> Mask:
    """The pixels in a polygon of (row, column) `vertices` from 0, by the even-odd rule, its edges included."""
    y0, x0 = vertices[:, 0], vertices[:, 1]
    y1, x1 = np.roll(y0, -1), np.roll(x0, -1)
    low, high = np.minimum(y0, y1), np.maximum(y0, y1)
    rise = np.where(high > low, y1 - y0, 1.0)
    mask = np.zeros((rows, columns), np.bool_)
    for row in range(max(0, int(np.ceil(low.min()))), min(rows - 1, int(np.floor(high.max()))) + 1):
        # With one end of each edge counted, and then with the other: the row on which the polygon ends is in it too.
        for crossed in ((low <= row) & (row < high), (low < row) & (row <= high)):
            ends = np.sort((x0 + (row - y0) / rise * (x1 - x0))[crossed])
            for left, right in ends.reshape(-1, 2):
                mask[row, max(0, int(np.ceil(left - 1e-9))) : max(0, int(np.floor(right + 1e-9)) + 1)] = True
    return mask
