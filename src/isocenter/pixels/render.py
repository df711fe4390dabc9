"""A frame as it is to be seen: the grey chain or colours, shutter and overlays, colour space, size.

Greys are made by greys.py as one table. Colours come from a palette or a colour space, and go through the image's ICC
profile. What belongs to the picture's pixels (shutters, overlays) is laid over it before it is scaled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from isocenter.display.calibration import Characteristic
from isocenter.errors import PixelError, UsageError
from isocenter.pixels import icc
from isocenter.pixels.advanced import blended
from isocenter.pixels.annotate import annotated
from isocenter.pixels.blend import blend, moved, plane_of
from isocenter.pixels.codecs import Decoded
from isocenter.pixels.colour import WHITE, Ink, lay, to_rgb
from isocenter.pixels.greys import (
    Greys,
    Picture,
    default_window,
    display_modality,
    hidden_by,
    padding_of,
    segments_window,
    supplement_of,
)
from isocenter.pixels.header import Attributes
from isocenter.pixels.image import Image
from isocenter.pixels.mask import subtraction_of_image
from isocenter.pixels.overlay import Mask, overlays_of
from isocenter.pixels.palette import read_palette
from isocenter.pixels.resample import fitted, pixel_aspect, resize, squared
from isocenter.pixels.shutter import laid_over
from isocenter.pixels.state import ADVANCED_BLENDING, GRAYSCALE, PresentationState
from isocenter.pixels.voi import Rescale, Table, Window, automatic, modality_units, presentation, voi

FRAME_VOI_LUT, _FRAME_SHUTTER, _PIXEL_MEASURES = 0x00289132, 0x00189472, 0x00289110
_GREY = ("MONOCHROME1", "MONOCHROME2")


def render(
    image: Image,
    number: int = 1,
    *,
    window: tuple[float, float] | None = None,
    function: str = "LINEAR",
    size: tuple[int, int] | None = None,
    square: bool = False,
    invert: bool = False,
    display: Characteristic | None = None,
    state: PresentationState | None = None,
    over: Mapping[int, tuple[Image, int]] | None = None,
    subtract: bool = False,
    overlays: bool = True,
    shutter: bool = True,
    colours: str | None = "srgb",
    depth: int = 8,
    notes: list[str] | None = None,
) -> Picture:
    """Frame `number` (from 1) for a display: uint8, shape (rows, columns) for greys or (rows, columns, 3) for RGB.

    `window` (centre, width in Modality LUT units) with VOI LUT `function` replaces what the object says. Without either
    segmentations show all labels, 8-bit images their whole range, deeper ones the 0.5th to the 99.5th percentile.
    MONOCHROME1 and Presentation LUT Shape INVERSE turn the greys; `invert` turns the result.
    `size` (width, height) is a viewport: the picture is scaled, up or down, to the largest that fits and keeps its
    shape, with the pixel aspect ratio taken in. Without it pixels stay pixels, or with `square` the picture is
    stretched along one side until its pixels are square.
    `display`: greys are the driving levels that make equal steps look equal on this display of at most 256 levels
    (PS3.14); colours are left alone.
    `state`: a presentation state made for this frame stands in for all that the object says of its presentation, with
    its displayed area, turns, annotations and pixel shape; `window` (not with advanced blending) and `invert` come on
    top of it. A state that blends needs `over`: the image and frame of each input in `state.over` that lies over this.
    `subtract`: less the object's mask for the frame, if it has one (C.7.6.10); a state's is subtracted in any case.
    `overlays`: graphics of groups 60xx are laid over it in white, regions of interest as their outline. `shutter`: what
    the display shutter hides is filled. `colours`: the space of `icc.SPACES` that colours with an ICC profile are
    converted to; None leaves them.
    `depth` 16: greys are uint16, P-Values of 0 to 65,535, without `state` and `display`; colours have 8 bits.
    What is odd in overlays, shutter or profile is left out, and `notes` says so, as of a codestream unlike its header.
    Raises as `Image.decode`, PixelError for unusable palettes and tables, UsageError for `size`, `depth`, `display`.
    """
    if display is not None and display.levels[-1] > 255:
        raise UsageError("pictures have 8 bits: the display's characteristic curve has to end at level 255 or below")
    if depth != 8 and (depth != 16 or state is not None or display is not None):
        raise UsageError("pictures have 8 bits, or 16 without a presentation state and a display's curve")
    notes = [] if notes is None else notes
    if state is not None:
        _check(state, image, number, over, window, notes)
    decoded = image.decode(number)
    notes.extend(decoded.warnings)
    advanced = state is not None and state.kind == ADVANCED_BLENDING
    if state is not None and advanced:
        picture = _advanced(image, number, decoded, state, over or {}, colours, notes)
    elif decoded.photometric in _GREY and decoded.pixels.ndim == 2:
        greys, values = _chain(image, number, decoded, state, window, subtract, notes)
        if window is not None:
            greys = replace(greys, chosen=Window(*window, function))
        # What comes out of a blending is colours, which no display curve is for.
        greys = replace(
            greys, turned=greys.turned != invert, display=display if over is None else None, top=(1 << depth) - 1
        )
        picture = greys.apply(decoded, image.layout.signed) if values is None else greys.of_units(values, decoded)
        if state is not None and over:
            picture = _superimposed(image, number, state, picture, *over[1])
    else:
        picture = _colour(image, number, decoded)
    if picture.ndim == 3:
        if colours is not None and not advanced:
            profiled = state.attributes if state is not None and state.kind != GRAYSCALE else None
            picture = _converted(image, number, profiled, picture, colours, notes)
        picture = 255 - picture if invert and (decoded.pixels.ndim == 3 or advanced) else picture
    aspect = pixel_aspect(image.group(_PIXEL_MEASURES, number))
    if state is not None:
        return _presented(image, number, state, picture, aspect, size, display, notes)
    for covered, ink in _over(image, number, aspect, overlays, shutter, notes):
        picture = lay(picture, covered, ink, display)
    if size is not None:
        picture = resize(picture, *fitted(image.rows, image.columns, size, aspect))
    elif square:
        picture = resize(picture, *squared(image.rows, image.columns, aspect))
    return np.ascontiguousarray(picture)


def _check(
    state: PresentationState,
    image: Image,
    number: int,
    over: Mapping[int, tuple[Image, int]] | None,
    window: tuple[float, float] | None,
    notes: list[str],
) -> None:
    """Whether a state can be applied to this frame with what is there for it to lay over."""
    state.check(image, number)
    if bool(state.over) != (over is not None):
        raise PixelError("a blending state, and no other, needs an image to superimpose", frame=number)
    for missing in set(state.over).difference(over or ()):
        notes.append(f"nothing of input {missing} lies where frame {number} does")
    if window is not None and state.kind == ADVANCED_BLENDING:
        raise UsageError("advanced blending has a window for each of its inputs: it cannot be shown by one")


def _superimposed(
    image: Image, number: int, state: PresentationState, picture: Picture, other: Image, frame: int
) -> Picture:
    """The greys of `image` under what a blending state superimposes; where that has no pixels, or padding, alone."""
    if not state.covers(other, frame, input=1):
        raise PixelError("the presentation state does not superimpose this image", frame=frame)
    decoded = other.decode(frame)
    if decoded.photometric not in _GREY or decoded.pixels.ndim != 2:
        raise PixelError("only greys can be superimposed", frame=frame, tag_path="(0028,0004)")
    colours, seen = moved(
        state.greys(other, frame, decoded, input=1).apply(decoded, other.layout.signed),
        state.seen(other, frame, decoded, input=1), plane_of(other, frame), plane_of(image, number),
        (image.rows, image.columns),
    )  # fmt: skip
    return blend(_as_colours(picture), colours, seen, state.opacity)


def _advanced(
    image: Image,
    number: int,
    decoded: Decoded,
    state: PresentationState,
    over: Mapping[int, tuple[Image, int]],
    colours: str | None,
    notes: list[str],
) -> Picture:
    """What advanced blending makes of a frame and those that lie over it (PS3.4 N.2.6), in the space `colours`."""
    inputs = {}
    for input, (source, frame) in {0: (image, number), **over}.items():
        if not state.covers(source, frame, input=input):
            raise PixelError("the presentation state does not blend this image", frame=frame)
        if input:
            decoded = source.decode(frame)
        profiled: Attributes | None = None
        if decoded.photometric in _GREY and decoded.pixels.ndim == 2:
            picture = state.greys(source, frame, decoded, input=input).apply(decoded, source.layout.signed)
            seen = state.seen(source, frame, decoded, input=input)
            profiled = state.attributes if state.coloured(input=input) else None
        else:
            picture = _colour(source, frame, decoded)
            seen = np.ones(picture.shape[:2], np.bool_)
        if picture.ndim == 3 and colours is not None:
            picture = _converted(source, frame, profiled, picture, colours, notes)
        picture = _as_colours(picture)
        if input:
            planes = plane_of(source, frame), plane_of(image, number)
            picture, seen = moved(picture, seen, *planes, (image.rows, image.columns))
        inputs[input] = picture, seen
    return blended(inputs, state.steps, (image.rows, image.columns))


def _as_colours(picture: Picture) -> Picture:
    return picture if picture.ndim == 3 else np.repeat(picture[:, :, None], 3, axis=2)


def _presented(
    image: Image,
    number: int,
    state: PresentationState,
    picture: Picture,
    aspect: float,
    size: tuple[int, int] | None,
    display: Characteristic | None,
    notes: list[str],
) -> Picture:
    """What a state lays over the picture, which part it shows and how, and what it draws (PS3.4 N.2.5)."""
    for mask, ink in state.laid(image, number, aspect, notes):
        picture = lay(picture, mask, ink, display)
    spatial = state.spatial(image, number)
    return annotated(spatial.apply(picture, size), state, image, number, spatial, display, notes)


def _chain(
    image: Image,
    number: int,
    decoded: Decoded,
    state: PresentationState | None,
    window: tuple[float, float] | None,
    subtract: bool,
    notes: list[str],
) -> tuple[Greys, NDArray[np.float64] | None]:
    """The grey chain by a state, or else by the image's own header; the VOI LUT is any where `window` replaces it.

    Of a frame with a mask the values that are left go with it, and its VOI LUT is for them.
    """
    if state is not None:
        stored = state.modality(image, number)
        mask = state.subtraction(image, number)
    else:
        stored = display_modality(image, number)
        mask = subtraction_of_image(image, number) if subtract else None
    if mask is None and (subtract or (state is not None and state.subtracts)):
        notes.append(f"frame {number} has no mask: it is shown as it is")
    values = mask.difference(image, lambda pixels: modality_units(stored, pixels)) if mask is not None else None
    if state is not None:
        return state.greys(image, number, decoded, subtracted=mask is not None), values
    return _greys(image, number, decoded, stored, window, values), values


def _greys(
    image: Image,
    number: int,
    decoded: Decoded,
    stored: Rescale | Table,
    window: tuple[float, float] | None,
    values: NDArray[np.float64] | None,
) -> Greys:
    padding = padding_of(image, decoded)
    supplement = supplement_of(image, decoded)
    chosen: Window | Table | None = None
    if values is not None and window is None:
        # The object's own windows are for its frames as they are stored.
        hidden = hidden_by(padding, decoded.pixels)
        chosen = automatic(values if hidden is None else values[~hidden])
    elif window is None:
        negative = image.layout.signed or (isinstance(stored, Rescale) and stored.intercept < 0)
        below = supplement.first if supplement is not None else None
        chosen = voi(image.group(FRAME_VOI_LUT, number), negative) or segments_window(image)
        chosen = chosen or default_window(stored, padding, decoded, below)
    table, inverse = presentation(image.attributes)
    turned = decoded.photometric == "MONOCHROME1" or inverse
    return Greys(stored, chosen or Window(0.5, 1, "LINEAR_EXACT"), table, turned, padding, supplement=supplement)


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


def _converted(
    image: Image, number: int, state: Attributes | None, picture: Picture, target: str, notes: list[str]
) -> Picture:
    """`picture` in the space `target`, by the ICC profile of a presentation state or else of the image."""
    try:
        profile = icc.profile_in(state) if state is not None else b""
        profile = profile or icc.profile_of(image, number)
        return icc.convert(picture, profile, icc.space(target)) if profile else picture
    except PixelError as error:
        notes.append(f"colours are shown without their ICC profile: {error}")
        return picture


def _over(
    image: Image, number: int, aspect: float, overlays: bool, shutter: bool, notes: list[str]
) -> Iterator[tuple[Mask, Ink]]:
    """What the object lays over its pixels, in order."""
    planes = overlays_of(image.attributes, notes)
    source = image.group(_FRAME_SHUTTER, number) if shutter else None
    return laid_over(image, number, aspect, source, planes, [(one, WHITE) for one in planes if overlays], notes)
