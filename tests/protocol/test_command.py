"""Command sets against pydicom's writer and against damage."""

from __future__ import annotations

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.filewriter import write_dataset

from isocenter.errors import ProtocolError
from isocenter.wire.command import NO_DATA_SET, Verb, decode_command, encode_command, response_to

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
