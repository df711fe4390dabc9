"""Response bodies that come from disk: read in threads, piece by piece, never a whole object in memory."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Mapping
from contextlib import closing
from typing import TypeVar

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from isocenter.errors import IntegrityError
from isocenter.model import InstanceRef
from isocenter.store.base import Blob
from isocenter.web.context import Context
from isocenter.wire.mediatypes import format_media_type

CHUNK = 1024 * 1024

T = TypeVar("T")


def new_boundary() -> str:
    """128 random bits, which no body contains by chance or by intent."""
    return secrets.token_hex(16)


def multipart_type(part_type: str, boundary: str) -> str:
    """Content-Type of a multipart/related body (PS3.18 section 8.7.3.5.1)."""
    return format_media_type("multipart/related", type=part_type, boundary=boundary)


async def stored_bytes(
    context: Context, ref: InstanceRef, start: int = 0, end: int | None = None
) -> AsyncIterator[bytes]:
    """The bytes of the Part 10 file, from `start` to before `end`. Raises IntegrityError if the file is shorter."""
    stop = ref.size if end is None else end

    def opened() -> tuple[Blob, bytes]:
        blob = context.archive.blob(ref)
        return blob, blob.read(start, min(CHUNK, stop - start))

    # Opening and the first piece in one turn: most objects are one piece.
    blob, piece = await anyio.to_thread.run_sync(opened)
    with closing(blob):
        position = start
        while True:
            position += len(piece)
            if not piece and position < stop:
                raise IntegrityError("a stored object is shorter than its index row says")
            yield piece
            if position >= stop:
                return
            piece = await anyio.to_thread.run_sync(blob.read, position, min(CHUNK, stop - position))


async def in_threads(pieces: Iterator[T], limiter: anyio.CapacityLimiter) -> AsyncGenerator[T, None]:
    """A blocking iterator, each step in a thread; closed with the response when the client goes away."""
    end = object()
    step: Callable[[], object] = lambda: next(pieces, end)  # noqa: E731  # a name for what runs in the thread
    try:
        while (piece := await anyio.to_thread.run_sync(step, limiter=limiter)) is not end:
            yield piece  # type: ignore[misc]  # `end` is the only other object
    finally:
        if hasattr(pieces, "close"):
            await anyio.to_thread.run_sync(pieces.close, limiter=limiter)


async def read_ahead(batches: Generator[list[bytes]]) -> AsyncGenerator[bytes, None]:
    """The pieces of a blocking iterator, some at a time, the next being read while these are sent; closed with the
    response when the client goes away."""
    loop = asyncio.get_running_loop()
    pending = loop.run_in_executor(None, next, batches, None)
    try:
        while (batch := await pending) is not None:
            pending = loop.run_in_executor(None, next, batches, None)
            for piece in batch:
                yield piece
    finally:
        await asyncio.wait([pending])
        if not pending.cancelled():
            pending.exception()  # seen, whether it was raised above or nobody waits for it any more
        await loop.run_in_executor(None, batches.close)


async def primed(pieces: AsyncIterator[bytes], count: int = 1) -> AsyncIterator[bytes]:
    """The same pieces, the first `count` made already, so that what fails early can still become a status."""
    made = []
    async for piece in pieces:
        made.append(piece)
        if len(made) == count:
            break

    async def chained() -> AsyncIterator[bytes]:
        for piece in made:
            yield piece
        async for piece in pieces:
            yield piece

    return chained()


def streamed(
    request: Request,
    pieces: AsyncIterator[bytes],
    content_type: str,
    length: int | None,
    headers: Mapping[str, str] | None = None,
    status: int = 200,
) -> Response:
    """A streaming response. With `length` it has a Content-Length and no chunked coding; HEAD reads nothing."""
    fields = dict(headers or {})
    fields["content-type"] = content_type
    if length is not None:
        fields["content-length"] = str(length)
    if request.method == "HEAD":
        return Response(None, status, fields)
    return StreamingResponse(pieces, status, fields)
