"""An SCP that does what a script tells it, in a thread: silent, late, out of order or wrong, as no decent peer is."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

from isocenter.ul import events
from isocenter.ul.negotiation import Policy, Support, negotiate
from isocenter.wire import pdu
from raw_peer import RawPeer


class RawSCP(RawPeer):
    """One connection of a peer, for a script."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock, requestor=False)
        self.rq: pdu.AssociateRQ | None = None

    def accept(self, operations: int | None = None) -> None:
        """Accept everything in the first transfer syntax. `operations` is our part of the window (0: unlimited), None:
        the answer has no such item."""
        event = self.event()
        assert isinstance(event, events.AssociationRequested), event
        self.rq = event.rq
        syntaxes = {c.abstract_syntax: Support(frozenset(c.transfer_syntaxes), scu=True) for c in event.rq.contexts}
        answer = negotiate(event.rq, Policy(syntaxes.get, "1.2.3", "RAW"))
        assert isinstance(answer, pdu.AssociateAC)
        window = None if operations is None else (operations, 1)
        self.connection.accept(answer._replace(user=answer.user._replace(async_operations=window)))
        self.flush()

    def released(self) -> None:
        """Confirm the release that comes next."""
        event = self.event()
        assert isinstance(event, events.ReleaseRequested), event
        self.connection.release_response()
        self.flush()


@contextlib.contextmanager
def raw_scp(script: Callable[[RawSCP], None]) -> Iterator[str]:
    """The address of a peer that plays `script` with each connection, one after the other; its failures are raised."""
    failures: list[Exception] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.settimeout(20)
            with contextlib.closing(sock):
                try:
                    script(RawSCP(sock))
                except Exception as error:  # noqa: BLE001  (raised below)
                    failures.append(error)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"RAW@127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(30)
    if failures:
        raise failures[0]
