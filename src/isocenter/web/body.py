"""Response bodies that come from disk: sent unread where that can be done (unread.py), else read in threads, piece by
piece, never a whole object in memory."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from typing import TypeVar

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from isocenter.errors import IntegrityError
from isocenter.model import InstanceRef
from isocenter.web.context import Context
from isocenter.web.unread import EXTENSION, WINDOW, FileSender, Piece, Span, close_all
from isocenter.wire.mediatypes import format_media_type

T = TypeVar("T")

Pieces = AsyncGenerator[Piece | list[Piece], None]
"""What a body is made of, one by one or some at a time; blobs stay open until the next is asked for."""


def new_boundary() -> str:
    """128 random bits, which no body contains by chance or by intent."""
    return secrets.token_hex(16)


def multipart_type(part_type: str, boundary: str) -> str:
    """Content-Type of a multipart/related body (PS3.18 section 8.7.3.5.1)."""
    return format_media_type("multipart/related", type=part_type, boundary=boundary)


def span_of(context: Context, ref: InstanceRef, start: int = 0, end: int | None = None) -> Span:
    """The bytes of the Part 10 file, from `start` to before `end`, to be sent while its blob is open. Waits for no disk
    but that of the directory. Raises IntegrityError if the file is shorter."""
    length = (ref.size if end is None else end) - start
    blob = context.archive.blob(ref)
    if blob.size < start + length:
        blob.close()
        raise IntegrityError("a stored object is shorter than its index row says")
    first = min(WINDOW, length)
    return Span(blob, start, length, first if blob.at_hand(start, first) else 0)


async def stored_bytes(
    context: Context, ref: InstanceRef, start: int = 0, end: int | None = None
) -> AsyncGenerator[Piece, None]:
    """The same as a piece."""
    span = span_of(context, ref, start, end)
    with closing(span.blob):
        yield span


async def spanning(spans: Sequence[Span]) -> AsyncGenerator[Piece, None]:
    """Spans of one blob, which is closed after them."""
    with closing(spans[0].blob):
        for span in spans:
            yield span


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


async def read_ahead(batches: Generator[list[Piece]]) -> AsyncGenerator[list[Piece], None]:
    """The pieces of a blocking iterator, some at a time, the next being made while these are sent; closed with the
    response when the client goes away."""
    loop = asyncio.get_running_loop()
    pending = loop.run_in_executor(None, next, batches, None)
    try:
        while (batch := await pending) is not None:
            pending = loop.run_in_executor(None, next, batches, None)
            try:
                yield batch
            finally:
                close_all(batch)
    finally:
        await asyncio.wait([pending])
        if not pending.cancelled() and pending.exception() is None:  # seen, whether it was raised above or not
            close_all(pending.result() or ())
        await loop.run_in_executor(None, batches.close)


async def primed(pieces: AsyncGenerator[T, None], count: int = 1) -> AsyncGenerator[T, None]:
    """The same pieces, the first `count` made already, so that what fails early can still become a status."""
    made = []
    async for piece in pieces:
        made.append(piece)
        if len(made) == count:
            break

    async def chained() -> AsyncGenerator[T, None]:
        async with aclosing(pieces):
            for piece in made:
                yield piece
            async for piece in pieces:
                yield piece

    return chained()


class PiecesResponse(StreamingResponse):
    """A body of bytes and spans of files, whose iterator is closed whatever happens."""

    def __init__(self, pieces: Pieces, status: int, headers: Mapping[str, str]) -> None:
        super().__init__((), status, headers)
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sender: FileSender | None = scope.get("extensions", {}).get(EXTENSION, {}).get("sender")
        async with aclosing(self._pieces):
            if sender is None:
                self.body_iterator = self._as_bytes()
                await super().__call__(scope, receive, send)
                return
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if "content-length" in self.headers:
                async for piece in self._pieces:
                    await sender.send(piece if isinstance(piece, list) else (piece,))
                await sender.finish()
            else:
                async for data in self._as_bytes():
                    sender.check()
                    await send({"type": "http.response.body", "body": data, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _as_bytes(self) -> AsyncIterator[bytes]:
        async for some in self._pieces:
            for piece in some if isinstance(some, list) else (some,):
                if not isinstance(piece, Span):
                    yield piece
                    continue
                for at in range(0, piece.length, WINDOW):
                    wanted = min(WINDOW, piece.length - at)
                    data = await anyio.to_thread.run_sync(piece.blob.read, piece.offset + at, wanted)
                    if len(data) < wanted:
                        raise IntegrityError("a stored object is shorter than it was")
                    yield data


def streamed(
    request: Request,
    pieces: Pieces,
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
    return PiecesResponse(pieces, status, fields)
