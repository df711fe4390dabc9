"""The upper layer for tests: small conversations of a requestor, and an acceptor that plays its part in them."""

from __future__ import annotations

import random
from typing import Any

from isocenter.ul import events
from isocenter.ul.connection import Config, Connection
from isocenter.ul.table import State
from isocenter.wire import pdu
from isocenter.wire.command import Verb

CT, IMPLICIT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2"
RQ = pdu.AssociateRQ("US", "THEM", (pdu.ProposedContext(1, CT, (IMPLICIT,)),), pdu.UserInformation(max_length=16384))
AC = pdu.AssociateAC("US", "THEM", (pdu.ContextResult(1, 0, IMPLICIT),), pdu.UserInformation(max_length=4096))
STORE = {"CommandField": Verb.C_STORE, "MessageID": 1, "CommandDataSetType": 1, "AffectedSOPInstanceUID": "1.2"}


def drain(connection: Connection) -> list[events.UpperLayerEvent]:
    """All events there are, data copied out of the buffer as a user has to."""
    out: list[events.UpperLayerEvent] = []
    while (event := connection.next_event()) is not None:
        if isinstance(event, events.DataSetChunk):
            event = events.DataSetChunk([memoryview(b"".join(event.views))], event.last)
        out.append(event)
    return out


def sent(connection: Connection) -> bytes:
    return b"".join(connection.data_to_send())


def acceptor(**config: Any) -> Connection:
    return Connection(requestor=False, now=0, config=Config(**config))


def flatten(stream: list[events.UpperLayerEvent]) -> list[Any]:
    """Events with neighbouring chunks joined, since how data is cut is nobody's business."""
    out: list[Any] = []
    data = bytearray()
    for event in stream:
        if isinstance(event, events.DataSetChunk):
            data += b"".join(event.views)
            if event.last:
                out.append(bytes(data))
                data = bytearray()
        else:
            out.append(event)
    return [*out, ("open", bytes(data))] if data else out


def conversation(rng: random.Random) -> bytes:
    """What a requestor may send, most of it legal."""
    out = [pdu.encode_associate_rq(RQ)]
    for _ in range(rng.randrange(6)):
        choice = rng.random()
        if choice < 0.7:
            scu = Connection(requestor=True, now=0)
            scu.state, scu._contexts = State.STA6, {1}
            scu.peer_max_pdu = rng.choice([16, 64, 1000, 16384, 0])
            scu.send_message(1, {**STORE, "MessageID": rng.randrange(1, 9)})
            for left in range(rng.randrange(4), -1, -1):
                scu.send_data(1, rng.randbytes(2 * rng.randrange(0, 2000)), last=left == 0)
            out.append(sent(scu))
        elif choice < 0.8:
            out.append(pdu.PDU_HEADER.pack(pdu.P_DATA_TF, 6 + 10) + pdu.PDV_HEADER.pack(12, 1, 3) + rng.randbytes(10))
        elif choice < 0.9:
            out.append(rng.choice([pdu.A_RELEASE_RQ_PDU, pdu.A_RELEASE_RP_PDU, pdu.encode_abort(pdu.Abort(0, 0))]))
        else:
            out.append(rng.randbytes(rng.randrange(1, 30)))
    return b"".join(out)


def play(raw: bytes, sizes: list[int]) -> tuple[list[Any], bytes, State]:
    scp = acceptor(buffer=8192)
    stream: list[events.UpperLayerEvent] = []
    out = b""
    position = 0
    for size in sizes:
        scp.receive_data(raw[position : position + size], 0)
        position += size
        while got := drain_one(scp):
            stream.append(got)
        out += sent(scp)
    return flatten(stream), out, scp.state


def drain_one(scp: Connection) -> events.UpperLayerEvent | None:
    event = scp.next_event()
    if isinstance(event, events.AssociationRequested):
        scp.accept(AC)
    elif isinstance(event, events.ReleaseRequested):
        scp.release_response()
    elif isinstance(event, events.DataSetChunk):
        return events.DataSetChunk([memoryview(b"".join(event.views))], event.last)
    return event
