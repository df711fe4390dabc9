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
import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from starlette.requests import ClientDisconnect

from isocenter.net.kernel import read, write_at_once
from isocenter.store.base import Blob
from isocenter.ul.connection import Buffer, FilePart, Payload

if TYPE_CHECKING:
    from uvicorn.protocols.http.flow_control import FlowControl

EXTENSION = "isocenter.files"
"""Under `extensions` of the ASGI scope: {"sender": FileSender} where the server is ours (serving.py)."""

WINDOW = 1024 * 1024
"""Bytes that are made sure to be in memory, and sent, before others have their turn."""

_AHEAD = 4 * WINDOW  # what the disk is told to fetch meanwhile
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


def fetch(blob: Blob, offset: int, length: int) -> None:
    """Have a window of a file in memory, and the disk begin with what follows of so many bytes; blocking."""
    window = min(length, WINDOW)
    if window < length:
        os.posix_fadvise(blob.fileno(), offset + window, min(length - window, _AHEAD), os.POSIX_FADV_WILLNEED)
    blob.read(offset, window)


class Cycle(Protocol):
    """What of uvicorn's RequestResponseCycle is looked at."""

    disconnected: bool
    expected_content_length: int
    chunked_encoding: bool | None


class FileSender:
    """Sends the pieces of one answer, of announced length, whose head was sent."""

    def __init__(self, transport: asyncio.Transport, flow: FlowControl, cycle: Cycle, *, plain: bool) -> None:
        self._transport, self._flow, self._cycle = transport, flow, cycle
        self._socket: socket.socket | None = transport.get_extra_info("socket") if plain else None
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

    async def send(self, piece: Piece) -> None:
        """Send a piece; few bytes not before the next piece or the end. Raises ClientDisconnect, and OSError where a
        file is shorter than the span."""
        if not isinstance(piece, Span):
            self._held.append(piece)
            self._holds += len(piece)
            if self._holds >= WINDOW:
                await self._release()
            return
        blob, offset, left, known = piece
        while left:
            length = min(WINDOW, left)
            if length > known and not blob.at_hand(offset, length):
                await asyncio.to_thread(fetch, blob, offset, left)
            self._held.append(FilePart(blob.fileno(), offset, length))
            self._holds += length
            await self._release()
            offset, left, known = offset + length, left - length, known - length

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
        if self._turn >= WINDOW:
            self._turn = 0
            await asyncio.sleep(0)

    def _pass_on(self, out: list[Payload]) -> list[Payload]:
        """What is left after one attempt."""
        if self._socket is None:
            for one in _joined(out):
                self._transport.write(one)
            return []
        if not self._begun:
            self._begun = True
            # From here on the transport tells of every byte that it could not write at once.
            self._transport.set_write_buffer_limits(high=0)
            if self._flow.write_paused:
                return out
        write_at_once(self._socket.fileno(), out)
        return self._nudged(out) if out else out

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


def _joined(out: Sequence[Payload]) -> Iterator[Buffer]:
    """The same to be written one by one; each becomes a record of TLS or more. A part of a file is the last."""
    file = out[-1] if isinstance(out[-1], FilePart) else None
    if buffers := [one for one in out if not isinstance(one, FilePart)]:
        yield b"".join(buffers)
    if file is not None:
        yield read(file)
