"""The most that one A-ASSOCIATE-RQ can make us do: items are counted, answers bounded, and what is repeated is read.

What is counted here instead of timed is calls. The worst shape takes 49,000, and 5 ms of CPU on the machine of
bench/README.md; 10 ms are wanted.
"""

from __future__ import annotations

import struct
import sys
from types import FrameType

import pytest

from isocenter.services.base import Request, Services, Sink
from isocenter.services.storage import StorageService
from isocenter.services.verification import VerificationService
from isocenter.ul import events
from isocenter.ul.connection import Connection
from isocenter.ul.negotiation import Policy, agreed, negotiate
from isocenter.ul.table import State
from isocenter.wire import pdu

CT = b"1.2.840.10008.5.1.4.1.1.2"
SIZE = 65536
MOST_CALLS = 60_000


def item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(body)) + body


FIXED = struct.pack(">HH16s16s32x", 1, 0, b"US".ljust(16), b"THEM".ljust(16))
FIXED += item(0x10, pdu.APPLICATION_CONTEXT.encode())
ROOM = SIZE - 6 - len(FIXED)
INSIDE = ROOM - 4 - 40  # one more item around it


def many(unit: bytes, size: int = INSIDE) -> bytes:
    return unit * (size // len(unit))


def context(number: int, syntaxes: bytes) -> bytes:
    return item(0x20, bytes((number, 0, 0, 0)) + item(0x30, CT) + syntaxes)


def user(*items: bytes) -> bytes:
    return item(0x50, b"".join(items))


def distinct(kind: int, tail: bytes) -> bytes:
    out = [item(kind, b"\0\5%05d" % n + tail) for n in range(10000, 10000 + INSIDE // (11 + len(tail)))]
    return user(*out)


WORST = {
    "unknown items": many(item(0x99, b""), ROOM),
    "empty transfer syntaxes": context(1, many(item(0x40, b""))),
    "short transfer syntaxes": context(1, many(item(0x40, b"1"))),
    "real transfer syntaxes": context(1, many(item(0x40, b"1.2.840.10008.1.2"))),
    "128 contexts": b"".join(context(2 * n + 1, many(item(0x40, b"1"), 460)) for n in range(128)),
    "unknown user items": user(many(item(0x99, b""))),
    "implementation classes": user(many(item(0x52, b""))),
    "empty roles": user(many(item(0x54, b"\0\0\1\1"))),
    "the same role": user(many(item(0x54, struct.pack(">H", len(CT)) + CT + b"\1\1"))),
    "roles of other classes": distinct(0x54, b"\1\1"),
    "extended negotiation": user(many(item(0x56, b"\0\0"))),
    "extended negotiation of other classes": distinct(0x56, b"\1"),
    "common extended negotiation": user(many(item(0x57, b"\0\0\0\0\0\0"))),
    "related general classes": user(item(0x57, b"\0\0\0\0" + struct.pack(">H", INSIDE // 2 * 2) + many(b"\0\0"))),
    "user identities": user(many(item(0x58, b"\1\0\0\0\0\0"))),
    "user information": many(user(item(0x54, b"\0\0\1\1")), ROOM),
}


def request(body: bytes) -> bytes:
    return pdu.PDU_HEADER.pack(pdu.A_ASSOCIATE_RQ, len(FIXED) + len(body)) + FIXED + body


def no_sink(request: Request) -> Sink:
    raise AssertionError("nothing is stored here")


def policy() -> Policy:
    """All there is, private SOP Classes too, so that no name is refused by being unknown."""
    services = Services((VerificationService(), StorageService(no_sink, private=True)))
    return Policy(services.supports, "1.2.3", "TEST")


def answered(raw: bytes) -> tuple[Connection, events.UpperLayerEvent]:
    """What an acceptor does with a request: decode, negotiate, answer."""
    connection = Connection(requestor=False, now=0)
    connection.receive_data(raw, 0)
    event = connection.next_event()
    assert event is not None
    if isinstance(event, events.AssociationRequested):
        answer = negotiate(event.rq, policy())
        assert isinstance(answer, pdu.AssociateAC)
        agreed(event.rq, answer)
        connection.accept(answer)
    return connection, event


@pytest.mark.parametrize("shape", WORST)
def test_the_worst_shapes_of_64_kib_cost_a_bounded_number_of_calls(shape: str) -> None:
    raw = request(WORST[shape])
    assert SIZE - 2500 < len(raw) <= SIZE
    calls = 0

    def count(frame: FrameType, kind: str, arg: object) -> None:
        nonlocal calls
        calls += kind in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        connection, event = answered(raw)
    finally:
        sys.setprofile(before)
    assert calls < MOST_CALLS
    assert sum(map(len, connection.data_to_send())) < 4096
    if isinstance(event, events.Aborted):
        assert "items" in event.why
        assert connection.state is State.STA13


def test_an_honest_request_with_128_contexts_of_60_transfer_syntaxes_is_read() -> None:
    syntaxes = tuple(f"1.2.840.10008.1.2.4.{n}" for n in range(60))
    contexts = tuple(pdu.ProposedContext(2 * n + 1, f"1.2.840.10008.5.1.{n}", syntaxes) for n in range(128))
    roles = tuple(pdu.RoleSelection(one.abstract_syntax, True, True) for one in contexts)
    rq = pdu.AssociateRQ("US", "THEM", contexts, pdu.UserInformation(roles=roles))
    raw = pdu.encode_associate_rq(rq)
    assert len(raw) < 256 * 1024
    connection, event = answered(raw)
    assert event == events.AssociationRequested(rq)
    assert connection.state is State.STA6


@pytest.mark.parametrize("kind", [0x30, 0x40])
def test_a_uid_has_at_most_64_characters(kind: int) -> None:
    syntaxes = item(0x40, b"1.2.840.10008.1.2")
    body = item(0x20, b"\1\0\0\0" + item(0x30, CT) + syntaxes + item(kind, b"1" * 65))
    _, event = answered(request(body + user()))
    assert isinstance(event, events.Aborted)
    assert "64 at most" in event.why


def test_uids_of_any_bytes_are_repeated_as_they_were() -> None:
    contexts = (pdu.ProposedContext(1, "1.2.\xe9", ("1.2.\xff",)),)
    connection, _ = answered(pdu.encode_associate_rq(pdu.AssociateRQ("US", "THEM", contexts, pdu.UserInformation())))
    answer = pdu.decode_associate_ac(memoryview(b"".join(connection.data_to_send()))[6:])
    assert answer.contexts == (pdu.ContextResult(1, 4, "1.2.\xff"),)


@pytest.mark.parametrize("title", ["A\nB", "\x1b[31m", "M\xcbRI"])
def test_titles_that_would_spoil_a_log_are_rejected(title: str) -> None:
    user = pdu.UserInformation()
    assert negotiate(pdu.AssociateRQ("US", title, (), user), policy()) == pdu.AssociateRJ(1, 1, 3)
    assert negotiate(pdu.AssociateRQ(title, "THEM", (), user), policy()) == pdu.AssociateRJ(1, 1, 7)


def test_roles_and_options_are_answered_once_for_each_proposed_class() -> None:
    roles = (pdu.RoleSelection("1.2.3", True, True), pdu.RoleSelection("1.2.3", True, False)) * 300
    others = tuple(pdu.RoleSelection(f"1.2.3.{n}", True, True) for n in range(400))
    contexts = (pdu.ProposedContext(1, "1.2.3", ("1.2.840.10008.1.2",)),)
    rq = pdu.AssociateRQ("US", "THEM", contexts, pdu.UserInformation(roles=roles + others))
    answer = negotiate(rq, policy())
    assert isinstance(answer, pdu.AssociateAC)
    assert [role.sop_class for role in answer.user.roles] == ["1.2.3"]
