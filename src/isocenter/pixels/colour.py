"""Colour spaces of PS3.3 C.7.6.3.1.2, back to RGB, and the values that shutters, overlays and graphics are shown in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isocenter.display.calibration import Characteristic
from isocenter.errors import PixelError
from isocenter.pixels.layout import Array

# C.7.6.3.1.2: YBR_FULL is the CCIR 601-2 transform over the full range; PARTIAL has luma 16..235, chroma 16..240.
_FULL = np.array([[1.0, 0.0, 1.402], [1.0, -0.344136, -0.714136], [1.0, 1.772, 0.0]])
_PARTIAL = np.array([[1.1644, 0.0, 1.5960], [1.1644, -0.3917, -0.8130], [1.1644, 2.0173, 0.0]])

# The white of the ICC profile connection space, and linear sRGB from it (Bradford adaptation to D65)
_D50 = np.array([0.9642, 1.0, 0.8249])
_D50_TO_SRGB = np.array(
    [[3.1338561, -1.6168667, -0.4906146], [-0.9787684, 1.9161415, 0.0334540], [0.0719453, -0.2289914, 1.4052427]]
)


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


@dataclass(frozen=True, slots=True)
class Ink:
    """What is laid over a picture: a P-Value of 0 to 65,535, or a colour as CIELab in 16 bits each (C.10.7.1.1)."""

    p_value: int
    lab: tuple[int, int, int] | None = None

    def grey(self, display: Characteristic | None = None) -> int:
        """8 bits, or what drives `display`."""
        return round(self.p_value / 257) if display is None else int(display.ddls[self.p_value])

    def rgb(self) -> tuple[int, int, int]:
        """8-bit sRGB."""
        return (self.grey(),) * 3 if self.lab is None else lab_to_srgb(self.lab)


WHITE = Ink(0xFFFF)


def lay(
    picture: NDArray[np.uint8], mask: NDArray[np.bool_], ink: Ink, display: Characteristic | None = None
) -> NDArray[np.uint8]:
    """`picture` with `ink` where `mask` is set; a picture of greys becomes one of colours where the ink is coloured.

    Greys of 16 bits stay greys. The picture may be changed in place.
    """
    if ink.lab is not None and picture.ndim == 2 and picture.dtype == np.uint8:
        picture = np.repeat(picture[:, :, None], 3, axis=2)
    if not picture.flags.writeable:
        picture = picture.copy()
    if picture.dtype == np.uint16:
        picture[mask] = ink.p_value
    else:
        picture[mask] = ink.grey(display) if picture.ndim == 2 else ink.rgb()
    return picture


def lab_to_srgb(lab: tuple[int, int, int]) -> tuple[int, int, int]:
    """CIELab of the profile connection space (D50) in the encoding of C.10.7.1.1, as 8-bit sRGB (IEC 61966-2-1)."""
    lightness = lab[0] * 100 / 65535
    a, b = (value * 255 / 65535 - 128 for value in lab[1:])
    y = (lightness + 16) / 116
    cubes = [t**3 if t > 6 / 29 else 3 * (6 / 29) ** 2 * (t - 4 / 29) for t in (y + a / 500, y, y - b / 200)]
    linear = _D50_TO_SRGB @ (np.array(cubes) * _D50)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 0) ** (1 / 2.4) - 0.055)
    red, green, blue = (int(value) for value in np.rint(np.clip(encoded, 0, 1) * 255))
    return red, green, blue
