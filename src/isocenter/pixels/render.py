"""A frame as it is to be seen: Modality LUT, VOI LUT, presentation and, for colour, palette or colour space.

The grey chain of PS3.3 C.11 is computed once for all stored values of up to 16 bits and applied as one table. Pixel
Padding (C.7.5.1.1.2) takes no part in an automatic window and is black, whatever is inverted.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from isocenter.display.calibration import Characteristic
from isocenter.errors import NotAcceptable, PixelError, UsageError
from isocenter.pixels.codecs import Decoded
from isocenter.pixels.colour import to_rgb
from isocenter.pixels.image import Image
from isocenter.pixels.layout import Array
from isocenter.pixels.palette import read_palette
from isocenter.pixels.resample import fitted, pixel_aspect, resize
from isocenter.pixels.voi import Rescale, Table, Window, automatic, modality, modality_units, voi

Picture = NDArray[np.uint8]

_PIXEL_VALUE_TRANSFORMATION, _FRAME_VOI_LUT = 0x00289145, 0x00289132
_PADDING, _PADDING_LIMIT = 0x00280120, 0x00280121
_FLOAT_PADDING, _DOUBLE_PADDING = (0x00280122, 0x00280124), (0x00280123, 0x00280125)
_PRESENTATION_LUT_SHAPE = 0x20500020
_GREY = ("MONOCHROME1", "MONOCHROME2")


def render(
    image: Image,
    number: int = 1,
    *,
    window: tuple[float, float] | None = None,
    function: str = "LINEAR",
    size: tuple[int, int] | None = None,
    invert: bool = False,
    display: Characteristic | None = None,
) -> Picture:
    """Frame `number` (from 1) for a display: uint8, shape (rows, columns) for greys or (rows, columns, 3) for RGB.

    `window` (centre, width in Modality LUT units) with VOI LUT `function` replaces what the object says. Without
    either, 8-bit images are shown over their whole range, deeper ones between the 0.5th and 99.5th percentile of the
    frame.
    MONOCHROME1 and Presentation LUT Shape INVERSE turn the greys; `invert` turns the result.
    `size` (width, height) is a viewport: the picture is scaled, up or down, to the largest that fits and keeps its
    shape, with the pixel aspect ratio taken in. Without it pixels stay pixels.
    `display`: greys are the driving levels that make equal steps look equal on this display of at most 256 levels
    (PS3.14); colours are left alone.
    Raises what `Image.decode` raises, PixelError for palettes and tables that cannot be used, UsageError for `size`
    and for a display of more levels.
    """
    if display is not None and display.levels[-1] > 255:
        raise UsageError("pictures have 8 bits: the display's characteristic curve has to end at level 255 or below")
    decoded = image.decode(number)
    chosen = Window(*window, function) if window is not None else None
    if decoded.photometric in _GREY and decoded.pixels.ndim == 2:
        picture = _grey(image, number, decoded, chosen, invert, display)
    else:
        picture = _colour(image, number, decoded)
        if invert:
            picture = 255 - picture
    if size is not None:
        measures = image.group(0x00289110, number)  # Pixel Measures
        rows, columns = fitted(image.rows, image.columns, size, pixel_aspect(measures))
        picture = resize(picture, rows, columns)
    return np.ascontiguousarray(picture)


def _colour(image: Image, number: int, decoded: Decoded) -> Picture:
    pixels = decoded.pixels
    if decoded.photometric == "PALETTE COLOR" and pixels.ndim == 2:
        return read_palette(image.attributes, image.layout.signed).apply(pixels)
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise PixelError("this photometric interpretation cannot be shown", frame=number, tag_path="(0028,0004)")
    if pixels.dtype.kind != "u":
        raise PixelError("colours are unsigned integers", frame=number, tag_path="(0028,0103)")
    rgb = to_rgb(pixels, decoded.photometric, decoded.bits)
    if decoded.bits == 8:
        return np.asarray(rgb, np.uint8)
    result: Picture = np.rint(rgb * (255.0 / ((1 << decoded.bits) - 1))).astype(np.uint8)
    return result


# --- greys ----------------------------------------------------------------------------------------------------------


def _grey(
    image: Image, number: int, decoded: Decoded, window: Window | None, invert: bool, display: Characteristic | None
) -> Picture:
    signed = image.layout.signed
    pixels = decoded.pixels
    stored = modality(image.group(_PIXEL_VALUE_TRANSFORMATION, number), signed)
    padding = _padding(image, decoded)
    turned = decoded.photometric == "MONOCHROME1" or image.attributes.text(_PRESENTATION_LUT_SHAPE) == "INVERSE"
    chosen: Window | Table | None = window
    if chosen is None:
        negative = signed or (isinstance(stored, Rescale) and stored.intercept < 0)
        chosen = voi(image.group(_FRAME_VOI_LUT, number), negative)
    if chosen is None:
        chosen = _default(stored, padding, decoded)
    if pixels.dtype.kind == "f" or decoded.bits > 16:
        return _by_rows(pixels, lambda rows: _shades(rows, stored, chosen, padding, turned != invert, display))
    table = _grey_table(stored, chosen, padding, turned != invert, display, decoded.bits, signed)
    unsigned = pixels.view(f"u{pixels.dtype.itemsize}")
    # Two's complement to the index: the bits above Bits Stored repeat the sign
    mask = unsigned.dtype.type((1 << decoded.bits) - 1)
    return _by_rows(unsigned, lambda rows: np.take(table, rows & mask if signed else rows, mode="clip"))


def _by_rows(pixels: Array, function: Callable[[Array], Picture]) -> Picture:
    """`function` of a few rows at a time: intermediate values then stay in the cache, and small, whatever the frame."""
    rows, columns = pixels.shape
    step = max(1, (1 << 18) // columns)
    result = np.empty((rows, columns), np.uint8)
    for start in range(0, rows, step):
        result[start : start + step] = function(pixels[start : start + step])
    return result


def _shades(
    values: Array,
    stored: Rescale | Table,
    chosen: Window | Table,
    padding: tuple[float, float] | None,
    turned: bool,
    display: Characteristic | None,
) -> Picture:
    """8-bit greys of stored values: P-Values, or what drives `display`."""
    with np.errstate(over="ignore", invalid="ignore"):
        levels = chosen.apply(modality_units(stored, values))
    if turned:
        levels = 1.0 - levels
    if padding is not None:
        levels[(values >= padding[0]) & (values <= padding[1])] = 0.0
    levels = np.nan_to_num(levels)
    if display is None:
        return np.rint(levels * 255.0).astype(np.uint8)
    table = display.ddls
    return table[np.rint(levels * (len(table) - 1)).astype(np.intp)].astype(np.uint8)


@lru_cache(maxsize=32)
def _grey_table(
    stored: Rescale | Table,
    chosen: Window | Table,
    padding: tuple[float, float] | None,
    turned: bool,
    display: Characteristic | None,
    bits: int,
    signed: bool,
) -> Picture:
    """The grey of every stored value of `bits` bits; index is the value, or its two's complement as unsigned."""
    values = np.arange(1 << bits, dtype=np.int64)
    if signed:
        values[1 << (bits - 1) :] -= 1 << bits
    return _shades(values, stored, chosen, padding, turned, display)


def _default(stored: Rescale | Table, padding: tuple[float, float] | None, decoded: Decoded) -> Window | Table:
    """What stands in for a VOI LUT: the whole range of 8-bit values and of a Modality LUT table, else `automatic`."""
    if isinstance(stored, Table):
        top = (1 << stored.bits) - 1
        return Window(top / 2, top, "LINEAR_EXACT")
    if decoded.pixels.dtype.kind == "u" and decoded.bits <= 8:
        ends = stored.apply(np.array([0, (1 << decoded.bits) - 1]))
        return Window(float(ends.mean()), float(abs(ends[1] - ends[0])), "LINEAR_EXACT")
    sample = decoded.pixels.reshape(-1)
    sample = sample[:: max(1, sample.size // 1_000_000)]
    if padding is not None:
        sample = sample[(sample < padding[0]) | (sample > padding[1])]
    return automatic(modality_units(stored, sample))


def _padding(image: Image, decoded: Decoded) -> tuple[float, float] | None:
    """The lowest and the highest stored value that mean "no image here"."""
    attributes = image.attributes
    if decoded.pixels.dtype.kind == "f":
        tags = _FLOAT_PADDING if _FLOAT_PADDING[0] in attributes else _DOUBLE_PADDING
        limits = [value for tag in tags for value in attributes.numbers(tag)[:1]]
        return (min(limits), max(limits)) if tags[0] in attributes and limits else None
    found: list[int] = []
    for tag in (_PADDING, _PADDING_LIMIT):
        for word in attributes.words(tag)[:1]:
            # The bits are those of a stored value, under whatever VR they came.
            value = word & ((1 << decoded.bits) - 1)
            if image.layout.signed and value >> (decoded.bits - 1):
                value -= 1 << decoded.bits
            found.append(value)
    return (min(found), max(found)) if _PADDING in attributes and found else None


# --- output ---------------------------------------------------------------------------------------------------------


def encode(array: Array, media_type: str, quality: int = 90) -> bytes:
    """A picture from `render` (or 16-bit greys, for PNG) as a file.

    `media_type` is "image/png", "image/jpeg" or "image/webp"; `quality` 1 to 100 is for the latter two. NotAcceptable
    for any other type.
    """
    picture = np.ascontiguousarray(array)
    if media_type == "image/png":
        # The fastest level that compresses: a CT slice is 5 percent larger than at level 6, in two thirds of the time.
        return bytes(imagecodecs.png_encode(picture, level=1))
    if media_type == "image/jpeg":
        return bytes(imagecodecs.jpeg8_encode(picture, level=min(100, max(1, quality))))
    if media_type == "image/webp":
        rgb = picture if picture.ndim == 3 else np.repeat(picture[:, :, None], 3, axis=2)
        return bytes(imagecodecs.webp_encode(rgb, level=min(100, max(1, quality))))
    raise NotAcceptable(f"pictures are image/png, image/jpeg or image/webp, not {media_type}")
