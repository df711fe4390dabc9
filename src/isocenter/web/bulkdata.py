"""Bulk data: the values that metadata names by BulkDataURI instead of holding them (PS3.18 section 10.4.1.1.5).

A path below an instance's `/bulkdata` is that of the element, item numbers from 1: "7FE00010", "00540016/1/00181074".
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from typing import NamedTuple

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from isocenter.errors import BadRequest, LimitExceeded
from isocenter.model import InstanceRef
from isocenter.pixels.image import Image
from isocenter.std.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, transfer_syntax
from isocenter.web.body import in_threads, primed, stored_bytes, streamed
from isocenter.web.context import Context, base_url, context_of, instance_of
from isocenter.web.frames import frame_bytes, frame_offers
from isocenter.web.negotiate import OCTET_STREAM, Offer, accepted_ranges, frame_media_type, require
from isocenter.web.wado import INSTANCE, multipart_type, new_boundary
from isocenter.wire.deflate import inflate
from isocenter.wire.dicomjson import find_bulk, little_endian
from isocenter.wire.elements import Buffer, Element
from isocenter.wire.fragments import encapsulated_fragments
from isocenter.wire.multipart import MultipartWriter

PIXEL_DATA = "7FE00010"

_PATH = re.compile(r"[0-9A-Fa-f]{8}(?:/\d{1,6}/[0-9A-Fa-f]{8}){0,64}", re.ASCII)


class _Place(NamedTuple):
    """Where a value is: an element, and for pixel data in fragments at the top level the number of frames."""

    element: Element
    frames: int | None


def _find(context: Context, ref: InstanceRef, path: str) -> _Place:
    with closing(context.archive.blob(ref)) as blob, blob.view() as view:
        buf, start = _data_set(context, ref, view)
        element = find_bulk(buf, ref.transfer_syntax, path, start=start, limits=context.limits)
        frames = None
        if element.length < 0 and path.upper() == PIXEL_DATA:
            image = Image.of(view, ref.transfer_syntax, ref.data_set_offset, context.limits)
            frames = image.number_of_frames
        return _Place(element, frames)


def _data_set(context: Context, ref: InstanceRef, view: memoryview) -> tuple[Buffer, int]:
    """The buffer that the element's offsets count in, and where the data set begins in it."""
    if transfer_syntax(ref.transfer_syntax).deflated:
        return inflate(view[ref.data_set_offset :], context.limits), 0
    return view, ref.data_set_offset


def _value(context: Context, ref: InstanceRef, element: Element) -> bytes:
    """A value that cannot be handed out straight from the file: deflated, big endian, or in nested fragments."""
    syntax = transfer_syntax(ref.transfer_syntax)
    if element.length > context.limits.header_bytes:
        raise LimitExceeded(f"a value of {element.length} bytes is over limits.header_bytes")
    with closing(context.archive.blob(ref)) as blob, blob.view() as view:
        buf, _ = _data_set(context, ref, view)
        if element.length < 0:
            _, fragments = encapsulated_fragments(buf, element.offset, len(buf), context.limits)
            return b"".join(bytes(buf[offset : offset + length]) for offset, length in fragments)
        raw = memoryview(buf)[element.offset : element.offset + element.length]
        return little_endian(raw, element.vr, syntax.little)


def _bodies(
    context: Context, ref: InstanceRef, place: _Place, offer: Offer
) -> tuple[AsyncIterator[bytes], int | None, bool]:
    """The value's pieces, its length if known, and whether each piece is a part of its own (compressed frames)."""
    element, frames = place
    syntax = transfer_syntax(ref.transfer_syntax)
    if frames is not None:
        stored = offer.transfer_syntax == ref.transfer_syntax
        pieces = frame_bytes(context, ref, range(1, frames + 1), stored)
        return in_threads(pieces, context.decoding), None, stored
    if element.length >= 0 and syntax.little and not syntax.deflated:
        end = element.offset + element.length
        return stored_bytes(context, ref, element.offset, end), element.length, False

    def once() -> Iterator[bytes]:
        yield _value(context, ref, element)

    return in_threads(once(), context.decoding), None, False


def _offers(place: _Place, syntax: str) -> list[Offer]:
    if place.frames is not None:
        return frame_offers(syntax, single=place.frames == 1)
    if place.element.length < 0:
        names = (frame_media_type(syntax), OCTET_STREAM)
        return [Offer(name, multipart, syntax) for multipart in (True, False) for name in names]
    return [Offer(OCTET_STREAM, multipart, EXPLICIT_VR_LITTLE_ENDIAN) for multipart in (True, False)]


async def retrieve_bulkdata(request: Request) -> Response:
    """One value: a part, or the body itself if the client asks for that; compressed frames are a part each."""
    context = context_of(request)
    path = request.path_params["path"]
    if not _PATH.fullmatch(path):
        raise BadRequest("the bulk data path is not one of tags and item numbers")
    ranges = accepted_ranges(request)
    location = f"{base_url(request)}{request.url.path.partition('/dicomweb')[2]}"
    ref = await instance_of(request)
    place = await anyio.to_thread.run_sync(_find, context, ref, path, limiter=context.decoding)
    offer = require(ranges, _offers(place, ref.transfer_syntax))
    pieces, length, many = _bodies(context, ref, place, offer)
    pieces = await primed(pieces)
    if not offer.multipart:
        return streamed(request, pieces, offer.part_type(), length)
    boundary = new_boundary()
    writer = MultipartWriter(boundary)

    async def parts() -> AsyncIterator[bytes]:
        fields = {"Content-Type": offer.part_type(), "Content-Location": location}
        if not many:
            yield writer.part(fields)
        async for piece in pieces:
            if many:
                yield writer.part(fields)
            yield piece
        yield writer.end()

    return streamed(request, parts(), multipart_type(offer.name, boundary), None)


def routes() -> Iterator[Route]:
    """Table 10.4.1-5."""
    yield Route(f"{INSTANCE}/bulkdata/{{path:path}}", retrieve_bulkdata, methods=["GET"])
