"""A frame's greys in a few numbers, where numbers say all: what a page needs beside the samples to show them at once.

Most greys are: a slope, a window, perhaps padding, and nothing laid over them. A page that has these numbers with its
first line need not read a header, and shows what `render` makes, pixel by pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from isocenter.errors import PixelError
from isocenter.pixels.greys import display_modality, may_colour, segments_window, stored_padding
from isocenter.pixels.image import Image
from isocenter.pixels.overlay import overlays_of
from isocenter.pixels.render import FRAME_VOI_LUT
from isocenter.pixels.resample import pixel_aspect
from isocenter.pixels.shutter import shutter_of
from isocenter.pixels.voi import Rescale, Table, Window, presentation, voi

_FRAME_SHUTTER, _PIXEL_MEASURES = 0x00189472, 0x00289110


@dataclass(frozen=True, slots=True)
class PlainGreys:
    """`signed` samples of 8 or 16 bits, the lowest `bits_stored` of which are the stored value (PS3.5 section 8.1.1),
    and the grey chain of PS3.3 C.11 for them. Without a `window` it is found as for any frame without one."""

    bits_allocated: int
    bits_stored: int
    signed: bool
    rescale: Rescale
    window: Window | None
    inverse: bool
    padding: tuple[float, float] | None


def plain_greys(image: Image, number: int) -> PlainGreys | None:
    """How the samples of frame `number` (from 1) become greys; None where that takes tables, covers, or colours, or the
    header cannot be read."""
    layout, attributes = image.layout, image.attributes
    if (
        layout.samples != 1
        or not layout.photometric.startswith("MONOCHROME")
        or layout.floating
        or layout.bits_allocated not in (8, 16)
    ):
        return None
    if layout.high_bit != layout.bits_stored - 1 or layout.bits_stored > layout.bits_allocated:
        return None
    try:
        rescale = display_modality(image, number)
        window = voi(image.group(FRAME_VOI_LUT, number), layout.signed) or segments_window(image)
        table, inverse = presentation(attributes)
        covered = overlays_of(attributes) or shutter_of(image.group(_FRAME_SHUTTER, number))
        padding = stored_padding(image, layout.bits_stored)
    except PixelError:
        return None
    if isinstance(rescale, Table) or isinstance(window, Table) or table or covered or may_colour(attributes):
        return None
    if not (isfinite(rescale.slope) and isfinite(rescale.intercept)):
        return None
    turned = inverse or layout.photometric == "MONOCHROME1"
    return PlainGreys(layout.bits_allocated, layout.bits_stored, layout.signed, rescale, window, turned, padding)


def shown_aspect(image: Image, number: int) -> float:
    """Height of a frame's pixels over their width, as its picture is stretched."""
    return pixel_aspect(image.group(_PIXEL_MEASURES, number))
