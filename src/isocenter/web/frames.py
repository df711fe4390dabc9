"""Retrieve transaction for frames (PS3.18 sections 10.4.1.1.6, 8.7.3.3)."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from functools import lru_cache

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from isocenter.errors import BadRequest, NoSuchFrame, PixelError
from isocenter.model import InstanceRef
from isocenter.pixels.image import Image
from isocenter.pixels.transcode import can_decode, encoded_frame, native_frame
from isocenter.std.implementation import IMPLEMENTATION_VERSION_NAME as VERSION
from isocenter.std.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, transfer_syntax
from isocenter.web.body import in_threads, multipart_type, new_boundary, primed, spanning, streamed
from isocenter.web.caching import unchanged, validated
from isocenter.web.context import Context, base_url, context_of, scope_of
from isocenter.web.negotiate import DEFAULT_SYNTAXES, OCTET_STREAM, Offer, accepted_ranges, frame_media_type, require
from isocenter.web.transcoding import frame_targets
from isocenter.web.unread import WINDOW, Piece, Span
from isocenter.web.wado import INSTANCE
from isocenter.wire.multipart import MultipartWriter

MAX_FRAMES = 100_000  # in one request; the path is shorter than that would need

_LIST = re.compile(r"\d{1,7}(?:,\d{1,7})*", re.ASCII)


def frame_numbers(request: Request) -> list[int]:
    """The 1-based frame numbers of the path. Raises BadRequest for anything but a list of them."""
    text = request.path_params["frames"]
    if not _LIST.fullmatch(text):
        raise BadRequest("frames are numbers from 1, separated by commas")
    numbers = [int(word) for word in text.split(",")]
    if 0 in numbers or len(numbers) > MAX_FRAMES:
        raise BadRequest("frames are numbers from 1, separated by commas")
    return numbers


@lru_cache(256)
def frame_offers(syntax: str, single: bool) -> tuple[Offer, ...]:
    """Uncompressed where we can, and as stored: with its own media type, or as octets that keep their syntax."""
    offers = []
    decodable = can_decode(syntax)
    for multipart in (True, False) if single else (True,):
        if not transfer_syntax(syntax).encapsulated:
            offers.append(Offer(OCTET_STREAM, multipart, EXPLICIT_VR_LITTLE_ENDIAN))
            continue
        if decodable:
            offers.append(Offer(OCTET_STREAM, multipart, EXPLICIT_VR_LITTLE_ENDIAN, stored=False))
        offers.append(Offer(frame_media_type(syntax), multipart, syntax))
        offers.append(Offer(OCTET_STREAM, multipart, syntax, default=not decodable))
    for multipart in (True, False) if single else (True,):
        for target in frame_targets(syntax):
            name = frame_media_type(target)
            default = DEFAULT_SYNTAXES.get(name) == target
            offers.append(Offer(name, multipart, target, stored=False, default=default, coded=True))
    return tuple(offers)


def _as_stored(ref: InstanceRef, offer: Offer) -> bool:
    """Whether compressed frames are handed out as they are."""
    return transfer_syntax(ref.transfer_syntax).encapsulated and offer.transfer_syntax == ref.transfer_syntax


def _check(image: Image, numbers: Sequence[int], *, stored: bool) -> None:
    for number in numbers:
        if number > image.number_of_frames:
            raise NoSuchFrame(f"Number of Frames is {image.number_of_frames}", frame=number)
    if stored and not image.encapsulated:
        raise PixelError("the object has native pixel data under the name of a compressed transfer syntax")


def frame_bytes(context: Context, ref: InstanceRef, numbers: Sequence[int], offer: Offer) -> Iterator[bytes]:
    """The frames one by one as offered, after all of them were found to exist; blocking."""
    return (data for _, data in typed_frames(context, ref, numbers, offer))


def typed_frames(
    context: Context, ref: InstanceRef, numbers: Sequence[int], offer: Offer
) -> Iterator[tuple[str, bytes]]:
    """The same, each with its Content-Type. Where the codestream was followed against the header, so that the metadata
    would have the samples misread, that says what they are:
    `application/octet-stream; transfer-syntax=...; bits-allocated=16; bits-stored=16; high-bit=15; pixel-representation=1`.
    """  # noqa: E501 - the type is to be found as it is sent
    stored = _as_stored(ref, offer)
    content_type = offer.part_type()
    target = None if stored or offer.name == OCTET_STREAM else offer.transfer_syntax
    with context.archive.image(ref) as image:
        _check(image, numbers, stored=stored)
        for number in numbers:
            if stored:
                yield content_type, image.frame_bytes(number)
            elif target is None:
                data, said = native_frame(image, number)
                yield (_saying(content_type, said) if said else content_type), data
            else:
                yield content_type, encoded_frame(image, number, target)


def _saying(content_type: str, said: Mapping[str, int]) -> str:
    """With what is said of samples, by keyword, as parameters: BitsStored is bits-stored."""
    words = {re.sub(r"(?<!^)([A-Z])", r"-\1", keyword).lower(): number for keyword, number in said.items()}
    return "; ".join((content_type, *(f"{word}={number}" for word, number in words.items())))


def frame_spans(context: Context, ref: InstanceRef, numbers: Sequence[int], offer: Offer) -> list[Span] | None:
    """Where the same bytes lie in the file, to be sent while its blob, which is that of all of them, is open; None if
    they have to be made; blocking. Raises as `frame_bytes`."""
    stored, syntax = _as_stored(ref, offer), transfer_syntax(ref.transfer_syntax)
    if syntax.deflated or not (stored or (offer.name == OCTET_STREAM and not syntax.encapsulated)):
        return None
    with context.archive.image(ref) as image:
        _check(image, numbers, stored=stored)
        if image.encapsulated != stored:
            return None
        places = [place for number in numbers if (place := image.whole_place(number))]
    if len(places) < len(numbers):
        return None
    blob = context.archive.blob(ref)
    return [Span(blob, offset, length) for offset, length in places]


def _at_hand(context: Context, ref: InstanceRef) -> bool:
    """Whether looking for frames takes less time than changing to a thread for it: in a short object in memory, whose
    fragments have not to be walked."""
    if ref.size > WINDOW or transfer_syntax(ref.transfer_syntax).encapsulated:
        return False
    with closing(context.archive.blob(ref)) as blob:
        return blob.at_hand(0, ref.size)


async def retrieve_frames(request: Request) -> Response:
    """Frames of one instance, each a part; a single frame also as the body itself."""
    context = context_of(request)
    numbers = frame_numbers(request)
    ranges = accepted_ranges(request)
    scope = scope_of(request)
    location = f"{base_url(request)}/studies/{scope.study}/series/{scope.series}/instances/{scope.instance}/frames"
    ref = (await context.archive.select(scope))[0]
    offer = require(ranges, frame_offers(ref.transfer_syntax, single=len(numbers) == 1))
    fields = validated(
        context,
        ref.digest,
        request.path_params["frames"],
        offer,
        "" if _as_stored(ref, offer) else VERSION,
        lasting=True,
        weak=offer.multipart,
    )
    if answer := unchanged(request, fields):
        return answer
    if _at_hand(context, ref):
        spans = frame_spans(context, ref, numbers, offer)
    else:
        spans = await anyio.to_thread.run_sync(frame_spans, context, ref, numbers, offer, limiter=context.decoding)
    if spans is not None and not offer.multipart:
        return streamed(request, spanning(spans), offer.part_type(), spans[0].length, fields)
    boundary = new_boundary()
    writer = MultipartWriter(boundary)
    whole_type = multipart_type(offer.name, boundary)

    def head(content_type: str, number: int) -> bytes:
        return writer.part({"Content-Type": content_type, "Content-Location": f"{location}/{number}"})

    if spans is not None:
        heads = [head(offer.part_type(), number) for number in numbers]
        end = writer.end()
        length = sum(span.length for span in spans) + sum(map(len, heads)) + len(end)
        return streamed(request, _between(heads, spanning(spans), end), whole_type, length, fields)
    frames = in_threads(typed_frames(context, ref, numbers, offer), context.decoding)
    frames = await primed(frames)  # while a failure can still become a status
    if not offer.multipart:
        async with aclosing(frames):
            content_type, frame = await anext(frames)
            return Response(frame, headers={**fields, "content-type": content_type})

    async def parts() -> AsyncGenerator[Piece, None]:
        async with aclosing(frames):
            for number in numbers:
                content_type, frame = await anext(frames)
                yield head(content_type, number)
                yield frame
            yield writer.end()

    return streamed(request, parts(), whole_type, None, fields)


async def _between(
    heads: Sequence[bytes], pieces: AsyncGenerator[Piece, None], end: bytes
) -> AsyncGenerator[Piece, None]:
    async with aclosing(pieces):
        for head in heads:
            yield head
            yield await anext(pieces)
        yield end


def routes() -> Iterator[Route]:
    """Table 10.4.1-4."""
    yield Route(f"{INSTANCE}/frames/{{frames}}", retrieve_frames, methods=["GET"])
