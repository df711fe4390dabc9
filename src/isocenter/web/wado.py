"""Retrieve transaction, WADO-RS (PS3.18 section 10.4): instances and their metadata.

Frames and bulk data are in frames.py, renderings in rendered.py.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator, Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from isocenter.model import InstanceRef, Scope
from isocenter.pixels.uncompressed import can_uncompress
from isocenter.std.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from isocenter.web.body import in_threads, primed, stored_bytes, streamed
from isocenter.web.context import DICOMWEB, Context, base_url, context_of, scope_of
from isocenter.web.negotiate import (
    DICOM,
    Offer,
    Range,
    accepted_ranges,
    choose,
    not_acceptable,
    require,
)
from isocenter.web.qido import JSON_OFFERS
from isocenter.web.uncompressed import uncompressed
from isocenter.wire.mediatypes import format_media_type
from isocenter.wire.multipart import MultipartWriter

STUDY = f"{DICOMWEB}/studies/{{study}}"
SERIES = f"{STUDY}/series/{{series}}"
INSTANCE = f"{SERIES}/instances/{{instance}}"

_JSON_CHUNK = 256 * 1024


def new_boundary() -> str:
    """128 random bits, which no body contains by chance or by intent."""
    return secrets.token_hex(16)


def multipart_type(part_type: str, boundary: str) -> str:
    """Content-Type of a multipart/related body (PS3.18 section 8.7.3.5.1)."""
    return format_media_type("multipart/related", type=part_type, boundary=boundary)


# --- instances (10.4.1.1.1)


def instance_offers(transfer_syntax: str, single: bool) -> list[Offer]:
    """As stored, and in Explicit VR Little Endian where we can; alone only if it is a `single` instance."""
    offers = []
    for multipart in (True, False) if single else (True,):
        offers.append(Offer(DICOM, multipart, transfer_syntax))
        if transfer_syntax != EXPLICIT_VR_LITTLE_ENDIAN and can_uncompress(transfer_syntax):
            offers.append(Offer(DICOM, multipart, EXPLICIT_VR_LITTLE_ENDIAN, stored=False, default=False))
    return offers


def _choices(refs: Sequence[InstanceRef], ranges: Sequence[Range]) -> dict[str, Offer]:
    """The representation of each stored transfer syntax.

    All or nothing: an answer without the instances that cannot be had as asked for would pass for the whole study.
    """
    choices: dict[str, Offer] = {}
    for syntax in {ref.transfer_syntax for ref in refs}:
        offers = instance_offers(syntax, single=len(refs) == 1)
        chosen = choose(ranges, offers)
        if chosen is None:
            raise not_acceptable(offers)
        choices[syntax] = chosen
    return choices


def _instance_bytes(context: Context, ref: InstanceRef, offer: Offer) -> AsyncIterator[bytes]:
    if offer.transfer_syntax == ref.transfer_syntax:
        return stored_bytes(context, ref)
    return in_threads(uncompressed(context.archive, ref, context.limits), context.decoding)


async def _parts(
    context: Context, refs: Sequence[InstanceRef], heads: Sequence[bytes], choices: dict[str, Offer], end: bytes
) -> AsyncIterator[bytes]:
    for ref, head in zip(refs, heads, strict=True):
        yield head
        async for piece in _instance_bytes(context, ref, choices[ref.transfer_syntax]):
            yield piece
    yield end


async def retrieve(request: Request) -> Response:
    """All instances of a study or series, or one: multipart, or `application/dicom` alone for a single one."""
    ranges = accepted_ranges(request)
    refs = await context_of(request).archive.select(scope_of(request))
    return await answer_instances(request, refs, _choices(refs, ranges))


async def answer_instances(request: Request, refs: Sequence[InstanceRef], choices: dict[str, Offer]) -> Response:
    """The answer with `refs`, for each of whose transfer syntaxes `choices` has a representation."""
    context = context_of(request)
    base = base_url(request)
    as_stored = all(choice.transfer_syntax == syntax for syntax, choice in choices.items())
    first = choices[refs[0].transfer_syntax]
    if not first.multipart:
        ref = refs[0]
        disposition = {"content-disposition": f'attachment; filename="{ref.instance}.dcm"'}
        length = ref.size if as_stored else None
        body = await primed(_instance_bytes(context, ref, first))
        return streamed(request, body, first.part_type(), length, disposition)
    boundary = new_boundary()
    writer = MultipartWriter(boundary)
    heads = [
        writer.part(
            {
                "Content-Type": choices[ref.transfer_syntax].part_type(),
                "Content-Length": str(ref.size),
                "Content-Location": f"{base}/{ref.resource}",
            }
            if choices[ref.transfer_syntax].transfer_syntax == ref.transfer_syntax
            else {"Content-Type": choices[ref.transfer_syntax].part_type()}
        )
        for ref in refs
    ]
    end = writer.end()
    length = sum(map(len, heads)) + sum(ref.size for ref in refs) + len(end) if as_stored else None
    pieces = _parts(context, refs, heads, choices, end)
    return streamed(request, await primed(pieces, 2), multipart_type(DICOM, boundary), length)


# --- metadata (10.4.1.1.2)


async def _json_array(objects: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Ready-made JSON objects spliced into an array, in pieces worth a system call each."""
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


async def metadata(request: Request) -> Response:
    """Metadata of a study, series or instance as DICOM JSON, bulk data by URI."""
    return await answer_metadata(request, scope_of(request), require(accepted_ranges(request), JSON_OFFERS))


async def answer_metadata(request: Request, scope: Scope, offer: Offer) -> Response:
    """The answer with the metadata of a scope."""
    pieces = _json_array(context_of(request).archive.metadata(scope, base_url(request)))
    return streamed(request, await primed(pieces), offer.name, None)


def routes() -> Iterator[Route]:
    """Table 10.4.1-1 and 10.4.1-2, as far as this module goes."""
    for path in (STUDY, SERIES, INSTANCE):
        yield Route(path, retrieve, methods=["GET"])
        yield Route(f"{path}/metadata", metadata, methods=["GET"])
