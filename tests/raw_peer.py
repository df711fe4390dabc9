"""One connection of a peer that does what it is told, for tests: a plain socket, and a Connection that reads for it."""

from __future__ import annotations

import select
import socket
from dataclasses import dataclass

from isocenter.ul import events
from isocenter.ul.connection import Config, Connection
from isocenter.wire.command import CommandSet, response_to


@dataclass(frozen=True)
class Message:
    """One message, whole."""

    context: int
    command: CommandSet
    data: bytes


class RawPeer:
    """Either role."""

    def __init__(self, sock: socket.socket, *, requestor: bool) -> None:
        self.socket = sock
        self.connection = Connection(requestor=requestor, now=0, config=Config(idle=1e9, lifetime=1e9))

    def send(self, *parts: bytes | bytearray | memoryview) -> None:
        self.socket.sendall(b"".join(parts))

    def flush(self) -> None:
        """Send what the connection wants sent."""
        self.send(*self.connection.data_to_send())

    def event(self) -> events.UpperLayerEvent | None:
        """The next event; None when the peer has closed."""
        while (event := self.connection.next_event()) is None:
            data = self.socket.recv(1 << 20)
            if not data:
                return None
            self.connection.receive_data(data, 0)
        return event

    def message(self) -> Message | None:
        """The next message with its data set; None when the association is over."""
        event = self.event()
        if not isinstance(event, events.MessageStarted):
            return None
        data = bytearray()
        more = event.has_data
        while more:
            chunk = self.event()
            if not isinstance(chunk, events.DataSetChunk):
                return None
            data += b"".join(chunk.views)
            more = not chunk.last
        return Message(event.context_id, event.command, bytes(data))

    def messages(self, count: int) -> list[Message]:
        """The next so many."""
        got = []
        for _ in range(count):
            message = self.message()
            assert message is not None
            got.append(message)
        return got

    def quiet(self, seconds: float = 0.2) -> bool:
        """Whether the peer sends nothing more for now."""
        return not self.connection.has_input and not select.select([self.socket], [], [], seconds)[0]

    def answer(self, message: Message, status: int = 0) -> None:
        """The response to a request."""
        self.connection.send_message(message.context, response_to(message.command, status))
        self.flush()
