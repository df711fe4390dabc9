"""Rendered resources and thumbnails: greys for the eye, as PNG, JPEG or GIF (PS3.18 sections 10.4.1.1.4, 8.3.5)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from isocenter.errors import BadRequest, NoSuchFrame, NotFound, PixelError
from isocenter.model import InstanceRef
from isocenter.pixels.state import is_state
from isocenter.std.implementation import IMPLEMENTATION_VERSION_NAME as VERSION
from isocenter.web.bulkdata import PIXEL_DATA, answer_alone, find_document
from isocenter.web.caching import unchanged, validated
from isocenter.web.cine import GIF, answer_cine
from isocenter.web.context import Context, context_of, scope_of
from isocenter.web.frames import frame_numbers
from isocenter.web.negotiate import Offer, accepted_ranges, frame_media_type, is_video, require
from isocenter.web.rendering import Rendering, by_state, parse_rendering, picture
from isocenter.web.wado import INSTANCE, SERIES, STUDY

THUMBNAIL = 128  # pixels, the longer side, if the client says nothing

# JPEG is what PS3.18 Table 8.7.4-1 makes the default of single frame images.
PICTURES = (Offer("image/jpeg"), Offer("image/png"))
_CANDIDATES = 9

# The viewer shows a PDF in a frame of its own page (frame-ancestors is stronger than X-Frame-Options: CSP3 6.4.2.2).
_READ_IN_PLACE = "default-src 'none'; frame-ancestors 'self'"
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
            return picture(context, ref, frame, rendering, media_type)
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
            return await answer_itself(request, refs[0], require(ranges, [itself]))
    # Of an instance frames can be seen to move; a thumbnail is a picture (section 10.4.1.1.5).
    moving = "instance" in request.path_params and default_viewport is None
    offer = require(ranges, (*PICTURES, GIF) if moving else PICTURES)
    rendering = parse_rendering(dict(request.query_params))
    if default_viewport is not None and "patient" in rendering.annotation:
        raise BadRequest("a thumbnail does not say whose it is (PS3.18 section 10.4.3.3.4)")
    if rendering.viewport is None:
        rendering = replace(rendering, viewport=default_viewport)
    numbers = frame_numbers(request) if "frames" in request.path_params else []
    if len(numbers) > 1 and offer != GIF:
        raise BadRequest("several frames can be rendered as image/gif, one as a picture")
    frame = numbers[0] if numbers else None
    if all(is_state(ref.sop_class) for ref in refs):
        image, frame, rendering = await by_state(context, refs[len(refs) // 2], rendering)
        refs = [image]
        numbers = [frame] if frame is not None else []
    fields = validated(
        context,
        *(ref.digest for ref in refs),
        rendering.state and rendering.state.digest,
        *(ref.digest for ref in rendering.over),
        *sorted(request.query_params.multi_items()),
        frame,
        *numbers,
        default_viewport,
        offer,
        VERSION,
        lasting="instance" in request.path_params,
        weak=True,
    )
    if answer := unchanged(request, fields):
        return answer
    if offer == GIF:
        return await answer_cine(request, refs[0], numbers, rendering, fields)
    shown = await anyio.to_thread.run_sync(
        _representative, context, refs, frame, rendering, offer.name, limiter=context.decoding
    )
    return Response(shown, 200, fields, media_type=offer.name)


def as_itself(ref: InstanceRef) -> Offer | None:
    """What renders itself, a document or a video, as what it is (PS3.18 Table 8.7.4-1); None for images."""
    if is_video(ref.transfer_syntax):
        return Offer(frame_media_type(ref.transfer_syntax))
    if ref.sop_class in _DOCUMENTS:
        return Offer(_DOCUMENTS[ref.sop_class])
    return None


async def answer_itself(request: Request, ref: InstanceRef, offer: Offer) -> Response:
    """The document or the video (as `as_itself` has it)."""
    context = context_of(request)
    path = PIXEL_DATA if is_video(ref.transfer_syntax) else _DOCUMENT
    place = await anyio.to_thread.run_sync(find_document, context, ref, path, limiter=context.decoding)
    fields = validated(context, ref.digest, path, offer, lasting=True)
    # A page that came as a document must not run as one of ours: only what browsers show in a viewer of its own.
    shown = offer.name == "application/pdf" or offer.name.startswith("video/")
    if offer.name == "application/pdf":
        fields["content-security-policy"] = _READ_IN_PLACE
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
