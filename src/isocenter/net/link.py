"""The driver of one upper layer connection: socket, clock and buffers, and nothing else.

Reading goes straight into the connection's buffer (BufferedProtocol); events are pulled one at a time, so that a
consumer that is busy simply stops pulling: the buffer fills, reading pauses and TCP pushes back at the peer.
"""

from __future__ import annotations

import asyncio
import socket
from typing import cast

from isocenter.net.kernel import Outlet, read
from isocenter.ul.connection import Connection, FilePart, Payload
from isocenter.ul.events import UpperLayerEvent
from isocenter.ul.table import State


class Link(asyncio.BufferedProtocol):
    """Base of both roles. Subclasses take events in on_event() and hear of the end in on_end()."""

    # As of Connection.
    __slots__ = (
        "__weakref__", "_armed_in", "_drained", "_outlet", "_pumping", "_reading", "_timer", "_timer_at",
        "_unread", "connection", "ended", "heard", "loop", "peer_address", "transport", "writable",
    )  # fmt: skip

    def __init__(self, connection: Connection, loop: asyncio.AbstractEventLoop) -> None:
        self.connection = connection
        self.loop = loop
        self.transport: asyncio.Transport | None = None
        self.peer_address = ""
        self.ended = False
        self._outlet: Outlet | None = None  # of a plain socket; with TLS only the transport can write
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._unread: asyncio.TimerHandle | None = None
        self.heard = 0.0  # when the peer's last bytes came, on the loop's clock
        self._armed_in: State | None = None
        self._reading = True
        self._pumping = False
        self.writable = True  # whether the peer reads as fast as we write, more or less
        self._drained = asyncio.Event()
        self._drained.set()

    # --- for subclasses ----------------------------------------------------------------------------------------

    def on_event(self, event: UpperLayerEvent) -> bool:
        """Take one event. False: take no more until resume() is called; this one was kept."""
        raise NotImplementedError

    def on_end(self) -> None:
        """The transport is gone; called once."""

    def resume(self) -> None:
        """Pull events again after on_event() gave False."""
        self._pump()

    def flush(self) -> None:
        """Write what the connection wants written; close if it is over; arm the timer."""
        if self.transport is None:
            return
        if self.connection.outgoing:
            self.write_out()
        if self.connection.close_expected:
            self.close()
        if self._timer is None or self.connection.state is not self._armed_in:
            self._arm()

    def write_out(self) -> None:
        """The first part of flush(), for the middle of what an event brings about."""
        out = self.connection.data_to_send()
        if out and self.transport is not None and not self.transport.is_closing():
            self._write(self.transport, out)

    def send(self, message: list[Payload], now: float) -> None:
        """Write what Connection.encoded() gave, which is used up by that. Raises OSError where a part of a file is not
        there any more."""
        out = self.connection.sending(message, now)
        if self.transport is not None and not self.transport.is_closing():
            self._write(self.transport, out)

    def close(self) -> None:
        """Close the transport: what is written still goes out, but a peer that does not read it cannot keep it open."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        transport.close()
        if transport.get_write_buffer_size():
            self._unread = self.loop.call_later(self.connection.config.artim, transport.abort)

    @property
    def sends_files(self) -> bool:
        """Whether a data set had better be sent as parts of its file than as bytes that were read from it."""
        return self._outlet is not None and self.connection.sends_long

    def _write(self, transport: asyncio.Transport, out: list[Payload]) -> None:
        """Hand the bytes to the kernel at once where that can be done; the transport's turn comes later in the loop's
        iteration, and a peer that waits for a response waits for it."""
        if self._outlet is not None and not transport.get_write_buffer_size():
            self._outlet.write(out)
            if not out:
                return
        rest = [read(one) if isinstance(one, FilePart) else one for one in out]
        if len(rest) == 1:
            transport.write(rest[0])
        elif rest:
            transport.writelines(rest)

    async def drain(self) -> None:
        """Wait until the transport takes more (back-pressure of a slow peer)."""
        if not self.writable:
            await self._drained.wait()

    # --- asyncio's side ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit from it
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            # A response is a few bytes that the peer waits for; Nagle's algorithm would hold it back.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if transport.get_extra_info("ssl_object") is None:
                self._outlet = Outlet(sock.fileno())
        name = transport.get_extra_info("peername")
        self.peer_address = f"{name[0]}:{name[1]}" if isinstance(name, tuple) else str(name or "")
        self.flush()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.connection.get_buffer()

    def buffer_updated(self, nbytes: int) -> None:
        self.heard = self.loop.time()
        self.connection.buffer_updated(nbytes, self.heard)
        self._pump()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self.ended:
            return
        for timer in (self._timer, self._unread):
            if timer is not None:
                timer.cancel()
        self._timer = self._unread = None
        self.transport = self._outlet = None
        self.writable = True
        self._drained.set()
        if not self.connection.close_expected:
            self.connection.transport_closed(self.loop.time())
        self._pump(closing=True)
        self.ended = True
        self.on_end()

    def pause_writing(self) -> None:
        self.writable = False
        self._drained.clear()

    def resume_writing(self) -> None:
        self.writable = True
        self._drained.set()

    # --- inside ------------------------------------------------------------------------------------------------

    def _pump(self, *, closing: bool = False) -> None:
        if self._pumping:
            return
        self._pumping = True
        try:
            ready = True
            while (event := self.connection.next_event()) is not None:
                ready = self.on_event(event)
                if not ready and not closing:
                    break
        finally:
            self._pumping = False
        if ready is not self._reading:
            self._set_reading(ready)
        self.flush()

    def _set_reading(self, reading: bool) -> None:
        if self.transport is None or self.transport.is_closing():
            return
        self._reading = reading
        if reading:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()

    def _arm(self) -> None:
        """One timer. It is moved only when it has to fire sooner, since moving it at each read would cost more; and as
        long as the state is the same it can only have to fire later."""
        at = self.connection.next_timeout()
        if at is None or self.transport is None:
            return
        self._armed_in = self.connection.state
        if self._timer is not None:
            if at >= self._timer_at:
                return
            self._timer.cancel()
        self._timer_at = at
        self._timer = self.loop.call_at(at, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.connection.handle_timeout(self.loop.time())
        self._pump()
