"""Data sets as answers: DICOM JSON in one array, or XML, a part for each (PS3.18 section 8.7.3.2).

JSON is compressed for whoever takes that. Metadata of a series are made and compressed once and kept, so that the next
answer costs no parsing, no compression and no unpacking.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import anyio.lowlevel
import anyio.to_thread
import imagecodecs
import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from isocenter.model import Scope
from isocenter.web.body import multipart_type, new_boundary, primed, streamed
from isocenter.web.caching import VARY, unchanged, validated
from isocenter.web.context import base_url, context_of
from isocenter.web.negotiate import DICOM_JSON, JSON, Offer
from isocenter.wire.contentcoding import GZIP, ZSTD, GzipJoiner, Piece, chosen_coding, gzip_piece
from isocenter.wire.dicomxml import native_xml
from isocenter.wire.multipart import MultipartWriter

DICOM_XML = "application/dicom+xml"

MANY = (Offer(DICOM_JSON), Offer(JSON), Offer(DICOM_XML, multipart=True))
ONE = (*MANY, Offer(DICOM_XML))

_JSON_CHUNK = 256 * 1024
_SHORTEST = 1024  # bytes of JSON that are worth compressing
T = TypeVar("T")

_AT_ONCE = 64 * 1024  # bytes that are compressed without leaving the event loop


class _Coding(NamedTuple):
    make: Callable[[bytes], Piece]
    joiner: Callable[[], GzipJoiner]


class _Frames(GzipJoiner):
    """zstd: frames one after the other are a stream (RFC 8878 section 3.1)."""

    def head(self) -> bytes:
        return b""

    def add(self, piece: Piece) -> bytes:
        return piece.data

    def end(self) -> bytes:
        return b""


def _zstd_piece(text: bytes) -> Piece:
    return Piece(bytes(imagecodecs.zstd_encode(text, level=3)), 0, len(text))


_CODINGS = {GZIP: _Coding(gzip_piece, GzipJoiner), ZSTD: _Coding(_zstd_piece, _Frames)}


async def _array(objects: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """JSON objects, or several with commas between them, as an array, in pieces worth a system call each."""
    pieces: list[bytes] = []
    size = 0
    separator = b"["
    async for item in objects:
        pieces += (separator, item)
        separator = b","
        size += len(item)
        if size >= _JSON_CHUNK:
            yield b"".join(pieces)
            pieces.clear()
            size = 0
    pieces.append(b"]" if separator == b"," else b"[]")
    yield b"".join(pieces)


async def _compressed_array(objects: AsyncIterator[Piece], coding: _Coding) -> AsyncGenerator[bytes, None]:
    """The same of objects that are compressed already."""
    joiner = coding.joiner()
    opening, comma = coding.make(b"["), coding.make(b",")
    before = joiner.head()
    separator = opening
    async for item in objects:
        yield before + joiner.add(separator) + joiner.add(item)
        before, separator = b"", comma
    if separator is opening:
        before += joiner.add(opening)
    yield before + joiner.add(coding.make(b"]")) + joiner.end()


async def _xml_parts(objects: AsyncIterator[bytes], boundary: str) -> AsyncGenerator[bytes, None]:
    """DICOM JSON objects as XML, a part each."""
    writer = MultipartWriter(boundary)
    async for item in objects:
        document = await anyio.to_thread.run_sync(_xml_of, item)
        yield writer.part({"Content-Type": DICOM_XML}) + document
    yield writer.end()


def _xml_of(text: bytes) -> bytes:
    return native_xml(orjson.loads(text))


async def answer_metadata(request: Request, scope: Scope, offer: Offer) -> Response:
    """The metadata of a scope (PS3.18 section 10.4.1.1.2)."""
    context = context_of(request)
    found = await context.archive.metadata(scope)
    base = base_url(request)
    name = "" if offer.name == DICOM_XML else chosen_coding(request.headers.get("accept-encoding"))
    fields = validated(context, found.digest.hex(), base, offer, name, weak=True)
    if answer := unchanged(request, fields):
        return answer
    content_type = offer.name
    if offer.name == DICOM_XML and not offer.multipart:
        (text,) = [text async for text in found.texts(base)]
        return Response(await anyio.to_thread.run_sync(_xml_of, text), 200, fields, media_type=DICOM_XML)
    if offer.name == DICOM_XML:
        boundary = new_boundary()
        pieces, content_type = _xml_parts(found.texts(base), boundary), multipart_type(DICOM_XML, boundary)
    elif name:
        coding = _CODINGS[name]
        fields["content-encoding"] = name
        pieces = _compressed_array(found.pieces(base, name, coding.make, lambda piece: len(piece.data)), coding)
    else:
        pieces = _array(found.pieces(base, name, bytes, len))
    return streamed(request, await primed(pieces), content_type, None, fields)


async def answer_models(
    request: Request, batches: Sequence[Callable[[], Sequence[Mapping[str, Any]]]], offer: Offer
) -> Response:
    """Models that are made some at a time, so that other requests get their turn between; for search results."""
    if offer.name == DICOM_XML:
        boundary = new_boundary()
        texts = (orjson.dumps(model) for batch in batches for model in batch())
        pieces, content_type = _xml_parts(in_turn(texts), boundary), multipart_type(DICOM_XML, boundary)
        return StreamingResponse(pieces, headers={"vary": VARY}, media_type=content_type)
    name = chosen_coding(request.headers.get("accept-encoding"))
    if len(batches) == 1:
        return await answer_json(request, orjson.dumps(batches[0]()), offer.name)
    fields = {"vary": VARY}
    arrays = in_turn(orjson.dumps(batch())[1:-1] for batch in batches)
    if not name:
        return StreamingResponse(_array(arrays), headers=fields, media_type=offer.name)
    fields["content-encoding"] = name
    coding = _CODINGS[name]

    async def made() -> AsyncIterator[Piece]:
        async for text in arrays:
            yield await anyio.to_thread.run_sync(coding.make, text)

    return StreamingResponse(_compressed_array(made(), coding), headers=fields, media_type=offer.name)


async def answer_model(request: Request, model: Mapping[str, Any], offer: Offer) -> Response:
    """One model, in one of the forms of ONE."""
    if offer.name == DICOM_XML and not offer.multipart:
        return Response(native_xml(model), headers={"vary": VARY}, media_type=DICOM_XML)
    return await answer_models(request, [lambda: [model]], offer)


async def answer_json(request: Request, text: bytes, media_type: str, status: int = 200) -> Response:
    """JSON that is there, compressed if it is worth it and the client takes it."""
    name = chosen_coding(request.headers.get("accept-encoding"))
    fields = {"vary": VARY}
    if name and len(text) >= _SHORTEST:
        coding = _CODINGS[name]
        fields["content-encoding"] = name
        make = partial(_whole, text, coding)
        text = make() if len(text) <= _AT_ONCE else await anyio.to_thread.run_sync(make)
    return Response(text, status, fields, media_type=media_type)


def _whole(text: bytes, coding: _Coding) -> bytes:
    joiner = coding.joiner()
    return joiner.head() + joiner.add(coding.make(text)) + joiner.end()


async def in_turn(items: Iterable[T]) -> AsyncIterator[T]:
    """The items, each after others had their turn."""
    for item in items:
        yield item
        await anyio.lowlevel.checkpoint()
