"""The upper layer for tests: small conversations of a requestor, and an acceptor that plays its part in them."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from isocenter.ul import events
from isocenter.ul.connection import Config, Connection
from isocenter.ul.negotiation import Policy, Support, negotiate
from isocenter.ul.table import State
from isocenter.wire import pdu
from isocenter.wire.command import Verb

CT, IMPLICIT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2"
RQ = pdu.AssociateRQ("US", "THEM", (pdu.ProposedContext(1, CT, (IMPLICIT,)),), pdu.UserInformation(max_length=16384))
AC = pdu.AssociateAC("US", "THEM", (pdu.ContextResult(1, 0, IMPLICIT),), pdu.UserInformation(max_length=4096))
STORE = {"CommandField": Verb.C_STORE, "MessageID": 1, "CommandDataSetType": 1, "AffectedSOPInstanceUID": "1.2"}


POLICY = Policy(
    {CT: Support(frozenset({IMPLICIT}), scu=True, extended=lambda info: info[:1])}.get, "1.2.3", "TEST", operations=4
)
"""What play() accepts."""

_FULL = pdu.UserInformation(
    16384,
    "1.2.3.4",
    "NAME",
    (8, 1),
    (pdu.RoleSelection(CT, True, True), pdu.RoleSelection("1.2.3", True, True)),
    (pdu.ExtendedNegotiation(CT, b"\1\1\1"),),
    (pdu.CommonExtendedNegotiation(CT, "1.2.840.10008.4.2", ("1.2.3.6", "1.2.3.7")),),
    pdu.UserIdentity(2, b"user", b"pass", True),
)
_CONTEXTS = tuple(pdu.ProposedContext(2 * n + 1, CT, ("1.2.3", IMPLICIT)) for n in range(5))
REQUESTS = [pdu.encode_associate_rq(RQ), pdu.encode_associate_rq(pdu.AssociateRQ("US", "THEM", _CONTEXTS, _FULL))]
ANSWERS = [pdu.encode_associate_ac(AC)] * 5 + [pdu.encode_associate_rj(pdu.AssociateRJ(1, 1, 7))]
CONTROLS = [pdu.A_RELEASE_RQ_PDU, pdu.A_RELEASE_RP_PDU, pdu.encode_abort(pdu.Abort(0, 0)), *REQUESTS, *ANSWERS[-2:]]
COMMANDS = [
    STORE,
    {"CommandField": Verb.C_STORE | 0x8000, "MessageIDBeingRespondedTo": 1, "Status": 0},
    {"CommandField": Verb.C_CANCEL, "MessageIDBeingRespondedTo": 1},
]


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


def pdus(rng: random.Random, *, requestor: bool, largest: int = 4000) -> list[bytes]:
    """What one side may send, PDU by PDU or message by message, most of it legal. `largest`: bytes of a data set."""
    out = [rng.choice(REQUESTS if requestor else ANSWERS)]
    for _ in range(rng.randrange(6)):
        choice = rng.random()
        if choice < 0.7:
            sender = Connection(requestor=True, now=0)
            sender.state, sender._contexts = State.STA6, {1}
            sender.peer_max_pdu = rng.choice([16, 64, 1000, 16384, 0])
            sender.send_message(1, {**rng.choice(COMMANDS), "MessageID": rng.randrange(1, 9), "CommandDataSetType": 1})
            for left in range(rng.randrange(4), -1, -1):
                sender.send_data(1, rng.randbytes(2 * rng.randrange(largest // 2)), last=left == 0)
            out.append(sent(sender))
        elif choice < 0.8:
            out.append(pdu.PDU_HEADER.pack(pdu.P_DATA_TF, 6 + 10) + pdu.PDV_HEADER.pack(12, 1, 3) + rng.randbytes(10))
        elif choice < 0.95:
            out.append(rng.choice(CONTROLS))
        else:
            out.append(rng.randbytes(rng.randrange(1, 30)))
    return out


def play(raw: bytes, sizes: Iterable[int], *, requestor: bool = False) -> tuple[list[Any], bytes, Connection]:
    """One side's part in a conversation of which it receives `raw` in pieces of `sizes`: what it is told, what it sends
    in answer, and how it ends. It answers at once, and never releases by itself."""
    connection = Connection(requestor=requestor, now=0, config=Config(buffer=8192))
    if requestor:
        connection.associate(RQ)
        connection.transport_connected(0)
    stream: list[events.UpperLayerEvent] = []
    out = bytearray()
    position = 0
    for size in sizes:
        connection.receive_data(raw[position : position + size], 0)
        position += size
        while (event := _answered(connection)) is not None:
            stream.append(event)
        for part in connection.data_to_send():
            out += part
    return flatten(stream), bytes(out), connection


def _answered(connection: Connection) -> events.UpperLayerEvent | None:
    event = connection.next_event()
    if isinstance(event, events.AssociationRequested):
        answer = negotiate(event.rq, POLICY)
        if isinstance(answer, pdu.AssociateRJ):
            connection.reject(answer)
        else:
            connection.accept(answer)
    elif isinstance(event, events.ReleaseRequested):
        connection.release_response()
    elif isinstance(event, events.DataSetChunk):
        return events.DataSetChunk([memoryview(b"".join(event.views))], event.last)
    return event
