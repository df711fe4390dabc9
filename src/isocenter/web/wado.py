"""Retrieve transaction, WADO-RS (PS3.18 section 10.4): instances and their metadata.

Frames and bulk data are in frames.py, renderings in rendered.py.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Iterator, Sequence
from contextlib import aclosing
from functools import partial
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from isocenter.model import InstanceRef, Level
from isocenter.std.implementation import IMPLEMENTATION_VERSION_NAME as VERSION
from isocenter.std.transfer_syntaxes import transfer_syntax as transfer_syntax_of
from isocenter.web.body import (
    Pieces,
    in_threads,
    multipart_type,
    new_boundary,
    primed,
    read_ahead,
    span_of,
    stored_bytes,
    streamed,
)
from isocenter.web.caching import ranged, unchanged, validated
from isocenter.web.context import DICOMWEB, Context, base_url, context_of, scope_of
from isocenter.web.datasets import MANY, ONE, answer_metadata
from isocenter.web.filesets import answer_file_set
from isocenter.web.negotiate import DICOM, ZIP, Offer, Range, Rank, accepted_ranges, not_acceptable, ranked, require
from isocenter.web.transcoding import instance_pieces, targets
from isocenter.web.unread import WINDOW, Piece, Span, close_all
from isocenter.web.zipped import by_uid, zipped
from isocenter.wire.multipart import MultipartWriter

STUDY = f"{DICOMWEB}/studies/{{study}}"
SERIES = f"{STUDY}/series/{{series}}"
INSTANCE = f"{SERIES}/instances/{{instance}}"


# What is fetched from the disk at a time; at most twice as much is held for a client
_SPANS = 4  # open files
_AHEAD = 2 * WINDOW  # bytes
_COLD = 32  # objects that are fetched before it is tried again without a thread
_SMALL = 64 * 1024  # objects of fewer bytes are read: to have the kernel send them costs as much


class Packaging(NamedTuple):
    """How one or several instances are put into one body."""

    name: str
    multipart: bool


PARTS, ALONE, ZIPPED = Packaging(DICOM, True), Packaging(DICOM, False), Packaging(ZIP, False)


# --- instances (10.4.1.1.1)


def instance_offers(transfer_syntax: str, packaging: Packaging) -> list[Offer]:
    """As stored, and in the transfer syntaxes that can be made of it."""
    name, multipart = packaging
    made = targets(transfer_syntax)
    return [
        Offer(name, multipart, transfer_syntax),
        *(
            Offer(name, multipart, target, stored=False, default=False, coded=transfer_syntax_of(target).encapsulated)
            for target in made
        ),
    ]


def packagings(single: bool) -> tuple[Packaging, ...]:
    """How instances can be handed out, best first; a `single` one also alone."""
    return (PARTS, ALONE, ZIPPED) if single else (PARTS, ZIPPED)


def choose_instances(
    refs: Sequence[InstanceRef], ranges: Sequence[Range], ways: Sequence[Packaging]
) -> tuple[Rank, dict[str, Offer]] | None:
    """The representation of each stored transfer syntax, all packed in one way, and how good it is; None if there is
    none.

    All or nothing: an answer without the instances that cannot be had as asked for would pass for the whole study.
    """
    syntaxes = {ref.transfer_syntax for ref in refs}
    best: tuple[Rank, dict[str, Offer]] | None = None
    for packaging in ways:
        found = {syntax: ranked(ranges, instance_offers(syntax, packaging)) for syntax in syntaxes}
        ranks = [one[0] for one in found.values() if one is not None]
        if len(ranks) == len(syntaxes) and (best is None or min(ranks) > best[0]):
            best = min(ranks), {syntax: one[1] for syntax, one in found.items() if one is not None}
    return best


def _instance_bytes(context: Context, ref: InstanceRef, offer: Offer) -> AsyncGenerator[Piece, None]:
    if offer.transfer_syntax == ref.transfer_syntax:
        return stored_bytes(context, ref)
    return in_threads(instance_pieces(context, ref, offer), context.decoding)


async def _stored_parts(
    context: Context, refs: Sequence[InstanceRef], heads: Sequence[bytes], end: bytes
) -> AsyncGenerator[list[Piece], None]:
    """The parts of instances as they are stored.

    What the page cache has is sent from there in place: two threads that take turns with Python's lock for each object
    cost more than all the rest. From the first that the disk must be waited for, a thread has the next ones ready while
    these are sent.
    """
    at = 0
    while at < len(refs):
        some = slice(at, at + _SPANS)
        batch = _at_hand(context, refs[some], heads[some])
        if batch:
            try:
                yield batch
            finally:
                close_all(batch)
            at += len(batch) // 2
            continue
        some = slice(at, at + _COLD)
        async with aclosing(read_ahead(_fetched(context, refs[some], heads[some]))) as batches:
            async for batch in batches:
                yield batch
        at += _COLD
    yield [end]


def _at_hand(context: Context, refs: Sequence[InstanceRef], heads: Sequence[bytes]) -> list[Piece]:
    """The parts of as many as the page cache has, up to the first that it has not. Several are opened at once, as the
    client is not asleep yet when the next follows that fast, and need not be woken for each: that is dear."""
    batch: list[Piece] = []
    try:
        for ref, head in zip(refs, heads, strict=True):
            span = span_of(context, ref)
            if span.length and not span.in_memory:
                span.blob.close()
                break
            batch += head, _read_if_small(span)
    except BaseException:
        close_all(batch)
        raise
    return batch


def _fetched(context: Context, refs: Sequence[InstanceRef], heads: Sequence[bytes]) -> Generator[list[Piece]]:
    """The same of a few that are on the disk, some at a time; blocking."""
    batch: list[Piece] = []
    spans = size = 0
    for ref, head in zip(refs, heads, strict=True):
        span = span_of(context, ref)
        if not span.in_memory:
            span.blob.fetch(span.offset, min(span.length, WINDOW))
            span = span._replace(in_memory=min(span.length, WINDOW))
        piece = _read_if_small(span)
        batch += head, piece
        spans += piece is span
        size += span.length
        if spans == _SPANS or size >= _AHEAD:
            yield batch
            batch, spans, size = [], 0, 0
    yield batch


def _read_if_small(span: Span) -> Piece:
    """The span, or the bytes of a short one, whose blob is closed."""
    if span.length >= _SMALL:
        return span
    with span.blob:
        return span.blob.read(span.offset, span.length)


async def _parts(
    context: Context, refs: Sequence[InstanceRef], heads: Sequence[bytes], choices: dict[str, Offer], end: bytes
) -> AsyncGenerator[Piece, None]:
    for ref, head in zip(refs, heads, strict=True):
        yield head
        async with aclosing(_instance_bytes(context, ref, choices[ref.transfer_syntax])) as pieces:
            async for piece in pieces:
                yield piece
    yield end


async def retrieve(request: Request) -> Response:
    """All instances of a study or series, or one: in parts, zipped, or a single one alone."""
    ranges = accepted_ranges(request)
    if "dicomdir" in request.query_params and "instance" not in request.path_params:
        return await answer_file_set(request, ranges)
    refs = await context_of(request).archive.select(scope_of(request))
    ways = packagings(len(refs) == 1)
    chosen = choose_instances(refs, ranges, ways)
    if chosen is None:
        raise not_acceptable([offer for way in ways for offer in instance_offers(refs[0].transfer_syntax, way)])
    return await answer_instances(request, refs, chosen[1])


async def answer_instances(request: Request, refs: Sequence[InstanceRef], choices: dict[str, Offer]) -> Response:
    """The answer with `refs`, for each of whose transfer syntaxes `choices` has a representation."""
    context = context_of(request)
    as_stored = all(choice.transfer_syntax == syntax for syntax, choice in choices.items())
    first = choices[refs[0].transfer_syntax]
    fields = validated(
        context,
        *(f"{ref.digest} {ref.header_digest}" for ref in refs),
        *sorted(choices.items()),
        "" if as_stored else VERSION,
        lasting="instance" in request.path_params or "uid" in request.path_params,
        weak=first.multipart or not as_stored,
    )
    if answer := unchanged(request, fields):
        return answer
    if first.name == ZIP:
        name = refs[0].instance if len(refs) == 1 else refs[0].study
        fields["content-disposition"] = f'attachment; filename="{name}.zip"'
        body = in_threads(zipped(by_uid(context, refs, choices)), context.decoding)
        return streamed(request, await primed(body), ZIP, None, fields)
    if not first.multipart:
        ref = refs[0]
        fields["content-disposition"] = f'attachment; filename="{ref.instance}.dcm"'
        if as_stored:
            read = partial(stored_bytes, context, ref)
            return await ranged(request, read, first.part_type(), ref.size, fields)
        return streamed(request, await primed(_instance_bytes(context, ref, first)), first.part_type(), None, fields)
    return await _answer_parts(request, refs, choices, fields, as_stored)


async def _answer_parts(
    request: Request,
    refs: Sequence[InstanceRef],
    choices: dict[str, Offer],
    fields: dict[str, str],
    as_stored: bool,
) -> Response:
    base = base_url(request)
    boundary = new_boundary()
    writer = MultipartWriter(boundary)
    types = {syntax: choice.part_type() for syntax, choice in choices.items()}
    heads = [
        writer.part(
            {
                "Content-Type": types[ref.transfer_syntax],
                "Content-Length": str(ref.size),
                "Content-Location": f"{base}/{ref.resource}",
            }
            if choices[ref.transfer_syntax].transfer_syntax == ref.transfer_syntax
            else {"Content-Type": types[ref.transfer_syntax]}
        )
        for ref in refs
    ]
    end = writer.end()
    length = sum(map(len, heads)) + sum(ref.size for ref in refs) + len(end) if as_stored else None
    context = context_of(request)
    if as_stored:
        pieces: Pieces = await primed(_stored_parts(context, refs, heads, end))
    else:
        pieces = await primed(_parts(context, refs, heads, choices, end), 2)
    return streamed(request, pieces, multipart_type(DICOM, boundary), length, fields)


# --- metadata (10.4.1.1.2)


async def metadata(request: Request) -> Response:
    """Metadata of a study, series or instance, bulk data by URI."""
    scope = scope_of(request)
    offers = ONE if scope.level is Level.IMAGE else MANY
    return await answer_metadata(request, scope, require(accepted_ranges(request), offers))


def routes() -> Iterator[Route]:
    """Table 10.4.1-1 and 10.4.1-2, as far as this module goes."""
    for path in (STUDY, SERIES, INSTANCE):
        yield Route(path, retrieve, methods=["GET"])
        yield Route(f"{path}/metadata", metadata, methods=["GET"])
