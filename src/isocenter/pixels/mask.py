"""Mask subtraction (PS3.3 C.7.6.10, C.11.13, C.11.19; PS3.4 N.2.1, N.2.5): a frame less others, as in angiography.

What is subtracted are outputs of the Modality LUT, from which nothing is rounded off before the VOI LUT: the difference
of two frames, also of averages and of frames moved by parts of a pixel, is a table of floats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isocenter.errors import PixelError
from isocenter.pixels.header import Attributes
from isocenter.pixels.image import Image
from isocenter.pixels.layout import Array
from isocenter.pixels.shutter import polygon
from isocenter.pixels.voi import Table, read_table

Floats = NDArray[np.float64]

MASK_SUBTRACTION = 0x00286100
_OPERATION, _RANGE, _MASKS, _AVERAGED, _SHIFT, _TID = (
    0x00286101,
    0x00286102,
    0x00286110,
    0x00286112,
    0x00286114,
    0x00286120,
)
_ITEM_ID, _FRAME_SHIFTS, _RELATIONSHIP = 0x00289416, 0x00289415, 0x00281040
_SHIFTS, _SHIFT_RANGE, _REGIONS, _VERTICES = 0x00289501, 0x00289506, 0x00289502, 0x00289503
_TO_LOG, _LUT_RANGE = 0x00289422, 0x00289507
_MOST_FRAMES = 200  # that are averaged: each has to be decoded
_MOST_ITEMS = 1000

# A part of the frame, as (row, column) vertices from 0, None for all of it; and how far the mask moves there
Shift = tuple[NDArray[np.float64] | None, tuple[float, float]]


@dataclass(frozen=True, slots=True, eq=False)
class Subtraction:
    """What is subtracted from a frame.

    The mean of the frames `mask`, moved by `shifts` and multiplied by `share`, is taken from the mean of the frames
    `contrast`. A shift is (down, right) in pixels; of several for a pixel the last counts (C.11.19.1.2). `tables` are
    applied to the values of the frames that their range has, `logarithm` to all of them.
    """

    mask: tuple[int, ...]
    contrast: tuple[int, ...]
    shifts: tuple[Shift, ...] = ()
    share: float = 1.0
    tables: tuple[tuple[tuple[int, ...], Table], ...] = ()
    logarithm: bool = False

    def difference(self, image: Image, stored: Callable[[Array], Floats]) -> Floats:
        """The values, of shape (rows, columns), that go into the VOI LUT; `stored` is the Modality LUT.

        Raises what `Image.decode` raises, and PixelError for frames that cannot be subtracted.
        """
        contrast = self._mean(image, self.contrast, stored)
        mask = self._mean(image, self.mask, stored)
        moved = mask
        for vertices, shift in self.shifts:
            there = shifted(mask, *shift)
            if vertices is None:
                moved = there
            else:
                moved = np.where(polygon(vertices, image.rows, image.columns), there, moved)
        return np.asarray(contrast - self.share * moved)

    def _mean(self, image: Image, frames: Sequence[int], stored: Callable[[Array], Floats]) -> Floats:
        total: Floats | None = None
        for number in frames:
            pixels = image.frame(number)
            if pixels.ndim != 2:
                raise PixelError("colours are not subtracted", frame=number, tag_path="(0028,6100)")
            values = stored(pixels)
            for numbers, table in self.tables:
                if within(numbers, number):
                    values = table.look_up(values).astype(np.float64)
                    break
            if self.logarithm:
                values = np.log(np.maximum(values, 1.0))
            total = values if total is None else total + values
        assert total is not None
        return total / len(frames)


def subtraction_of(item: Attributes, number: int, frames: int) -> Subtraction | None:
    """What an item of Mask Subtraction Sequence says of frame `number` of an image with so many `frames`.

    None where it does not apply to the frame (C.7.6.10.1). PixelError for an item that cannot be used.
    """
    operation = item.text(_OPERATION)
    valid = item.integers(_RANGE)
    if operation == "NONE" or (valid and not within(valid, number)):
        return None
    contrast = tuple(range(number, number + max(1, item.integer(_AVERAGED, 1))))
    if operation == "AVG_SUB":
        mask = item.integers(_MASKS)
        if not mask:
            raise PixelError("an averaged mask without the numbers of its frames", tag_path="(0028,6110)")
    elif operation in ("TID", "REV_TID"):
        contrast = (number,)
        offset = item.integer(_TID, 1)
        # Backwards from before the first frame of the range (REV_TID): one more frame away with each that comes.
        mask = (number - offset,) if operation == "TID" else (valid[0] - offset - (number - valid[0]),) if valid else ()
    else:
        raise PixelError("a Mask Operation that is not known", tag_path="(0028,6101)")
    if contrast[-1] > frames or (operation != "AVG_SUB" and not (mask and 1 <= mask[0] <= frames)):
        return None
    if len(mask) + len(contrast) > _MOST_FRAMES:
        raise PixelError(f"more than {_MOST_FRAMES} frames to be averaged", tag_path="(0028,6110)")
    if not all(1 <= one <= frames for one in mask):
        raise PixelError("a mask of frames that the image has not", tag_path="(0028,6110)")
    shifts = _shifts(item, number) or _shift(item)
    return Subtraction(mask, contrast, shifts, tables=_tables(item))


def subtraction_of_image(image: Image, number: int) -> Subtraction | None:
    """What the image itself says is to be subtracted from a frame (C.7.6.10); None if nothing.

    Values proportional to the X-ray beam intensity go through a logarithm (PS3.4 N.2.1.2).
    """
    attributes = image.attributes
    for index in range(min(_MOST_ITEMS, attributes.count(MASK_SUBTRACTION))):
        item = attributes.item(MASK_SUBTRACTION, index)
        assert item is not None
        found = subtraction_of(item, number, image.number_of_frames)
        if found is not None:
            shifts = _frame_shift(image, number, item.integer(_ITEM_ID, 0)) or found.shifts
            logarithm = attributes.text(_RELATIONSHIP) == "LIN"
            return Subtraction(found.mask, found.contrast, shifts, logarithm=logarithm)
    return None


def within(ranges: Sequence[int], number: int) -> bool:
    """Whether pairs of first and last frame numbers include `number`."""
    return any(first <= number <= last for first, last in zip(ranges[::2], ranges[1::2], strict=False))


def shifted(values: Floats, down: float, right: float) -> Floats:
    """`values` moved by rows and columns, parts of them too, by linear interpolation; the edges go on."""
    for axis, way in enumerate((down, right)):
        if way:
            size = values.shape[axis]
            at = np.clip(np.arange(size) - way, 0, size - 1)
            low = np.floor(at).astype(np.intp)
            part = (at - low)[:, None] if axis == 0 else at - low
            near, far = values.take(low, axis), values.take(np.minimum(low + 1, size - 1), axis)
            values = near * (1 - part) + far * part
    return values


def _shift(item: Attributes) -> tuple[Shift, ...]:
    """Mask Sub-pixel Shift: the mask moves to greater rows and columns."""
    values = item.numbers(_SHIFT)
    if not values:
        return ()
    if len(values) != 2 or not np.isfinite(values).all():
        raise PixelError("a Mask Sub-pixel Shift has two values", tag_path="(0028,6114)")
    return ((None, (values[0], values[1])),)


def _frame_shift(image: Image, number: int, item_id: int) -> tuple[Shift, ...]:
    """That of the Frame Pixel Shift functional group (C.8.19.6.12), by the Subtraction Item ID."""
    for group in image.groups(number):
        for index in range(min(_MOST_ITEMS, group.count(_FRAME_SHIFTS))):
            item = group.item(_FRAME_SHIFTS, index)
            if item is not None and item.integer(_ITEM_ID, 0) == item_id:
                return _shift(item)
    return ()


def _shifts(item: Attributes, number: int) -> tuple[Shift, ...]:
    """Pixel shifts of regions (C.11.19.1.2), for this frame."""
    for index in range(min(_MOST_ITEMS, item.count(_SHIFTS))):
        shift = item.item(_SHIFTS, index)
        assert shift is not None
        if not within(shift.integers(_SHIFT_RANGE), number):
            continue
        found: list[Shift] = []
        for place in range(min(_MOST_ITEMS, shift.count(_REGIONS))):
            region = shift.item(_REGIONS, place)
            assert region is not None
            vertices = region.numbers(_VERTICES)
            if vertices and (len(vertices) < 6 or len(vertices) % 2):
                raise PixelError("a region has three vertices or more", tag_path="(0028,9503)")
            edge = np.array(vertices).reshape(-1, 2) - 1.0 if vertices else None
            found += [(edge, way) for _, way in _shift(region)]
        return tuple(found)
    return ()


def _tables(item: Attributes) -> tuple[tuple[tuple[int, ...], Table], ...]:
    """Pixel Intensity Relationship LUTs to logarithms, with the frames they are for (C.11.19)."""
    found = []
    for index in range(min(_MOST_ITEMS, item.count(_TO_LOG))):
        table = item.item(_TO_LOG, index)
        assert table is not None
        found.append((table.integers(_LUT_RANGE), read_table(table, False)))
    return tuple(found)
