"""Fitting a rendered image into a viewport: area average down, bilinear up, and the aspect of a pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from isocenter.errors import UsageError
from isocenter.pixels.header import Attributes
from isocenter.pixels.layout import Array

LARGEST = 16384
_ASPECT, _SPACING, _IMAGER = 0x00280034, 0x00280030, 0x00181164


def pixel_aspect(attributes: Attributes) -> float:
    """Height of a pixel over its width: by Pixel Spacing, else Imager Pixel Spacing, else Pixel Aspect Ratio, else 1.

    The ratio is for images without spacing (C.7.6.3); where both stand, lengths are what the viewer measures by, too.
    """
    for tag in (_SPACING, _IMAGER, _ASPECT):
        values = attributes.numbers(tag)
        if len(values) >= 2 and values[0] > 0 and values[1] > 0:
            ratio = values[0] / values[1]
            # Beyond this it is a mistake, and a picture one pixel wide would not help to find it.
            return ratio if 0.02 <= ratio <= 50 else 1.0
    return 1.0


def fitted(rows: int, columns: int, size: tuple[int, int], aspect: float) -> tuple[int, int]:
    """(rows, columns) of the largest picture within `size` (width, height) that keeps the image's shape.

    UsageError if a side of `size` is not in 1..16384.
    """
    width, height = size
    if not (1 <= width <= LARGEST and 1 <= height <= LARGEST):
        raise UsageError(f"a viewport of {width} by {height}: each side is from 1 to {LARGEST}")
    tall = rows * aspect
    scale = min(width / columns, height / tall)
    return max(1, min(height, round(tall * scale))), max(1, min(width, round(columns * scale)))


def squared(rows: int, columns: int, aspect: float) -> tuple[int, int]:
    """(rows, columns) of a picture of square pixels: the longer side of a pixel is stretched, so that nothing is lost.

    `aspect` is a pixel's height over its width. No side grows over 16,384.
    """
    if aspect >= 1:
        return max(rows, min(LARGEST, round(rows * aspect))), columns
    return rows, max(columns, min(LARGEST, round(columns / aspect)))


def resize(picture: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.uint8]:
    """`picture`, shape (h, w) or (h, w, 3), uint8 or uint16, with `rows` and `columns` instead."""
    if picture.shape[:2] == (rows, columns):
        return picture
    work: Array = picture
    # The axis that shrinks goes first, so that the other has less to do.
    axes = ((0, rows), (1, columns)) if rows <= picture.shape[0] else ((1, columns), (0, rows))
    for axis, length in axes:
        work = _along(work, axis, length)
    result: NDArray[np.uint8] = np.clip(np.rint(work), 0, np.iinfo(picture.dtype).max).astype(picture.dtype)
    return result


def _along(work: Array, axis: int, length: int) -> Array:
    size = work.shape[axis]
    if length == size:
        return work
    if axis == 1:
        swapped = np.ascontiguousarray(work.swapaxes(0, 1))
        return _along(swapped, 0, length).swapaxes(0, 1)
    return _average(work, length) if length < size else _between(work, length)


def _average(work: Array, length: int) -> Array:
    """Each of the `length` new rows is the mean of the stretch of old rows that it covers, fractions included."""
    size = work.shape[0]
    edges = np.arange(length + 1) * (size / length)
    whole = np.minimum(np.floor(edges).astype(np.intp), size - 1)
    part = (edges - whole).astype(np.float32).reshape(-1, *(1,) * (work.ndim - 1))
    part[-1] = 0  # the last stretch ends with the picture
    sums = np.add.reduceat(work, whole[:-1], axis=0, dtype=np.float32)
    border = work[whole].astype(np.float32) * part
    return np.asarray((sums - border[:-1] + border[1:]) * np.float32(length / size))


def _between(work: Array, length: int) -> Array:
    """Linear interpolation between the centres of the old rows; beyond the outermost centres their value."""
    size = work.shape[0]
    at = np.clip((np.arange(length) + 0.5) * (size / length) - 0.5, 0, size - 1)
    low = np.floor(at).astype(np.intp)
    high = np.minimum(low + 1, size - 1)
    part = (at - low).astype(np.float32).reshape(-1, *(1,) * (work.ndim - 1))
    source = work.astype(np.float32, copy=False)
    return np.asarray(source[low] * (1 - part) + source[high] * part)
