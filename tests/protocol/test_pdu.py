"""PDUs survive the way there and back, and damaged ones raise ProtocolError and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isocenter.errors import ProtocolError
from isocenter.wire import pdu
from isocenter.wire.limits import Limits

uids = st.from_regex(r"[1-9][0-9]{0,3}(\.(0|[1-9][0-9]{0,5})){1,8}", fullmatch=True)
titles = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="\\"), min_size=1, max_size=16
)
names = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=16)
blobs = st.binary(max_size=40)
u16 = st.integers(0, 0xFFFF)

users = st.builds(
    pdu.UserInformation,
    max_length=st.integers(0, 0xFFFFFFFF),
    implementation_class_uid=uids,
    implementation_version_name=names,
    async_operations=st.none() | st.tuples(u16, u16),
    roles=st.lists(st.builds(pdu.RoleSelection, uids, st.booleans(), st.booleans()), max_size=4).map(tuple),
    extended=st.lists(st.builds(pdu.ExtendedNegotiation, uids, blobs), max_size=4).map(tuple),
    common_extended=st.lists(
        st.builds(
            pdu.CommonExtendedNegotiation, uids, uids, st.lists(uids, max_size=3).map(tuple), st.integers(0, 255)
        ),
        max_size=3,
    ).map(tuple),
    identity=st.none() | st.builds(pdu.UserIdentity, st.integers(1, 5), blobs, blobs, st.booleans()),
    identity_response=st.none() | blobs,
)
context_ids = st.lists(st.integers(0, 127).map(lambda n: 2 * n + 1), unique=True, max_size=20)
requests = context_ids.flatmap(
    lambda ids: st.builds(
        pdu.AssociateRQ,
        titles,
        titles,
        st.tuples(
            *(st.builds(pdu.ProposedContext, st.just(i), uids, st.lists(uids, max_size=5).map(tuple)) for i in ids)
        ),
        users,
        uids,
        st.integers(0, 0xFFFF),
    )
)
answers = context_ids.flatmap(
    lambda ids: st.builds(
        pdu.AssociateAC,
        titles,
        titles,
        st.tuples(*(st.builds(pdu.ContextResult, st.just(i), st.integers(0, 4), uids) for i in ids)),
        users,
        uids,
        st.integers(0, 0xFFFF),
    )
)


def body(raw: bytes) -> memoryview:
    kind, length = pdu.PDU_HEADER.unpack_from(raw)
    assert length == len(raw) - 6
    return memoryview(raw)[6:]


@given(requests)
def test_associate_rq_round_trip(rq: pdu.AssociateRQ) -> None:
    assert rq == pdu.decode_associate_rq(body(pdu.encode_associate_rq(rq)))


@given(answers)
def test_associate_ac_round_trip(ac: pdu.AssociateAC) -> None:
    assert ac == pdu.decode_associate_ac(body(pdu.encode_associate_ac(ac)))


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_reject_round_trip(numbers: tuple[int, int, int]) -> None:
    rj = pdu.AssociateRJ(*numbers)
    assert rj == pdu.decode_associate_rj(body(pdu.encode_associate_rj(rj)))


@given(requests, st.data())
@settings(max_examples=300)
def test_damaged_requests_raise_protocol_error_only(rq: pdu.AssociateRQ, data: st.DataObject) -> None:
    raw = bytearray(pdu.encode_associate_rq(rq))[6:]
    for _ in range(data.draw(st.integers(1, 5))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    for damaged in (raw, raw[:cut]):
        try:
            pdu.decode_associate_rq(memoryview(damaged))
        except ProtocolError as error:
            assert error.offset is not None


def test_more_contexts_than_the_limit_are_refused() -> None:
    contexts = tuple(pdu.ProposedContext(2 * n + 1, "1.2.3", ("1.2.840.10008.1.2",)) for n in range(5))
    raw = pdu.encode_associate_rq(pdu.AssociateRQ("A", "B", contexts, pdu.UserInformation()))
    with pytest.raises(ProtocolError, match="more than 4 presentation contexts"):
        pdu.decode_associate_rq(body(raw), Limits(presentation_contexts=4))


@pytest.mark.parametrize("ids", [(1, 1), (2,)])
def test_context_ids_are_odd_and_unique(ids: tuple[int, ...]) -> None:
    contexts = tuple(pdu.ProposedContext(n, "1.2.3", ("1.2.840.10008.1.2",)) for n in ids)
    raw = pdu.encode_associate_rq(pdu.AssociateRQ("A", "B", contexts, pdu.UserInformation()))
    with pytest.raises(ProtocolError, match="even or used twice"):
        pdu.decode_associate_rq(body(raw))


def test_pynetdicom_reads_our_request_and_we_its() -> None:
    primitives = pytest.importorskip("pynetdicom.pdu")
    user = pdu.UserInformation(
        16384,
        "1.2.3.4",
        "NAME",
        (8, 1),
        (pdu.RoleSelection("1.2.840.10008.5.1.4.1.1.2", True, True),),
        (pdu.ExtendedNegotiation("1.2.840.10008.5.1.4.1.2.2.1", b"\1\1\1"),),
        (pdu.CommonExtendedNegotiation("1.2.3.5", "1.2.840.10008.4.2", ("1.2.3.6",)),),
        pdu.UserIdentity(2, b"user", b"pass", True),
    )
    contexts = (pdu.ProposedContext(1, "1.2.840.10008.1.1", ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")),)
    raw = pdu.encode_associate_rq(pdu.AssociateRQ("CALLED", "CALLING", contexts, user))
    theirs = primitives.A_ASSOCIATE_RQ()
    theirs.decode(raw)
    assert theirs.called_ae_title.strip() == "CALLED"
    assert theirs.user_information.maximum_length == 16384
    assert theirs.user_information.user_identity.primary_field == b"user"
    assert theirs.user_information.async_ops_window.maximum_number_operations_invoked == 8
    assert pdu.decode_associate_rq(body(raw)) == pdu.decode_associate_rq(body(theirs.encode()))
