"""Messages of both directions on one association are not mixed (PS3.8 Annex E)."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from isocenter.dimse.endpoint import dimse_server
from isocenter.net.server import Acceptor
from isocenter.services.base import Refusal, Reply
from isocenter.services.storage import StorageService, store_request
from isocenter.settings import Settings
from isocenter.ul import events
from isocenter.ul.connection import Connection
from isocenter.wire import pdu
from isocenter.wire.command import decode_command
from raw_scu import CT, EXPLICIT
from upper_layer import drain, sent


class Transport:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.written = bytearray()

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 104) if name == "peername" else None

    def write(self, data: bytes) -> None:
        self.written += data

    def writelines(self, parts: list[bytes]) -> None:
        for part in parts:
            self.write(part)

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        """Nothing is open."""

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        """It is fed by hand."""

    resume_reading = pause_reading


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_what_is_left_to_do_is_done_when_the_response_is_written() -> None:
    async def written_before() -> list[bytes]:
        seen: list[bytes] = []
        transport = Transport()
        reply = Reply(then=lambda: seen.append(bytes(transport.written)))
        link = Acceptor(dimse_server((StorageService(lambda request: Refusal(reply)),), Settings()))
        peer = Connection(requestor=True, now=0)
        link.connection_made(cast(asyncio.Transport, transport))
        peer.associate(
            pdu.AssociateRQ("ISOCENTER", "PEER", (pdu.ProposedContext(1, CT, (EXPLICIT,)),), pdu.UserInformation())
        )
        peer.transport_connected(0)
        for _ in range(2):
            raw = sent(peer)
            link.get_buffer(-1)[: len(raw)] = raw
            link.buffer_updated(len(raw))
            peer.receive_data(bytes(transport.written), 0)
            transport.written.clear()
            if isinstance(drain(peer)[0], events.AssociationAccepted):
                peer.send_message(1, store_request(7, CT, "1.2.3"), b"abcd")
        return seen

    (raw,) = asyncio.run(written_before())
    assert decode_command(raw[12:])["MessageIDBeingRespondedTo"] == 7


async def replied_while_sending() -> list[events.UpperLayerEvent]:
    """What a peer sees whose object became whole while it was not reading the object that we were sending."""
    storage = StorageService(lambda request: Refusal(Reply()), sends=True)
    link, transport = Acceptor(dimse_server((storage,), Settings())), Transport()
    peer = Connection(requestor=True, now=0)

    def exchange() -> list[events.UpperLayerEvent]:
        raw = sent(peer)
        if raw:
            link.get_buffer(-1)[: len(raw)] = raw
            link.buffer_updated(len(raw))
        peer.receive_data(bytes(transport.written), 0)
        transport.written.clear()
        return drain(peer)

    link.connection_made(cast(asyncio.Transport, transport))
    user = pdu.UserInformation(async_operations=(2, 2), roles=(pdu.RoleSelection(CT, True, True),))
    peer.associate(pdu.AssociateRQ("ISOCENTER", "PEER", (pdu.ProposedContext(1, CT, (EXPLICIT,)),), user))
    peer.transport_connected(0)
    assert isinstance(exchange()[0], events.AssociationAccepted)
    peer.send_message(1, store_request(1, CT, "1.2.3"))
    peer.send_data(1, b"abcd", last=False)
    assert exchange() == []
    link.pause_writing()
    ours = store_request(link.next_message_id(), CT, "1.2.4")
    request = asyncio.create_task(link.request(link.contexts[1], ours, [b"1234", b"56"]))
    await turns()
    peer.send_data(1, b"ef", last=True)
    seen = exchange()
    await turns()
    link.resume_writing()
    await turns()
    seen += exchange()
    request.cancel()
    link.connection_lost(None)
    await asyncio.gather(request, return_exceptions=True)
    return seen


def test_a_response_waits_for_the_end_of_the_data_set_being_sent() -> None:
    seen = asyncio.run(replied_while_sending())
    fields = [event.command["CommandField"] for event in seen if isinstance(event, events.MessageStarted)]
    assert fields == [0x0001, 0x8001], seen
    assert isinstance(seen[-1], events.MessageStarted)
