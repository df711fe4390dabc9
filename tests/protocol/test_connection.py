"""The upper layer in conversation with itself, with damage, and byte by byte."""

from __future__ import annotations

import random
from typing import Any

import pytest

from isocenter.ul import events
from isocenter.ul.connection import Connection, FilePart, LocalError
from isocenter.ul.table import State
from isocenter.wire import pdu
from isocenter.wire.command import encode_command
from upper_layer import AC, RQ, STORE, acceptor, drain, flatten, sent


def requestor() -> Connection:
    connection = Connection(requestor=True, now=0)
    connection.associate(RQ)
    connection.transport_connected(0)
    return connection


def pair(**config: Any) -> tuple[Connection, Connection]:
    scu, scp = requestor(), acceptor(**config)
    scp.receive_data(sent(scu), 0)
    (request,) = drain(scp)
    assert request == events.AssociationRequested(RQ)
    scp.accept(AC)
    scu.receive_data(sent(scp), 0)
    assert drain(scu) == [events.AssociationAccepted(AC)]
    assert (scu.state, scp.state) == (State.STA6, State.STA6)
    return scu, scp


def test_store_message_arrives_in_fragments_of_the_peers_size() -> None:
    scu, scp = pair()
    payload = random.Random(1).randbytes(100_001)
    scu.send_message(1, STORE)
    scu.send_data(1, payload[:50_000], last=False)
    scu.send_data(1, payload[50_000:], last=True)
    raw = sent(scu)
    scp.receive_data(raw, 0)
    assert flatten(drain(scp)) == [events.MessageStarted(1, STORE, True), payload]
    position = 0
    while position < len(raw):
        _, length = pdu.PDU_HEADER.unpack_from(raw, position)
        assert length <= AC.user.max_length
        position += 6 + length


@pytest.mark.parametrize("length", [2, 5000, 16_378, 16_380, 100_000])
@pytest.mark.parametrize("last", [False, True])
def test_a_part_of_a_file_is_framed_as_its_bytes_are(length: int, last: bool) -> None:
    payload = random.Random(2).randbytes(length + 10)
    (one, _), (other, _) = pair(), pair()
    one.send_file(1, FilePart(7, 4, length), last=last)
    other.send_data(1, payload[4 : 4 + length], last=last)
    out = one.data_to_send()
    assert {7} == {part.descriptor for part in out if isinstance(part, FilePart)}
    raw = [payload[part.offset :][: len(part)] if isinstance(part, FilePart) else part for part in out]
    assert sent(other) == b"".join(raw)


def test_a_long_fragment_is_handed_out_in_one_run_or_few() -> None:
    scu, scp = requestor(), acceptor()
    scp.receive_data(sent(scu), 0)
    drain(scp)
    scp.accept(AC._replace(user=pdu.UserInformation(max_length=1 << 20)))
    scu.receive_data(sent(scp), 0)
    drain(scu)
    payload = random.Random(3).randbytes(2_500_000)
    lengths = []
    for data, piece in ((payload, 200_000), (payload[:520_000], 50_000)):  # the buffer grows with what is read at once
        scu.send_message(1, STORE)
        scu.send_data(1, data, last=True)
        raw, chunks = memoryview(sent(scu)), list[bytes]()
        for at in range(0, len(raw), piece):  # as a socket gives it
            left = raw[at : at + piece]
            while left:
                room = scp.get_buffer()
                count = min(len(room), len(left))
                room[:count], left = left[:count], left[count:]
                scp.buffer_updated(count, 0)
                chunks += [bytes(one.views[0]) for one in drain(scp) if isinstance(one, events.DataSetChunk)]
        assert b"".join(chunks) == data
        lengths.append([len(chunk) for chunk in chunks])
    assert len(lengths[0]) < 8
    assert lengths[1] == [520_000]


def test_release_both_ways() -> None:
    scu, scp = pair()
    scu.release()
    scp.receive_data(sent(scu), 0)
    assert drain(scp) == [events.ReleaseRequested()]
    scp.release_response()
    scu.receive_data(sent(scp), 0)
    assert drain(scu) == [events.Released()]
    assert scu.close_expected
    scp.transport_closed(1)
    assert scp.close_expected
    assert drain(scp) == []


def test_release_collision() -> None:
    scu, scp = pair()
    scu.release()
    scp.release()
    to_scp, to_scu = sent(scu), sent(scp)
    scp.receive_data(to_scp, 0)
    scu.receive_data(to_scu, 0)
    assert drain(scp) == [events.ReleaseRequested()]
    assert drain(scu) == [events.ReleaseRequested()]
    assert (scu.state, scp.state) == (State.STA9, State.STA10)
    scp.release_response()  # has to wait for the requestor's answer
    assert sent(scp) == b""
    scu.release_response()
    scp.receive_data(sent(scu), 0)
    assert drain(scp) == [events.Released()]
    scu.receive_data(sent(scp), 0)
    assert drain(scu) == [events.Released()]
    assert (scu.state, scp.state) == (State.STA1, State.STA13)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"\x09\0\0\0\0\4abcd", pdu.UNRECOGNIZED_PDU),
        (pdu.A_RELEASE_RP_PDU, pdu.UNEXPECTED_PDU),
        (pdu.PDU_HEADER.pack(pdu.P_DATA_TF, 8_000_000), pdu.INVALID_PARAMETER),
        (pdu.PDU_HEADER.pack(pdu.P_DATA_TF, 3), pdu.INVALID_PARAMETER),
        (pdu.PDU_HEADER.pack(pdu.P_DATA_TF, 8) + pdu.PDV_HEADER.pack(4, 99, 3) + b"ab", pdu.INVALID_PARAMETER),
        (pdu.PDU_HEADER.pack(pdu.P_DATA_TF, 8) + pdu.PDV_HEADER.pack(400, 1, 3) + b"ab", pdu.INVALID_PARAMETER),
        (pdu.PDU_HEADER.pack(pdu.P_DATA_TF, 8) + pdu.PDV_HEADER.pack(4, 1, 3) + b"ab", pdu.INVALID_PARAMETER),
        (pdu.PDU_HEADER.pack(pdu.P_DATA_TF, 8) + pdu.PDV_HEADER.pack(4, 1, 0) + b"ab", pdu.UNEXPECTED_PDU),
        (pdu.encode_associate_rq(RQ), pdu.UNEXPECTED_PDU),
    ],
)
def test_what_is_wrong_is_answered_with_one_abort(raw: bytes, reason: int) -> None:
    _, scp = pair()
    scp.receive_data(raw + pdu.A_RELEASE_RQ_PDU * 3, 1)
    (event,) = drain(scp)
    assert isinstance(event, events.Aborted)
    assert event.local
    assert sent(scp) == pdu.encode_abort(pdu.Abort(2, reason))
    scp.receive_data(raw, 2)
    assert drain(scp) == []
    assert sent(scp) == b""
    assert scp.next_timeout() == 31
    scp.handle_timeout(31)
    assert scp.close_expected


def test_associate_request_over_the_limit_is_refused_after_its_header() -> None:
    scp = acceptor()
    scp.receive_data(pdu.PDU_HEADER.pack(pdu.A_ASSOCIATE_RQ, 256 * 1024 + 1), 0)
    (event,) = drain(scp)
    assert isinstance(event, events.Aborted)
    assert sent(scp) == pdu.encode_abort(pdu.Abort(2, pdu.INVALID_PARAMETER))


def test_silence_before_the_request_ends_by_artim() -> None:
    scp = acceptor(artim=5.0)
    assert scp.next_timeout() == 5
    scp.handle_timeout(4.9)
    assert not scp.close_expected
    scp.handle_timeout(5)
    assert scp.close_expected
    (event,) = drain(scp)
    assert isinstance(event, events.Aborted)


def test_idle_and_lifetime_abort() -> None:
    _, scp = pair(idle=10.0, lifetime=100.0)
    assert scp.next_timeout() == 10
    scp.touch(95)
    assert scp.next_timeout() == 100
    scp.handle_timeout(99)
    assert drain(scp) == []
    scp.handle_timeout(100)
    (event,) = drain(scp)
    assert isinstance(event, events.Aborted)
    assert sent(scp) == pdu.encode_abort(pdu.Abort(2, 0))


def test_abort_by_the_peer_and_loss_of_the_transport() -> None:
    scu, scp = pair()
    scu.abort()
    scp.receive_data(sent(scu), 0)
    assert drain(scp) == [events.Aborted(pdu.Abort(0, 0), False, "aborted by the peer's application")]
    assert scp.close_expected
    scu, scp = pair()
    scp.transport_closed(1)
    (event,) = drain(scp)
    assert isinstance(event, events.Aborted)
    assert not event.local


def test_reject() -> None:
    scu, scp = requestor(), acceptor()
    scp.receive_data(sent(scu), 0)
    drain(scp)
    scp.reject(pdu.AssociateRJ(1, 1, 7))
    scu.receive_data(sent(scp), 0)
    assert drain(scu) == [events.AssociationRefused(pdu.AssociateRJ(1, 1, 7))]
    assert scu.close_expected


def test_our_own_mistakes_raise() -> None:
    with pytest.raises(LocalError):
        acceptor().send_message(1, STORE)


def test_command_in_pieces_and_too_long() -> None:
    scu, scp = pair()
    raw = encode_command(STORE)
    for n in range(0, len(raw), 10):
        scu._p_data(scu.outgoing, 1, raw[n : n + 10], 1, last=n + 10 >= len(raw))
    scp.receive_data(sent(scu), 0)
    assert drain(scp) == [events.MessageStarted(1, STORE, True)]
    scu, scp = pair()
    scu._p_data(scu.outgoing, 1, bytes(70_000), 1, last=True)
    scp.receive_data(sent(scu), 0)
    (event,) = drain(scp)
    assert isinstance(event, events.Aborted)
    assert "65536" in event.why


def test_a_tls_record_is_called_what_it_is() -> None:
    connection = Connection(requestor=False, now=0)
    connection.receive_data(b"\x16\x03\x01\x02\x00\x01\x00\x01", 0)
    event = connection.next_event()
    assert isinstance(event, events.Aborted)
    assert event.why == "the peer speaks TLS, where plain DICOM was expected"


def test_an_http_answer_is_called_what_it_is() -> None:
    connection = Connection(requestor=True, now=0)
    connection.associate(RQ)
    connection.transport_connected(0)
    connection.receive_data(b"HTTP/1.1 400 Bad Request\r\n\r\n", 0)
    event = connection.next_event()
    assert isinstance(event, events.Aborted)
    assert "the peer speaks HTTP" in event.why
