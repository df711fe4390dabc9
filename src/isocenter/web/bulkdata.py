"""Bulk data: the values that metadata names by BulkDataURI instead of holding them (PS3.18 section 10.4.1.1.5).

A path below an instance's `/bulkdata` is that of the element, item numbers from 1: "7FE00010", "00540016/1/00181074".
`/bulkdata` of a study, series or instance is all that its metadata name, and `/pixeldata` what of it is the pixel data
(section 10.4.1.1.6). Which values these are is read from the metadata, so that both say the same.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing, closing, suppress
from functools import partial
from typing import Any, NamedTuple

import anyio.to_thread
import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from isocenter.errors import BadRequest, LimitExceeded, NotFound, PixelError
from isocenter.model import InstanceRef, Scope
from isocenter.std.implementation import IMPLEMENTATION_VERSION_NAME as VERSION
from isocenter.std.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, transfer_syntax
from isocenter.web.body import in_threads, multipart_type, new_boundary, primed, stored_bytes, streamed
from isocenter.web.caching import ranged, unchanged, validated
from isocenter.web.context import Context, base_url, context_of, instance_of, scope_of
from isocenter.web.frames import frame_bytes, frame_offers
from isocenter.web.negotiate import (
    OCTET_STREAM,
    Offer,
    Range,
    accepted_ranges,
    choose,
    frame_media_type,
    is_video,
    not_acceptable,
    require,
)
from isocenter.web.unread import Piece
from isocenter.web.wado import INSTANCE, SERIES, STUDY
from isocenter.wire.deflate import inflate
from isocenter.wire.dicomjson import find_bulk, little_endian
from isocenter.wire.elements import Buffer, Element
from isocenter.wire.fragments import encapsulated_fragments
from isocenter.wire.multipart import MultipartWriter
from isocenter.wire.values import numbers

PIXEL_DATA = "7FE00010"
_PIXELS = (PIXEL_DATA, "7FE00008", "7FE00009")  # also as floating point numbers

_PATH = re.compile(r"[0-9A-Fa-f]{8}(?:/\d{1,6}/[0-9A-Fa-f]{8}){0,64}", re.ASCII)


class Place(NamedTuple):
    """Where a value is: an element; for compressed images at the top level the number of frames, for other fragments,
    such as video, what they are made of, (offset, length) each."""

    element: Element
    frames: int | None = None
    fragments: tuple[tuple[int, int], ...] = ()


def find(context: Context, ref: InstanceRef, path: str) -> Place:
    """The place of the value at `path`; blocking. Raises NotFound."""
    with closing(context.archive.blob(ref)) as blob, blob.view() as view:
        buf, start = _data_set(context, ref, view)
        element = find_bulk(buf, ref.transfer_syntax, path, start=start, limits=context.limits)
        if element.length >= 0:
            return Place(element)
        if path.upper() == PIXEL_DATA and not is_video(ref.transfer_syntax):
            with context.archive.image(ref) as image:
                return Place(element, image.number_of_frames)
        if transfer_syntax(ref.transfer_syntax).deflated:
            raise PixelError("fragments in a deflated data set")
        _, fragments = encapsulated_fragments(buf, element.offset, len(buf), context.limits)
        return Place(element, None, tuple(fragments))


def find_document(context: Context, ref: InstanceRef, path: str) -> Place:
    """As `find`, without the padding that Encapsulated Document Length (0042,0015) tells of; blocking."""
    place = find(context, ref, path)
    with closing(context.archive.blob(ref)) as blob, blob.view() as view, suppress(NotFound):
        buf, start = _data_set(context, ref, view)
        told = find_bulk(buf, ref.transfer_syntax, "00420015", start=start, limits=context.limits)
        lengths = numbers(bytes(buf[told.offset : told.offset + 4]), "UL", transfer_syntax(ref.transfer_syntax).little)
        if lengths == [place.element.length - 1]:
            return place._replace(element=place.element._replace(length=place.element.length - 1))
    return place


def _data_set(context: Context, ref: InstanceRef, view: memoryview) -> tuple[Buffer, int]:
    """The buffer that the element's offsets count in, and where the data set begins in it."""
    if transfer_syntax(ref.transfer_syntax).deflated:
        return inflate(view[ref.data_set_offset :], context.limits), 0
    return view, ref.data_set_offset


def _value(context: Context, ref: InstanceRef, element: Element) -> bytes:
    """A value that cannot be handed out straight from the file: deflated or big endian."""
    syntax = transfer_syntax(ref.transfer_syntax)
    if element.length > context.limits.header_bytes:
        raise LimitExceeded(f"a value of {element.length} bytes is over limits.header_bytes")
    with closing(context.archive.blob(ref)) as blob, blob.view() as view:
        buf, _ = _data_set(context, ref, view)
        raw = memoryview(buf)[element.offset : element.offset + element.length]
        return little_endian(raw, element.vr, syntax.little)


def _spans(ref: InstanceRef, place: Place) -> tuple[tuple[int, int], ...] | None:
    """Where the value's bytes are in the file as they are to be sent; None if they are not."""
    syntax = transfer_syntax(ref.transfer_syntax)
    if syntax.deflated or place.frames is not None:
        return None
    if place.element.length < 0:
        return place.fragments
    return ((place.element.offset, place.element.length),) if syntax.little else None


async def _read(
    context: Context, ref: InstanceRef, spans: Sequence[tuple[int, int]], start: int, end: int
) -> AsyncGenerator[Piece, None]:
    """Bytes `start` to before `end` of what the spans are together."""
    for offset, length in spans:
        if start < length and end > 0:
            first, last = offset + max(start, 0), offset + min(end, length)
            async with aclosing(stored_bytes(context, ref, first, last)) as pieces:
                async for piece in pieces:
                    yield piece
        start, end = start - length, end - length


def _pieces(context: Context, ref: InstanceRef, place: Place, offer: Offer) -> tuple[AsyncGenerator[Piece, None], bool]:
    """The value's pieces, and whether each is a part of its own, as compressed frames are."""
    spans = _spans(ref, place)
    if spans is not None:
        return _read(context, ref, spans, 0, sum(length for _, length in spans)), False
    if place.frames is not None:
        stored = offer.transfer_syntax == ref.transfer_syntax
        frames = frame_bytes(context, ref, range(1, place.frames + 1), offer)
        return in_threads(frames, context.decoding), offer.name != OCTET_STREAM or stored

    def once() -> Iterator[bytes]:
        yield _value(context, ref, place.element)

    return in_threads(once(), context.decoding), False


def _offers(place: Place, syntax: str) -> Sequence[Offer]:
    if place.frames is not None:
        return frame_offers(syntax, single=place.frames == 1)
    if place.element.length < 0:
        names = (frame_media_type(syntax), OCTET_STREAM)
        return [Offer(name, multipart, syntax) for multipart in (True, False) for name in names]
    return [Offer(OCTET_STREAM, multipart, EXPLICIT_VR_LITTLE_ENDIAN) for multipart in (True, False)]


async def answer_alone(
    request: Request, ref: InstanceRef, place: Place, content_type: str, offer: Offer, fields: Mapping[str, str]
) -> Response:
    """The value as the body, or the range of it that is asked for where its bytes are at hand."""
    context = context_of(request)
    spans = _spans(ref, place)
    if spans is not None:
        length = sum(length for _, length in spans)
        return await ranged(request, partial(_read, context, ref, spans), content_type, length, fields)
    pieces, _ = _pieces(context, ref, place, offer)
    return streamed(request, await primed(pieces), content_type, None, fields)


async def retrieve_bulkdata(request: Request) -> Response:
    """One value: a part, or the body itself if the client asks for that; compressed frames are a part each."""
    context = context_of(request)
    path = request.path_params["path"]
    if not _PATH.fullmatch(path):
        raise BadRequest("the bulk data path is not one of tags and item numbers")
    ranges = accepted_ranges(request)
    ref = await instance_of(request)
    place = await anyio.to_thread.run_sync(find, context, ref, path, limiter=context.decoding)
    offer = require(ranges, _offers(place, ref.transfer_syntax))
    made = "" if offer.transfer_syntax == ref.transfer_syntax else VERSION
    fields = validated(context, ref.digest, path.upper(), offer, made, lasting=True, weak=offer.multipart)
    if answer := unchanged(request, fields):
        return answer
    if not offer.multipart:
        return await answer_alone(request, ref, place, offer.part_type(), offer, fields)
    location = f"{base_url(request)}{request.url.path.partition('/dicomweb')[2]}"
    pieces, many = _pieces(context, ref, place, offer)
    pieces = await primed(pieces)
    boundary = new_boundary()
    writer = MultipartWriter(boundary)

    async def parts() -> AsyncGenerator[Piece, None]:
        async with aclosing(_parts(writer, offer, location, pieces, many)) as made:
            async for piece in made:
                yield piece
        yield writer.end()

    return streamed(request, parts(), multipart_type(offer.name, boundary), None, fields)


async def _parts(
    writer: MultipartWriter, offer: Offer, location: str, pieces: AsyncGenerator[Piece, None], many: bool
) -> AsyncGenerator[Piece, None]:
    """A value as one part, or `many`, one for each piece."""
    part = {"Content-Type": offer.part_type(), "Content-Location": location}
    async with aclosing(pieces):
        if not many:
            yield writer.part(part)
        async for piece in pieces:
            if many:
                yield writer.part(part)
            yield piece


class _Chosen(NamedTuple):
    """A value that can be had as the client wants it."""

    ref: InstanceRef
    uri: str
    place: Place
    offer: Offer


def _uris(model: Mapping[str, Any]) -> Iterator[str]:
    """What a DICOM JSON object names as bulk data, in sequences too; these are no deeper than limits.nesting."""
    for entry in model.values():
        if "BulkDataURI" in entry:
            yield entry["BulkDataURI"]
        elif entry["vr"] == "SQ":
            for item in entry.get("Value", ()):
                yield from _uris(item)


async def _chosen(request: Request, scope: Scope, pixels: bool, ranges: Sequence[Range]) -> AsyncGenerator[_Chosen]:
    """The values of a scope one after the other, but for those that cannot be had in any of `ranges`. Raises NotFound
    if it has none, NotAcceptable if none is left."""
    context = context_of(request)
    refs = {ref.instance: ref for ref in await context.archive.select(scope)}
    refused: list[Offer] = []
    left = 0
    async for text in (await context.archive.metadata(scope)).texts(base_url(request)):
        for uri in _uris(orjson.loads(text)):
            instance, _, path = uri.rpartition("/instances/")[2].partition("/bulkdata/")
            if instance not in refs or (pixels and path not in _PIXELS):
                continue
            ref = refs[instance]
            place = await anyio.to_thread.run_sync(find, context, ref, path, limiter=context.decoding)
            offers = [offer for offer in _offers(place, ref.transfer_syntax) if offer.multipart]
            offer = choose(ranges, offers)
            if offer is None:
                refused = refused or offers
                continue
            left += 1
            yield _Chosen(ref, uri, place, offer)
    if not left:
        raise not_acceptable(refused) if refused else NotFound("there is no pixel data" if pixels else "no bulk data")


async def _retrieve_all(request: Request, pixels: bool) -> Response:
    """All values of a scope, each a part and each frame of compressed pixel data one; what cannot be had as the client
    wants it is left out."""
    context = context_of(request)
    scope, ranges = scope_of(request), accepted_ranges(request)
    refs = await context.archive.select(scope)
    fields = validated(context, pixels, *(ref.digest for ref in refs), *ranges, VERSION, weak=True)
    if answer := unchanged(request, fields):
        return answer
    values = _chosen(request, scope, pixels, ranges)
    first = await anext(values)
    boundary = new_boundary()
    writer = MultipartWriter(boundary)

    async def parts() -> AsyncGenerator[Piece, None]:
        value: _Chosen | None = first
        async with aclosing(values):
            while value is not None:
                pieces, many = _pieces(context, value.ref, value.place, value.offer)
                async with aclosing(_parts(writer, value.offer, value.uri, pieces, many)) as made:
                    async for piece in made:
                        yield piece
                value = await anext(values, None)
        yield writer.end()

    body = await primed(parts(), 2)  # the beginning of the first value, while a failure can still become a status
    return streamed(request, body, multipart_type(first.offer.name, boundary), None, fields)


async def retrieve_all_bulkdata(request: Request) -> Response:
    """Bulk data of a study, series or instance (section 10.4.3.3.5)."""
    return await _retrieve_all(request, pixels=False)


async def retrieve_pixeldata(request: Request) -> Response:
    """Pixel data of a study, series or instance (section 10.4.3.3.6)."""
    return await _retrieve_all(request, pixels=True)


def routes() -> Iterator[Route]:
    """Tables 10.4.1-5 and 10.4.1-6."""
    for path in (STUDY, SERIES, INSTANCE):
        yield Route(f"{path}/bulkdata", retrieve_all_bulkdata, methods=["GET"])
        yield Route(f"{path}/pixeldata", retrieve_pixeldata, methods=["GET"])
    yield Route(f"{INSTANCE}/bulkdata/{{path:path}}", retrieve_bulkdata, methods=["GET"])
