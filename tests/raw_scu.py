"""An SCU that sends whatever it is told, byte by byte if need be: for what no decent peer would send."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from isocenter.services.storage import store_request
from isocenter.ul import events
from isocenter.wire import pdu
from raw_peer import RawPeer

CT = "1.2.840.10008.5.1.4.1.1.2"
ECHO = "1.2.840.10008.1.1"
EXPLICIT = "1.2.840.10008.1.2.1"
_USER = pdu.UserInformation(max_length=16384)


class RawSCU(RawPeer):
    """An association that the test opens, or what is none."""

    def __init__(self, port: int, timeout: float = 20.0) -> None:
        super().__init__(socket.create_connection(("127.0.0.1", port), timeout), requestor=True)

    def rest(self) -> bytes:
        """All bytes until the peer closes."""
        out = b""
        while data := self.socket.recv(65536):
            out += data
        return out

    def associate(
        self,
        *contexts: tuple[str, tuple[str, ...]],
        called: str = "ISOCENTER",
        calling: str = "RAW",
        user: pdu.UserInformation = _USER,
    ) -> events.UpperLayerEvent | None:
        proposed = tuple(
            pdu.ProposedContext(2 * n + 1, a, t) for n, (a, t) in enumerate(contexts or ((CT, (EXPLICIT,)),))
        )
        self.connection.associate(pdu.AssociateRQ(called, calling, proposed, user))
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
