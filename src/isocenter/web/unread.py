"""Stored files as parts of answers that nobody reads on the way: from the page cache to the socket by sendfile(2).

An answer is made of pieces: bytes, and spans of stored files. FileSender writes them past the transport where the
connection is plain (net/kernel.py); with TLS it reads the spans, in a thread where the disk has to be waited for. The
kernel takes a megabyte of a file in half the time in which it can be read and written, and a client that is slow holds
a socket buffer and not our memory.

The transport is asked for one thing only: when a socket is full, it gets the next few kilobytes, and when it has got
rid of them there is room again. So it alone waits for the socket, uvicorn's back-pressure and the watch on clients that
do not read (serving.py) see what they always see, and the descriptor is nobody else's: it is written to in the event
loop only, after a look whether it is still open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from starlette.requests import ClientDisconnect

from isocenter.net.kernel import Outlet, read
from isocenter.store.base import Blob
from isocenter.ul.connection import Buffer, FilePart, Payload

if TYPE_CHECKING:
    from uvicorn.protocols.http.flow_control import FlowControl

EXTENSION = "isocenter.files"
"""Under `extensions` of the ASGI scope: {"sender": FileSender} where the server is ours (serving.py)."""

WINDOW = 1024 * 1024
"""Bytes that are made sure to be in memory at a time."""

_TURN = 2 * WINDOW  # bytes that are sent before others have their turn; some tenths of a millisecond
_NUDGE = 16 * 1024  # bytes that the transport gets of what a full socket did not take


class Span(NamedTuple):
    """Some bytes of a stored file, so many of which are known to be in memory; whoever made it keeps the blob open
    until they are sent."""

    blob: Blob
    offset: int
    length: int
    in_memory: int = 0


Piece = bytes | Span


def close_all(pieces: Iterable[Piece]) -> None:
    """Close the blobs of spans that were sent, or will not be."""
    for piece in pieces:
        if isinstance(piece, Span):
            piece.blob.close()


class Cycle(Protocol):
    """What of uvicorn's RequestResponseCycle is looked at."""

    disconnected: bool
    expected_content_length: int
    chunked_encoding: bool | None


class FileSender:
    """Sends the pieces of one answer, of announced length, whose head was sent."""

    def __init__(self, transport: asyncio.Transport, flow: FlowControl, cycle: Cycle, *, plain: bool) -> None:
        self._transport, self._flow, self._cycle = transport, flow, cycle
        self._outlet = Outlet(transport.get_extra_info("socket").fileno()) if plain else None
        self._held: list[Payload] = []  # heads of parts and small objects, which go out with the file that follows
        self._holds = 0
        self._turn = 0  # bytes sent since others had theirs
        self._begun = False

    def check(self) -> None:
        """Raises ClientDisconnect when nobody is there to be answered."""
        if self._transport.is_closing():
            self._cycle.disconnected = True  # as uvicorn will hear in a moment
        if self._cycle.disconnected:
            raise ClientDisconnect

    async def send(self, pieces: Sequence[Piece]) -> None:
        """Send pieces; few bytes without a span not before the next pieces or the end. Raises ClientDisconnect, and
        OSError where a file is shorter than the span."""
        for piece in pieces:
            if not isinstance(piece, Span):
                self._held.append(piece)
                self._holds += len(piece)
                continue
            blob, offset, left, known = piece
            while left:
                length = min(WINDOW, left)
                if length > known and not blob.at_hand(offset, length):
                    if self._held:
                        await self._release()
                    await asyncio.to_thread(blob.fetch, offset, length)
                self._held.append(FilePart(blob.fileno(), offset, length))
                self._holds += length
                if self._holds >= _TURN:
                    await self._release()
                offset, left, known = offset + length, left - length, known - length
        if self._holds >= _TURN or any(isinstance(one, FilePart) for one in self._held):
            await self._release()

    async def finish(self) -> None:
        """Send what was held. Raises ClientDisconnect."""
        if self._held:
            await self._release()
        if self._begun and not self._transport.is_closing():
            self._transport.set_write_buffer_limits()

    async def _release(self) -> None:
        out, length = self._held, self._holds
        self._held, self._holds = [], 0
        if self._cycle.chunked_encoding is not False or length > self._cycle.expected_content_length:
            raise RuntimeError("the answer is longer than was announced")
        self.check()
        while out:
            if self._flow.write_paused:
                await self._flow.drain()
                self.check()
            out = self._pass_on(out)
        self._cycle.expected_content_length -= length
        self._turn += length
        if self._turn >= _TURN:
            self._turn = 0
            await asyncio.sleep(0)

    def _pass_on(self, out: list[Payload]) -> list[Payload]:
        """What is left after one attempt."""
        if self._outlet is None:
            return self._written(out)
        if not self._begun:
            self._begun = True
            # From here on the transport tells of every byte that it could not write at once.
            self._transport.set_write_buffer_limits(high=0)
            if self._flow.write_paused:
                return out
        self._outlet.write(out)
        return self._nudged(out) if out else out

    def _written(self, out: list[Payload]) -> list[Payload]:
        """What is left after one part of a file and what stands before it; each `write` becomes a record of TLS or
        more."""
        buffers: list[Buffer] = []
        for at, one in enumerate(out):
            if isinstance(one, FilePart):
                self._transport.write(b"".join(buffers))
                self._transport.write(read(one))
                return out[at + 1 :]
            buffers.append(one)
        self._transport.write(b"".join(buffers))
        return []

    def _nudged(self, out: list[Payload]) -> list[Payload]:
        """What is left to send after the transport was given a little of it."""
        first, *rest = out
        some = min(_NUDGE, len(first))
        if isinstance(first, FilePart):
            self._transport.write(read(first.part(0, some)))
            left: Payload = first.part(some, len(first))
        else:
            self._transport.write(first[:some])
            left = first[some:]
        return [left, *rest] if len(left) else rest
