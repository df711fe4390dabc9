"""An SCU that sends whatever it is told, byte by byte if need be: for what no decent peer would send."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from isocenter.services.storage import store_request
from isocenter.ul import events
from isocenter.ul.connection import Config, Connection
from isocenter.wire import pdu

CT = "1.2.840.10008.5.1.4.1.1.2"
ECHO = "1.2.840.10008.1.1"
EXPLICIT = "1.2.840.10008.1.2.1"


class RawSCU:
    """A plain socket and, for reading answers, a Connection in the requestor's role."""

    def __init__(self, port: int, timeout: float = 20.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.connection = Connection(requestor=True, now=0, config=Config(idle=1e9, lifetime=1e9))

    def send(self, *parts: bytes | bytearray | memoryview) -> None:
        self.socket.sendall(b"".join(parts))

    def flush(self) -> None:
        self.send(*self.connection.data_to_send())

    def event(self) -> events.UpperLayerEvent | None:
        """The next event; None when the peer closes."""
        while (event := self.connection.next_event()) is None:
            data = self.socket.recv(65536)
            if not data:
                return None
            self.connection.receive_data(data, 0)
        return event

    def rest(self) -> bytes:
        """All bytes until the peer closes."""
        out = b""
        while data := self.socket.recv(65536):
            out += data
        return out

    def associate(
        self, *contexts: tuple[str, tuple[str, ...]], called: str = "ISOCENTER", calling: str = "RAW"
    ) -> events.UpperLayerEvent | None:
        proposed = tuple(
            pdu.ProposedContext(2 * n + 1, a, t) for n, (a, t) in enumerate(contexts or ((CT, (EXPLICIT,)),))
        )
        self.connection.associate(pdu.AssociateRQ(called, calling, proposed, pdu.UserInformation(max_length=16384)))
        self.connection.transport_connected(0)
        self.flush()
        return self.event()

    def store(self, data_set: bytes, *, sop_class: str = CT, sop_instance: str) -> dict[str, object]:
        """C-STORE in context 1; the response's command set."""
        self.connection.send_message(1, store_request(1, sop_class, sop_instance), data_set)
        self.flush()
        event = self.event()
        assert isinstance(event, events.MessageStarted), event
        return event.command


@contextlib.contextmanager
def raw_scu(port: int) -> Iterator[RawSCU]:
    scu = RawSCU(port)
    with contextlib.closing(scu.socket):
        yield scu
