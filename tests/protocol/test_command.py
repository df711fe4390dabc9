"""Command sets against pydicom's writer and against damage."""

from __future__ import annotations

import random
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.filewriter import write_dataset

from isocenter.errors import ProtocolError
from isocenter.wire.command import (
    NO_DATA_SET,
    CommandReader,
    CommandSet,
    Verb,
    decode_command,
    encode_command,
    encode_request,
    encode_response,
    response_to,
)

STORE = {
    "AffectedSOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
    "CommandField": Verb.C_STORE,
    "MessageID": 7,
    "Priority": 0,
    "CommandDataSetType": 1,
    "AffectedSOPInstanceUID": "1.2.3.4.5",
}


def test_round_trip_in_tag_order() -> None:
    raw = encode_command(dict(reversed(STORE.items())))
    assert raw == encode_command(STORE)
    assert decode_command(raw) == STORE


def test_pydicom_writes_the_same_bytes() -> None:
    dataset = Dataset()
    for keyword, value in STORE.items():
        setattr(dataset, keyword, value)
    dataset.OffendingElement = [0x00100010, 0x00080018]
    out = BytesIO()
    out.is_little_endian, out.is_implicit_VR = True, True  # type: ignore[attr-defined]
    from pydicom.filebase import DicomFileLike

    file = DicomFileLike(out)
    file.is_little_endian, file.is_implicit_VR = True, True
    write_dataset(file, dataset)
    ours = encode_command({**STORE, "OffendingElement": (0x00100010, 0x00080018)})
    assert out.getvalue() == ours[12:]


def test_response_repeats_class_and_instance() -> None:
    assert response_to(STORE, 0xA700, ErrorComment="full") == {
        "CommandField": 0x8001,
        "MessageIDBeingRespondedTo": 7,
        "CommandDataSetType": NO_DATA_SET,
        "Status": 0xA700,
        "AffectedSOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
        "AffectedSOPInstanceUID": "1.2.3.4.5",
        "ErrorComment": "full",
    }


def test_error_comment_is_cut_at_64_characters() -> None:
    raw = encode_command({"CommandField": 0x8001, "ErrorComment": "x" * 100})
    assert decode_command(raw)["ErrorComment"] == "x" * 64


@given(st.binary(max_size=200))
def test_any_bytes_give_a_command_or_a_protocol_error(raw: bytes) -> None:
    try:
        assert "CommandField" in decode_command(raw)
    except ProtocolError as error:
        assert error.offset is not None


def test_retired_elements_are_skipped() -> None:
    raw = b"\0\0\x01\x00\x04\0\0\0\x10\0\0\0" + encode_command(STORE)
    assert decode_command(raw) == STORE


def test_elements_of_other_groups_are_skipped_behind_those_of_the_command_and_only_there() -> None:
    other = b"\x08\0\x10\x01\x02\0\0\0\x01\0"  # (0008,0110), not the Message ID (0000,0110)
    assert decode_command(encode_command(STORE) + other) == STORE
    with pytest.raises(ProtocolError, match="group 0008"):
        decode_command(other + encode_command(STORE))


@pytest.mark.parametrize("cut", [5, 13, 25])
def test_truncated(cut: int) -> None:
    with pytest.raises(ProtocolError):
        decode_command(encode_command(STORE)[:cut])


UIDS = st.integers(0, 10**40).map(lambda number: f"1.2.{number}")
COMMANDS = st.fixed_dictionaries(
    {"CommandField": st.sampled_from([0x0001, 0x0021, 0x0030, 0x8001])},
    optional={
        "AffectedSOPClassUID": st.sampled_from(["1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"]),
        "RequestedSOPInstanceUID": UIDS,
        "MessageID": st.integers(0, 0xFFFF),
        "MessageIDBeingRespondedTo": st.integers(0, 0xFFFF),
        "Status": st.sampled_from([0x0000, 0xFF00, 0xA700]),
        "OffendingElement": st.sampled_from([(), (0x00100010,)]),
        "AffectedSOPInstanceUID": UIDS,
        "MoveOriginatorApplicationEntityTitle": st.sampled_from(["A", "LONGER"]),
    },
)


@given(st.lists(COMMANDS, min_size=1, max_size=3), st.integers(0, 2**32))
def test_a_reader_that_has_read_others_reads_the_same(commands: list[CommandSet], seed: int) -> None:
    reader, rng = CommandReader(), random.Random(seed)
    for _ in range(12):
        raw = bytearray(encode_command(rng.choice(commands)))
        for _ in range(rng.randrange(3)):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        try:
            expected = decode_command(raw)
        except ProtocolError as error:
            with pytest.raises(ProtocolError) as found:
                reader.decode(bytes(raw), 1)
            assert str(error) == str(found.value)
        else:
            assert expected == reader.decode(bytes(raw), 1)


def test_a_reader_takes_only_the_message_id_and_the_instance_from_a_command_like_one_before() -> None:
    reader = CommandReader()
    reader.decode(encode_command(STORE), 1)
    other = {**STORE, "MessageID": 8, "AffectedSOPInstanceUID": "1.2.3.4.6"}
    assert reader.decode(encode_command(other), 1) == other
    assert reader.decode(encode_command({**other, "Priority": 2}), 1) == {**other, "Priority": 2}
    padded = encode_command(STORE).replace(b"1.2.3.4.5\0", b"1.2.3.4.56")
    assert reader.decode(padded, 1) == {**STORE, "AffectedSOPInstanceUID": "1.2.3.4.56"}


def test_what_a_reader_gives_is_nobody_elses() -> None:
    reader = CommandReader()
    raw = encode_command(STORE)
    for _ in range(3):
        command = reader.decode(raw, 1)
        assert command == STORE
        command.clear()


@given(COMMANDS, st.sampled_from([0x0000, 0x0110, 0xA700]))
def test_a_response_is_encoded_as_its_command_set_would_be(request: CommandSet, status: int) -> None:
    assert encode_command(response_to(request, status)) == encode_response(request, status)


@pytest.mark.parametrize("uid", [None, "1.2.3.4", "1.2.3.45", "1.2." + "9" * 60])
@pytest.mark.parametrize("number", [1, 0xFFFF])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"Priority": 2, "CommandDataSetType": 1},
        {"MoveOriginatorApplicationEntityTitle": "SOMEBODY", "MoveOriginatorMessageID": 9},
        {"RequestedSOPInstanceUID": "1.2.9", "AttributeIdentifierList": (0x00100010, 0x00100020)},
    ],
)
def test_a_request_is_encoded_as_its_command_set_would_be(uid: str | None, number: int, more: CommandSet) -> None:
    request: CommandSet = {"AffectedSOPClassUID": "1.2.840.10008.1.1", "CommandField": 1, "MessageID": number, **more}
    if uid is not None:
        request["AffectedSOPInstanceUID"] = uid
    before = dict(request)
    assert encode_command(request) == encode_request(request)
    assert before == request
