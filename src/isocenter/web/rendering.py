"""Pictures as a query asks for them: the rendering parameters of PS3.18 section 8.3.5 and what they do.

The grey chain itself is `pixels.render`; here is what only the web has: a region of the image, captions burned into the
picture, and ICC profiles that travel with it.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from struct import pack
from typing import Final

import anyio.to_thread
import numpy as np

from isocenter.errors import BadRequest, NoSuchFrame, NotFound, PixelError
from isocenter.model import InstanceRef, Scope
from isocenter.pixels import icc
from isocenter.pixels.annotate import Picture, caption
from isocenter.pixels.blend import Plane, nearest, plane_of
from isocenter.pixels.header import Attributes
from isocenter.pixels.image import Image
from isocenter.pixels.pictures import encode
from isocenter.pixels.render import render
from isocenter.pixels.resample import fitted, pixel_aspect, resize
from isocenter.pixels.state import PresentationState, Reference
from isocenter.std.transfer_syntaxes import transfer_syntax
from isocenter.web.context import Context
from isocenter.wire.deflate import inflate
from isocenter.wire.elements import Buffer
from isocenter.wire.scan import scan

MAX_VIEWPORT = 16384
DEFAULT_QUALITY = 90
_MOST_REFERENCES = 500  # of a presentation state, that are looked for

_FUNCTIONS = {"linear": "LINEAR", "linear-exact": "LINEAR_EXACT", "sigmoid": "SIGMOID"}
_PROFILES = ("no", "yes", *icc.SPACES)
_NUMBER = re.compile(r"[+-]?\d{1,9}(?:\.\d{1,9})?", re.ASCII)
_PIXEL_MEASURES: Final = 0x00289110
# What `annotation` writes into the picture (section 8.3.5.1.1): who, and how it was taken; VR LO or PN
PATIENT: Final = ((0x00100010, "PN"), (0x00100020, "LO"), (0x00100030, "DA"), (0x00100040, "CS"))
TECHNIQUE: Final = (
    (0x00080060, "CS"), (0x00080020, "DA"), (0x00080030, "TM"), (0x0008103E, "LO"), (0x00180050, "DS"),
    (0x00180060, "DS"), (0x00181151, "IS"), (0x00180080, "DS"), (0x00180081, "DS"),
)  # fmt: skip
_CHARACTER_SET, _AFTER_CAPTIONS = 0x00080005, 0x00190000
_LONGEST_LINE = 64
_ANNOTATIONS = {"patient": PATIENT, "technique": TECHNIQUE}


@dataclass(frozen=True, slots=True)
class Rendering:
    """What the query asks for.

    `viewport` is (width, height) in pixels to fit the image into, `region` what of the image is shown: left, top, width
    and height in its pixels, where a negative width or height flips; with `relative`, parts of its sides (left, top,
    right, bottom of section 9). `state` is a presentation state to show the image by, `over` what it superimposes.
    """

    window: tuple[float, float] | None = None
    function: str = "LINEAR"
    viewport: tuple[int, int] | None = None
    region: tuple[float, float, float, float] | None = None
    relative: bool = False
    quality: int = DEFAULT_QUALITY
    annotation: tuple[str, ...] = ()
    profile: str = ""
    state: InstanceRef | None = None
    over: tuple[InstanceRef, ...] = ()


def _numbers(name: str, words: Sequence[str]) -> list[float]:
    if not all(_NUMBER.fullmatch(word) for word in words):
        raise BadRequest(f"{name} has something that is no number")
    return [float(word) for word in words]


def window_of(center: str, width: str, function: str) -> tuple[tuple[float, float], str]:
    """A window and its VOI LUT function. Raises BadRequest."""
    known = _FUNCTIONS.get(function.lower())
    if known is None:
        raise BadRequest("window is center,width,function with a function of linear, linear-exact or sigmoid")
    first, second = _numbers("window", (center, width))
    if second <= 0 or (known == "LINEAR" and second < 1):
        raise BadRequest("window width must be above zero, and at least one for linear (PS3.3 C.11.2.1.2)")
    return (first, second), known


def side(name: str, text: str) -> int:
    """A side of a viewport. Raises BadRequest."""
    number = _numbers(name, [text])[0]
    if not 1 <= number <= MAX_VIEWPORT:
        raise BadRequest(f"viewport sides are 1 to {MAX_VIEWPORT} pixels")
    return int(number)


def quality_of(text: str) -> int:
    """Raises BadRequest for anything but 1 to 100."""
    quality = _numbers("quality", [text])[0]
    if not (1 <= quality <= 100 and quality.is_integer()):
        raise BadRequest("quality is a whole number of 1 to 100")
    return int(quality)


def annotation_of(text: str) -> tuple[str, ...]:
    """Raises BadRequest for other words than the standard's."""
    words = tuple(word for word in text.split(",") if word)
    if not all(word in _ANNOTATIONS for word in words):
        raise BadRequest("annotation is patient, technique or both")
    return words


def parse_rendering(parameters: Mapping[str, str]) -> Rendering:
    """Query parameters of a rendering. Raises BadRequest for what is not of the form of section 8.3.5."""
    result = Rendering()
    if "window" in parameters:
        words = parameters["window"].split(",")
        if len(words) != 3:
            raise BadRequest("window is center,width,function with a function of linear, linear-exact or sigmoid")
        window, function = window_of(*words)
        result = replace(result, window=window, function=function)
    if "viewport" in parameters:
        words = parameters["viewport"].split(",")
        if len(words) not in (2, 6):
            raise BadRequest("viewport is width,height, or these and the left, top, width and height of a region")
        result = replace(result, viewport=(side("viewport", words[0]), side("viewport", words[1])))
        if any(words[2:]):
            left, top = _numbers("viewport", [word or "0" for word in words[2:4]])
            width, height = (_numbers("viewport", [word])[0] if word else 0.0 for word in words[4:6])
            result = replace(result, region=(left, top, width, height))
    if "quality" in parameters:
        result = replace(result, quality=quality_of(parameters["quality"]))
    if "annotation" in parameters:
        result = replace(result, annotation=annotation_of(parameters["annotation"]))
    if "iccprofile" in parameters:
        if parameters["iccprofile"] not in _PROFILES:
            raise BadRequest(f"iccprofile is one of {', '.join(_PROFILES)}")
        result = replace(result, profile=parameters["iccprofile"])
    return result


async def by_state(
    context: Context, ref: InstanceRef, rendering: Rendering
) -> tuple[InstanceRef, int | None, Rendering]:
    """What a presentation state is rendered as: the first image here that it was made for, by it, and which frame of
    that (section 10.4.1.1.3). Raises NotFound if none is here."""
    references = await _references(context, ref)
    for reference in references[:_MOST_REFERENCES]:
        if reference.input:
            continue
        try:
            found = await context.archive.select(Scope(reference.study, reference.series, reference.instance or None))
        except NotFound:
            continue
        frame = reference.frames[0] if reference.frames else None
        return found[len(found) // 2], frame, await _under(context, ref, references, rendering)
    raise NotFound("none of the images is here that the presentation state was made for")


async def under_state(context: Context, ref: InstanceRef, rendering: Rendering) -> Rendering:
    """The same rendering under the presentation state `ref`."""
    return await _under(context, ref, await _references(context, ref), rendering)


async def _references(context: Context, ref: InstanceRef) -> tuple[Reference, ...]:
    """The images that a state names, which are so many that a slice of them is looked for."""

    def read() -> tuple[Reference, ...]:
        with context.archive.blob(ref) as blob, blob.view() as view:
            return PresentationState.of(view, ref.transfer_syntax, ref.data_set_offset, context.limits).references

    return await anyio.to_thread.run_sync(read, limiter=context.decoding)


async def _under(
    context: Context, ref: InstanceRef, references: Sequence[Reference], rendering: Rendering
) -> Rendering:
    over: list[InstanceRef] = []
    wanted = [reference for reference in references if reference.input]
    named = {reference.instance for reference in wanted}  # "" for all of a series
    for study, series in dict.fromkeys((one.study, one.series) for one in wanted):
        whole = any(one.series == series and not one.instance for one in wanted)
        try:
            found = await context.archive.select(Scope(study, series))
        except NotFound:
            continue
        over += [one for one in found if whole or one.instance in named]
    if wanted and not 0 < len(over) <= _MOST_REFERENCES:
        raise PixelError("what the presentation state superimposes is not here, or is too much to look through")
    return replace(rendering, state=ref, over=tuple(over))


def picture(context: Context, ref: InstanceRef, frame: int | None, rendering: Rendering, media_type: str) -> bytes:
    """One encoded picture; blocking. `frame` None is the middle one, which says most about an object."""
    with context.archive.image(ref) as image:
        number = (image.number_of_frames + 1) // 2 if frame is None else frame
        if number > image.number_of_frames:
            raise NoSuchFrame(f"Number of Frames is {image.number_of_frames}", frame=number)
        pixels = shown(context, ref, image, number, rendering)
        profile = b""
        if rendering.profile not in ("", "no") and pixels.ndim == 3:
            own = icc.profile_of(image, number) if rendering.profile == "yes" else b""
            profile = own or icc.space("srgb" if rendering.profile == "yes" else rendering.profile)
    return _with_profile(encode(pixels, media_type, rendering.quality), media_type, profile)


def shown(context: Context, ref: InstanceRef, image: Image, number: int, rendering: Rendering) -> Picture:
    """Frame `number` of `image`, which is that of `ref`, with its caption; blocking."""
    pixels = _rendered(context, image, number, rendering)
    return caption(pixels, _words(context, ref, rendering.annotation)) if rendering.annotation else pixels


def _rendered(context: Context, image: Image, number: int, rendering: Rendering) -> Picture:
    colours: str | None = "srgb"
    if rendering.profile in ("no", "yes"):
        colours = None
    elif rendering.profile:
        colours = rendering.profile
    size = rendering.viewport if rendering.region is None else None
    if rendering.state is None:
        shown = render(image, number, window=rendering.window, function=rendering.function, size=size, colours=colours)
        return shown if rendering.region is None else _region(shown, image, number, rendering)
    ref = rendering.state
    with ExitStack() as stack:
        view = stack.enter_context(stack.enter_context(context.archive.blob(ref)).view())
        state = PresentationState.of(view, ref.transfer_syntax, ref.data_set_offset, context.limits)
        over = _superimposed(context, stack, rendering.over, state, image, number) if state.over else None
        return render(
            image,
            number,
            window=rendering.window,
            function=rendering.function,
            size=rendering.viewport,
            colours=colours,
            state=state,
            over=over,
        )


def _superimposed(
    context: Context,
    stack: ExitStack,
    refs: Sequence[InstanceRef],
    state: PresentationState,
    image: Image,
    number: int,
) -> dict[int, tuple[Image, int]]:
    """What a state that blends lays over a frame, by input: the frames in the nearest parallel planes."""
    places: dict[int, list[tuple[InstanceRef, int]]] = {input: [] for input in state.over}
    planes: dict[int, list[Plane | None]] = {input: [] for input in state.over}
    for ref in refs:
        with context.archive.image(ref) as other:
            for frame in range(1, min(other.number_of_frames, _MOST_REFERENCES) + 1):
                for input in state.over:
                    if state.covers(other, frame, input=input):
                        places[input].append((ref, frame))
                        planes[input].append(plane_of(other, frame))
    shown = {}
    for input, found in places.items():
        if not found:
            raise PixelError("an image that the presentation state superimposes is not here", frame=number)
        index = nearest(plane_of(image, number), planes[input])
        if index is not None:
            ref, frame = found[index]
            shown[input] = stack.enter_context(context.archive.image(ref)), frame
    return shown


def _region(shown: Picture, image: Image, number: int, rendering: Rendering) -> Picture:
    """The part of the picture that is asked for, scaled to the viewport."""
    assert rendering.region is not None
    rows, columns = shown.shape[:2]
    left, top, across, down = rendering.region
    if rendering.relative:
        left, top, across, down = left * columns, top * rows, (across - left) * columns, (down - top) * rows
    across, down = across or columns - left, down or rows - top
    first, last = round(left), round(left + abs(across))
    upper, lower = round(top), round(top + abs(down))
    if not (0 <= first < last <= columns and 0 <= upper < lower <= rows):
        raise BadRequest("the region is not within the image")
    part = shown[upper:lower, first:last]
    part = np.ascontiguousarray(part[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1])
    if rendering.viewport is None:
        return part
    aspect = pixel_aspect(image.group(_PIXEL_MEASURES, number))
    height, width = fitted(part.shape[0], part.shape[1], rendering.viewport, aspect)
    return resize(part, height, width)


def _words(context: Context, ref: InstanceRef, parts: Sequence[str]) -> list[str]:
    """The lines that `annotation` asks for; what is absent is left out."""
    wanted = [tag for part in parts for tag in _ANNOTATIONS[part]]
    syntax = transfer_syntax(ref.transfer_syntax)
    with context.archive.blob(ref) as blob, blob.view() as view:
        buf: Buffer = view
        start = ref.data_set_offset
        if syntax.deflated:
            buf, start = inflate(view[start:], context.limits), 0
        found = scan(
            buf,
            little=syntax.little,
            explicit=syntax.explicit,
            start=start,
            wanted=frozenset({_CHARACTER_SET, *(tag for tag, _ in wanted)}),
            stop=_AFTER_CAPTIONS,
            limits=context.limits,
            whole=False,
        )
        values = Attributes(buf, found.elements, little=syntax.little, explicit=syntax.explicit, limits=context.limits)
        lines = [values.prose(tag, vr).replace("^", " ").replace("=", " ") for tag, vr in wanted if tag in values]
    return [" ".join(line.split())[:_LONGEST_LINE] for line in lines if line.split()]


def _with_profile(data: bytes, media_type: str, profile: bytes) -> bytes:
    """The file with an ICC profile in it: PNG iCCP chunk (PNG section 11.3.2.3), JPEG APP2 segments (ICC.1 B.4)."""
    if not profile:
        return data
    if media_type == "image/png":
        body = b"iCCP" + b"icc\0\0" + zlib.compress(profile)
        chunk = pack(">I", len(body) - 4) + body + pack(">I", zlib.crc32(body))
        return data[:33] + chunk + data[33:]  # after signature and IHDR
    at = 2
    while data[at : at + 2] == b"\xff\xe0":  # JFIF comes first
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    pieces = [profile[start : start + 65519] for start in range(0, len(profile), 65519)]
    segments = b"".join(
        b"\xff\xe2" + pack(">H", 16 + len(piece)) + b"ICC_PROFILE\0" + bytes((number, len(pieces))) + piece
        for number, piece in enumerate(pieces, 1)
    )
    return data[:at] + segments + data[at:]
