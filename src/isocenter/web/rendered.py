"""Rendered resources and thumbnails: greys for the eye, as PNG or JPEG (PS3.18 sections 10.4.1.1.4, 8.3.5)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from isocenter.errors import BadRequest, NoSuchFrame, NotFound, PixelError
from isocenter.model import InstanceRef
from isocenter.pixels.render import encode, render
from isocenter.std.implementation import IMPLEMENTATION_VERSION_NAME as VERSION
from isocenter.web.bulkdata import PIXEL_DATA, answer_alone, find_document
from isocenter.web.caching import unchanged, validated
from isocenter.web.context import Context, base_url, context_of, scope_of
from isocenter.web.frames import frame_numbers
from isocenter.web.negotiate import Offer, accepted_ranges, frame_media_type, is_video, require
from isocenter.web.wado import INSTANCE, SERIES, STUDY

THUMBNAIL = 128  # pixels, the longer side, if the client says nothing
MAX_VIEWPORT = 16384
DEFAULT_QUALITY = 90

# JPEG is what PS3.18 Table 8.7.4-1 makes the default of single frame images.
_OFFERS = (Offer("image/jpeg"), Offer("image/png"))
_FUNCTIONS = {"linear": "LINEAR", "linear-exact": "LINEAR_EXACT", "sigmoid": "SIGMOID"}
_NUMBER = re.compile(r"[+-]?\d{1,9}(?:\.\d{1,9})?", re.ASCII)
_UNSUPPORTED = ("annotation", "iccprofile")
_CANDIDATES = 9

_DOCUMENT = "00420011"
# PS3.3 A.45: what an Encapsulated Document is, by its SOP class
_DOCUMENTS = {
    "1.2.840.10008.5.1.4.1.1.104.1": "application/pdf",
    "1.2.840.10008.5.1.4.1.1.104.2": "text/xml",
    "1.2.840.10008.5.1.4.1.1.104.3": "model/stl",
    "1.2.840.10008.5.1.4.1.1.104.4": "model/obj",
    "1.2.840.10008.5.1.4.1.1.104.5": "model/mtl",
}
_ENDINGS = {
    "application/pdf": ".pdf",
    "text/xml": ".xml",
    "model/stl": ".stl",
    "model/obj": ".obj",
    "model/mtl": ".mtl",
    "video/mpeg": ".mpg",
    "video/mp4": ".mp4",
    "video/H265": ".mp4",
}


@dataclass(frozen=True, slots=True)
class Rendering:
    """What the query asks for. `viewport` is (width, height) in pixels to fit the image into."""

    window: tuple[float, float] | None = None
    function: str = "LINEAR"
    viewport: tuple[int, int] | None = None
    quality: int = DEFAULT_QUALITY


def _numbers(name: str, words: Sequence[str]) -> list[float]:
    if not all(_NUMBER.fullmatch(word) for word in words):
        raise BadRequest(f"{name} has something that is no number")
    return [float(word) for word in words]


def _viewport(text: str) -> tuple[int, int]:
    words = text.split(",")
    if len(words) == 6 and not any(words[2:]):
        words = words[:2]
    if len(words) != 2:
        raise BadRequest("viewport is width,height; a source region is not supported")
    width, height = _numbers("viewport", words)
    if not (1 <= width <= MAX_VIEWPORT and 1 <= height <= MAX_VIEWPORT):
        raise BadRequest(f"viewport sides are 1 to {MAX_VIEWPORT} pixels")
    return int(width), int(height)


def parse_rendering(parameters: dict[str, str]) -> Rendering:
    """Query parameters of a rendering. Raises BadRequest for what is not of the form of section 8.3.5."""
    result = Rendering()
    if "window" in parameters:
        words = parameters["window"].split(",")
        function = _FUNCTIONS.get(words[2].lower()) if len(words) == 3 else None
        if function is None:
            raise BadRequest("window is center,width,function with a function of linear, linear-exact or sigmoid")
        center, width = _numbers("window", words[:2])
        if width <= 0 or (function == "LINEAR" and width < 1):
            raise BadRequest("window width must be above zero, and at least one for linear (PS3.3 C.11.2.1.2)")
        result = replace(result, window=(center, width), function=function)
    if "viewport" in parameters:
        result = replace(result, viewport=_viewport(parameters["viewport"]))
    if "quality" in parameters:
        quality = _numbers("quality", [parameters["quality"]])[0]
        if not (1 <= quality <= 100 and quality.is_integer()):
            raise BadRequest("quality is a whole number of 1 to 100")
        result = replace(result, quality=int(quality))
    return result


def _picture(context: Context, ref: InstanceRef, frame: int | None, rendering: Rendering, media_type: str) -> bytes:
    """One encoded picture; blocking. `frame` None is the middle one, which says most about an object."""
    with context.archive.image(ref) as image:
        number = (image.number_of_frames + 1) // 2 if frame is None else frame
        if number > image.number_of_frames:
            raise NoSuchFrame(f"the object has {image.number_of_frames} frames", frame=number)
        pixels = render(image, number, window=rendering.window, function=rendering.function, size=rendering.viewport)
    return encode(pixels, media_type, rendering.quality)


def _candidates(refs: Sequence[InstanceRef]) -> list[InstanceRef]:
    """Instances from the middle outwards, a few: the representative one must have pixels (section 10.4.1.1.4)."""
    middle = (len(refs) - 1) / 2
    step = max(1, len(refs) // _CANDIDATES)
    order = sorted(range(0, len(refs), step), key=lambda index: abs(index - middle))
    return [refs[index] for index in order[: _CANDIDATES + 1]]


def _representative(
    context: Context, refs: Sequence[InstanceRef], frame: int | None, rendering: Rendering, media_type: str
) -> bytes:
    failure: PixelError | None = None
    for ref in _candidates(refs):
        try:
            return _picture(context, ref, frame, rendering, media_type)
        except NoSuchFrame:
            raise
        except PixelError as error:
            failure = error
    raise failure or NotFound("nothing here can be rendered")


async def _respond(request: Request, default_viewport: tuple[int, int] | None) -> Response:
    context = context_of(request)
    ranges = accepted_ranges(request)
    refs = await context.archive.select(scope_of(request))
    if len(refs) == 1 and default_viewport is None and "frames" not in request.path_params:
        itself = as_itself(refs[0])
        if itself is not None:
            return await _answer_itself(request, refs[0], require(ranges, [itself]))
    offer = require(ranges, _OFFERS)
    rendering = parse_rendering(dict(request.query_params))
    if rendering.viewport is None:
        rendering = replace(rendering, viewport=default_viewport)
    frame = None
    if "frames" in request.path_params:
        numbers = frame_numbers(request)
        if len(numbers) != 1:
            raise BadRequest("one frame can be rendered at a time")
        frame = numbers[0]
    fields = validated(
        context,
        *(ref.digest for ref in refs),
        *sorted(request.query_params.multi_items()),
        frame,
        default_viewport,
        offer,
        VERSION,
        lasting="instance" in request.path_params,
        weak=True,
    )
    if answer := unchanged(request, fields):
        return answer
    picture = await anyio.to_thread.run_sync(
        _representative, context, refs, frame, rendering, offer.name, limiter=context.decoding
    )
    response = Response(picture, 200, fields, media_type=offer.name)
    ignored = [name for name in _UNSUPPORTED if name in request.query_params]
    if ignored:
        base = base_url(request)
        response.headers["warning"] = f"299 {base}: These parameters are not supported: {', '.join(ignored)}"
    return response


def as_itself(ref: InstanceRef) -> Offer | None:
    """What renders itself, a document or a video, as what it is (PS3.18 Table 8.7.4-1); None for images."""
    if is_video(ref.transfer_syntax):
        return Offer(frame_media_type(ref.transfer_syntax))
    if ref.sop_class in _DOCUMENTS:
        return Offer(_DOCUMENTS[ref.sop_class])
    return None


async def _answer_itself(request: Request, ref: InstanceRef, offer: Offer) -> Response:
    context = context_of(request)
    path = PIXEL_DATA if is_video(ref.transfer_syntax) else _DOCUMENT
    place = await anyio.to_thread.run_sync(find_document, context, ref, path, limiter=context.decoding)
    fields = validated(context, ref.digest, path, offer, lasting=True)
    # A page that came as a document must not run as one of ours: only what browsers show in a viewer of its own.
    shown = offer.name == "application/pdf" or offer.name.startswith("video/")
    fields["content-disposition"] = (
        f'{"inline" if shown else "attachment"}; filename="{ref.instance}{_ENDINGS[offer.name]}"'
    )
    if answer := unchanged(request, fields):
        return answer
    return await answer_alone(request, ref, place, offer.name, offer, fields)


async def rendered(request: Request) -> Response:
    """A picture of a frame, an instance, or the representative instance of a series or study."""
    return await _respond(request, None)


async def thumbnail(request: Request) -> Response:
    """The same in small."""
    return await _respond(request, (THUMBNAIL, THUMBNAIL))


def routes() -> Iterator[Route]:
    """Tables 10.4.1-3 (rendered) and 10.4.1-6 (thumbnails)."""
    for path in (STUDY, SERIES, INSTANCE, f"{INSTANCE}/frames/{{frames}}"):
        yield Route(f"{path}/rendered", rendered, methods=["GET"])
        yield Route(f"{path}/thumbnail", thumbnail, methods=["GET"])
