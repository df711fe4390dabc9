"""The grey chain of PS3.3 C.11 (PS3.4 N.2.1) as one table: Modality LUT, VOI LUT, Presentation LUT, display.

It is computed once for all stored values of up to 16 bits and applied in one look-up a pixel; deeper and floating-point
values go the same way a few rows at a time. What comes out are 8-bit greys, the driving levels of a calibrated display,
or the colours of a palette.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from isocenter.display.calibration import Characteristic
from isocenter.pixels.codecs import Decoded
from isocenter.pixels.header import Attributes
from isocenter.pixels.image import Image
from isocenter.pixels.layout import Array
from isocenter.pixels.palette import Palette, has_palette, read_palette
from isocenter.pixels.voi import Rescale, Table, Window, automatic, counted, modality, modality_units
from isocenter.std.sop_classes import PROJECTION_XRAY

Picture = NDArray[np.uint8]

PIXEL_VALUE_TRANSFORMATION = 0x00289145
_SOP_CLASS, _PIXEL_PRESENTATION = 0x00080016, 0x00089205
_PADDING, _PADDING_LIMIT = 0x00280120, 0x00280121
_SEGMENTATION_TYPE, _SEGMENTS, _SEGMENT_NUMBER, _MOST_OF_FRACTION = 0x00620001, 0x00620002, 0x00620004, 0x0062000E
_MOST_SEGMENTS = 10_000  # that are looked at
_FLOAT_PADDING, _DOUBLE_PADDING = (0x00280122, 0x00280124), (0x00280123, 0x00280125)


@dataclass(frozen=True, slots=True)
class Greys:
    """What happens to stored values, in this order.

    `stored` is the Modality LUT, `chosen` the VOI LUT, `presentation` a Presentation LUT of entries (None: the
    identity), and `turned` makes dark of bright. Stored values within `padding` (both ends included) are black whatever
    was turned. Then the level becomes a driving level of `display`, a colour of `colours` (all of which then stand for
    the whole range of levels, PS3.4 N.2.1.4 and N.2.4), or an 8-bit grey. Stored values from the first of `supplement`
    on are no greys but its colours (C.7.6.19). `top` is the brightest grey: 255, or 65,535 for greys of 16 bits.
    """

    stored: Rescale | Table
    chosen: Window | Table
    presentation: Table | None = None
    turned: bool = False
    padding: tuple[float, float] | None = None
    display: Characteristic | None = None
    colours: Palette | None = None
    supplement: Palette | None = None
    top: int = 255

    @property
    def coloured(self) -> bool:
        """Whether what comes out is RGB."""
        return self.colours is not None or self.supplement is not None

    def apply(self, decoded: Decoded, signed: bool) -> Picture:
        """A frame of one sample a pixel as uint8, shape (rows, columns), or (rows, columns, 3) if `coloured`.

        Greys whose `top` is above 255 are uint16.
        """
        pixels = decoded.pixels
        if pixels.dtype.kind == "f" or decoded.bits > 16:
            return _by_rows(pixels, self.shades)
        table = _table(self, decoded.bits, signed)
        unsigned = pixels.view(f"u{pixels.dtype.itemsize}")
        # Two's complement to the index: the bits above Bits Stored repeat the sign
        mask = unsigned.dtype.type((1 << decoded.bits) - 1)
        return _by_rows(unsigned, lambda rows: np.take(table, rows & mask if signed else rows, axis=0, mode="clip"))

    def of_units(self, values: NDArray[np.float64], decoded: Decoded) -> Picture:
        """The same from outputs of the Modality LUT, as the difference of the frame and a mask."""
        rest = replace(self, stored=Rescale(), padding=None, supplement=None)
        picture = _by_rows(values, rest.shades)
        hidden = hidden_by(self.padding, decoded.pixels)
        if hidden is not None:
            picture[hidden] = rest._shown(np.zeros(1))[0]
        return picture

    def shades(self, values: Array) -> Picture:
        """What stored values become, of shape `values.shape`, with a last axis of three if `coloured`."""
        with np.errstate(over="ignore", invalid="ignore"):
            levels = self.chosen.apply(modality_units(self.stored, values))
        if self.presentation is not None:
            levels = self.presentation.of_levels(levels)
        if self.turned:
            levels = 1.0 - levels
        if self.padding is not None:
            levels[(values >= self.padding[0]) & (values <= self.padding[1])] = 0.0
        levels = np.nan_to_num(levels)
        shown = self._shown(levels)
        if self.supplement is not None:
            if shown.ndim == values.ndim:
                shown = np.repeat(shown[..., None], 3, axis=-1)
            coloured = values >= self.supplement.first
            shown[coloured] = self.supplement.apply(values[coloured])
        return shown

    def _shown(self, levels: Array) -> Picture:
        if self.colours is not None:
            last = len(self.colours.colours) - 1
            return np.asarray(self.colours.colours[np.rint(levels * last).astype(np.intp)], np.uint8)
        if self.display is None:
            top = 255 if self.supplement is not None else self.top
            return np.asarray(np.rint(levels * float(top)), np.uint8 if top == 255 else np.uint16)
        table = self.display.ddls
        return np.asarray(table[np.rint(levels * (len(table) - 1)).astype(np.intp)], np.uint8)


def _by_rows(pixels: Array, function: Callable[[Array], Picture]) -> Picture:
    """`function` of a few rows at a time: intermediate values then stay in the cache, and small, whatever the frame."""
    rows, columns = pixels.shape
    step = max(1, (1 << 18) // columns)
    first = function(pixels[:step])
    if step >= rows:
        return first
    result = np.empty((rows, *first.shape[1:]), first.dtype)
    result[:step] = first
    for start in range(step, rows, step):
        result[start : start + step] = function(pixels[start : start + step])
    return result


@lru_cache(maxsize=32)
def _table(greys: Greys, bits: int, signed: bool) -> Picture:
    """What every stored value of `bits` bits becomes; index is the value, or its two's complement as unsigned."""
    values = np.arange(1 << bits, dtype=np.int64)
    if signed:
        values[1 << (bits - 1) :] -= 1 << bits
    return greys.shades(values)


def whole_range(stored: Rescale | Table, bits: int, signed: bool) -> Window:
    """The window that shows everything the Modality LUT can give for stored values of `bits` bits."""
    if isinstance(stored, Table):
        top = (1 << stored.bits) - 1
        return Window(top / 2, top, "LINEAR_EXACT")
    low = -(1 << (bits - 1)) if signed else 0
    ends = stored.apply(np.array([low, low + (1 << bits) - 1], np.int64))
    return Window(float(ends.mean()), float(abs(ends[1] - ends[0])), "LINEAR_EXACT")


def hidden_by(padding: tuple[float, float] | None, pixels: Array) -> NDArray[np.bool_] | None:
    """Which stored values are padding; None where no value is."""
    return None if padding is None else (pixels >= padding[0]) & (pixels <= padding[1])


def display_modality(image: Image, number: int) -> Rescale | Table:
    """The Modality LUT of a frame by its own header, as it is used for display.

    That of angiography and radiofluoroscopy leads back to the intensity of the beam, and its output is not what is
    displayed (C.8.7.1.1.2, PS3.4 N.2.5): the identity.
    """
    if image.attributes.text(_SOP_CLASS) in PROJECTION_XRAY:
        return Rescale()
    return modality(image.group(PIXEL_VALUE_TRANSFORMATION, number), image.layout.signed)


def may_colour(attributes: Attributes) -> bool:
    """Whether some values of an image of greys may be colours (Pixel Presentation, C.8.16.2)."""
    return attributes.text(_PIXEL_PRESENTATION) in ("COLOR", "MIXED")


def supplement_of(image: Image, decoded: Decoded) -> Palette | None:
    """The Supplemental Palette Color Lookup Table (C.7.6.19) where a frame of greys has values that it colours."""
    attributes = image.attributes
    if not may_colour(attributes) or not has_palette(attributes):
        return None
    palette = read_palette(attributes, image.layout.signed)
    return palette if decoded.pixels.max() >= palette.first else None


def segments_window(image: Image) -> Window | None:
    """What stands in for a VOI LUT of a segmentation: from nothing to the largest label, or to the largest fraction
    (C.8.20.2). None for anything else.

    Labels are small numbers: over the whole range of their bits all would be black. The segments' list tells the
    largest, so that a label is the same grey in every frame.
    """
    attributes = image.attributes
    kind = attributes.text(_SEGMENTATION_TYPE)
    top = 0
    if kind == "FRACTIONAL":
        top = attributes.integer(_MOST_OF_FRACTION, 0)
    elif kind == "LABELMAP":
        for index in range(min(_MOST_SEGMENTS, attributes.count(_SEGMENTS))):
            segment = attributes.item(_SEGMENTS, index)
            assert segment is not None
            top = max(top, segment.integer(_SEGMENT_NUMBER, 0))
    return Window(top / 2, top, "LINEAR_EXACT") if top > 0 else None


def default_window(
    stored: Rescale | Table, padding: tuple[float, float] | None, decoded: Decoded, below: int | None = None
) -> Window:
    """What stands in for a VOI LUT: the whole range of 8-bit values and of a Modality LUT table, else `automatic`.

    Stored values from `below` on are colours, and take no part in it.
    """
    if isinstance(stored, Table) or (decoded.pixels.dtype.kind == "u" and decoded.bits <= 8):
        return whole_range(stored, decoded.bits, False)
    sample = decoded.pixels.reshape(-1)
    sample = sample[:: max(1, sample.size // 1_000_000)]
    if padding is not None:
        sample = sample[(sample < padding[0]) | (sample > padding[1])]
    if below is not None:
        sample = sample[sample < below]
    few = counted(sample)
    if few is None:
        return automatic(modality_units(stored, sample))
    return automatic(modality_units(stored, few[0]), few[1])


def padding_of(image: Image, decoded: Decoded) -> tuple[float, float] | None:
    """The lowest and the highest stored value that mean "no image here" (PS3.3 C.7.5.1.1.2)."""
    attributes = image.attributes
    if decoded.pixels.dtype.kind == "f":
        tags = _FLOAT_PADDING if _FLOAT_PADDING[0] in attributes else _DOUBLE_PADDING
        limits = [value for tag in tags for value in attributes.numbers(tag)[:1]]
        return (min(limits), max(limits)) if tags[0] in attributes and limits else None
    return stored_padding(image, decoded.bits)


def stored_padding(image: Image, bits: int) -> tuple[float, float] | None:
    """The same of whole numbers, of which so many bits are stored."""
    found: list[int] = []
    for tag in (_PADDING, _PADDING_LIMIT):
        for word in image.attributes.words(tag)[:1]:
            # The bits are those of a stored value, under whatever VR they came.
            value = word & ((1 << bits) - 1)
            if image.layout.signed and value >> (bits - 1):
                value -= 1 << bits
            found.append(value)
    return (min(found), max(found)) if _PADDING in image.attributes and found else None
