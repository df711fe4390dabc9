"""Overlay planes (PS3.3 C.9.2, C.9.3): bitmaps of groups 6000 to 601E over an image, packed or in its unused bits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isocenter.errors import CodecMissing, PixelError
from isocenter.pixels.header import Attributes
from isocenter.pixels.image import Image

Mask = NDArray[np.bool_]

_ROWS, _COLUMNS, _FRAMES, _TYPE, _ORIGIN, _FIRST_FRAME = 0x0010, 0x0011, 0x0015, 0x0040, 0x0050, 0x0051
_ALLOCATED, _BIT, _DATA = 0x0100, 0x0102, 0x3000


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """One overlay plane.

    `group` is 0x6000 to 0x601E; `graphic` tells G from R, a region of interest. `origin` is the place of its first
    pixel in the image as (row, column), counted from 1; it may lie outside. `frames` are the image frames it belongs
    to, as (first, number), None for all. `bit` is its position in the pixel cell if it is kept there.
    """

    group: int
    rows: int
    columns: int
    graphic: bool
    origin: tuple[int, int]
    frames: tuple[int, int] | None
    bit: int | None
    _attributes: Attributes

    def mask(self, image: Image, number: int) -> Mask | None:
        """Which pixels of the image's frame it covers, shape (rows, columns) of the image; None if it has none there.

        PixelError if its data are not all there.
        """
        first, count = self.frames or (number, 1)
        if not first <= number < first + count:
            return None
        plane = self._embedded(image, number) if self.bit is not None else self._packed(number - first)
        if plane is None:
            return None
        return placed(plane, self.origin, (image.rows, image.columns))

    def _packed(self, index: int) -> Mask:
        """Plane `index` (from 0) of Overlay Data: bits in a row without padding, the lowest of each byte first."""
        size = self.rows * self.columns
        begin, tag = index * size, self.group << 16 | _DATA
        end = begin + size
        # Whole words, as big endian words are swapped (PS3.5 section 8.1.2).
        start = begin // 16 * 2
        stop = min(-(-end // 16) * 2, self._attributes.length(tag))
        octets = np.frombuffer(self._attributes.part(tag, start, max(0, stop - start)), np.uint8)
        if not self._attributes.little and self._attributes.vr(tag) == "OW":
            octets = octets[: len(octets) & ~1].reshape(-1, 2)[:, ::-1].reshape(-1)
        bits = np.unpackbits(octets, bitorder="little")[begin - start * 8 : end - start * 8]
        if len(bits) != size:
            raise PixelError("the overlay is cut off", tag_path=f"({self.group:04X},3000)")
        return bits.reshape(self.rows, self.columns).astype(np.bool_)

    def _embedded(self, image: Image, number: int) -> Mask | None:
        try:
            cells = image.cells(number)
        except CodecMissing:
            return None
        if cells.ndim != 2 or self.bit is None or self.bit >= 8 * cells.dtype.itemsize:
            return None
        shown: Mask = (cells >> cells.dtype.type(self.bit) & cells.dtype.type(1)).astype(np.bool_)
        return shown[: self.rows, : self.columns]


def overlays_of(attributes: Attributes, notes: list[str] | None = None) -> list[Overlay]:
    """The overlay planes of an image, or of a presentation state, that have data.

    One whose description cannot be read is left out, with a line in `notes`.
    """
    found: list[Overlay] = []
    for group in range(0x6000, 0x6020, 2):
        try:
            overlay = _overlay(attributes, group)
        except PixelError as error:
            if notes is not None:
                notes.append(f"an overlay is left out: {error}")
            continue
        if overlay is not None:
            found.append(overlay)
    return found


def _overlay(attributes: Attributes, group: int) -> Overlay | None:
    base = group << 16
    if base | _ROWS not in attributes or base | _COLUMNS not in attributes:
        return None
    bit = None
    if base | _DATA not in attributes:
        if attributes.integer(base | _ALLOCATED, 1) <= 1:
            return None
        bit = attributes.integer(base | _BIT, 0)
    first = attributes.integer(base | _FIRST_FRAME, 1)
    origin = _signed(attributes, base | _ORIGIN)
    return Overlay(
        group=group,
        rows=attributes.integer(base | _ROWS),
        columns=attributes.integer(base | _COLUMNS),
        graphic=attributes.text(base | _TYPE) != "R",
        origin=origin if origin is not None else (1, 1),
        frames=(first, attributes.integer(base | _FRAMES, 1)) if base | _FRAMES in attributes else None,
        bit=bit,
        _attributes=attributes,
    )


def _signed(attributes: Attributes, tag: int) -> tuple[int, int] | None:
    """Two SS values, also where the VR is not told or was written as US."""
    words = attributes.words(tag)
    if len(words) < 2:
        return None
    row, column = (word - 0x10000 if word & 0x8000 else word for word in words[:2])
    return row, column


def placed(plane: Mask, origin: tuple[int, int], shape: tuple[int, int]) -> Mask:
    """`plane` on an empty mask of `shape`, its first pixel at `origin` (row, column, from 1). The rest is cut."""
    mask = np.zeros(shape, np.bool_)
    top, left = origin[0] - 1, origin[1] - 1
    source = plane[max(0, -top) : max(0, shape[0] - top), max(0, -left) : max(0, shape[1] - left)]
    top, left = max(0, top), max(0, left)
    mask[top : top + source.shape[0], left : left + source.shape[1]] = source
    return mask


def outline(mask: Mask) -> Mask:
    """The pixels of a region that have a neighbour outside of it, above, below, left or right."""
    inner = np.pad(mask, 1)
    kept = inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:]
    return np.asarray(mask & ~kept, np.bool_)
