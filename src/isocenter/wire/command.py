"""DIMSE command sets (PS3.7 section 6.3 and Annex E): always implicit VR little endian, group 0000 only.

A command set is a dict from keyword to value: int for US and UL, str for UI, AE and LO, tuple of int tags for AT.
Elements outside Table E.1-1 are skipped; several retired ones are still sent, and Orthanc puts the Failed SOP Instance
UID List of a C-GET here, behind group 0000.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Any

from isocenter.errors import ProtocolError

CommandSet = dict[str, Any]

NO_DATA_SET = 0x0101


class Verb(IntEnum):
    """Command Field (0000,0100) of the requests; a response has 0x8000 added (Table E.1-1)."""

    C_STORE = 0x0001
    C_GET = 0x0010
    C_FIND = 0x0020
    C_MOVE = 0x0021
    C_ECHO = 0x0030
    N_EVENT_REPORT = 0x0100
    N_GET = 0x0110
    N_SET = 0x0120
    N_ACTION = 0x0130
    N_CREATE = 0x0140
    N_DELETE = 0x0150
    C_CANCEL = 0x0FFF


RESPONSE = 0x8000

NORMALIZED = frozenset({Verb.N_EVENT_REPORT, Verb.N_GET, Verb.N_SET, Verb.N_ACTION, Verb.N_CREATE, Verb.N_DELETE})
"""The verbs of DIMSE-N (PS3.7 section 7.5)."""

_ELEMENTS: dict[int, tuple[str, str]] = {
    0x0002: ("UI", "AffectedSOPClassUID"),
    0x0003: ("UI", "RequestedSOPClassUID"),
    0x0100: ("US", "CommandField"),
    0x0110: ("US", "MessageID"),
    0x0120: ("US", "MessageIDBeingRespondedTo"),
    0x0600: ("AE", "MoveDestination"),
    0x0700: ("US", "Priority"),
    0x0800: ("US", "CommandDataSetType"),
    0x0900: ("US", "Status"),
    0x0901: ("AT", "OffendingElement"),
    0x0902: ("LO", "ErrorComment"),
    0x0903: ("US", "ErrorID"),
    0x1000: ("UI", "AffectedSOPInstanceUID"),
    0x1001: ("UI", "RequestedSOPInstanceUID"),
    0x1002: ("US", "EventTypeID"),
    0x1005: ("AT", "AttributeIdentifierList"),
    0x1008: ("US", "ActionTypeID"),
    0x1020: ("US", "NumberOfRemainingSuboperations"),
    0x1021: ("US", "NumberOfCompletedSuboperations"),
    0x1022: ("US", "NumberOfFailedSuboperations"),
    0x1023: ("US", "NumberOfWarningSuboperations"),
    0x1030: ("AE", "MoveOriginatorApplicationEntityTitle"),
    0x1031: ("US", "MoveOriginatorMessageID"),
}
_BY_KEYWORD = {keyword: (element, vr) for element, (vr, keyword) in _ELEMENTS.items()}

_HEADER = struct.Struct("<HHL")
_US_ELEMENT = struct.Struct("<HHLH")
_U16 = struct.Struct("<H")
_GROUP_LENGTH = struct.Struct("<HHLL")


def decode_command(raw: bytes | bytearray | memoryview) -> CommandSet:
    """The command set in `raw`. Raises ProtocolError with the byte offset for anything that does not add up."""
    command: CommandSet = {}
    position, end = 0, len(raw)
    while position < end:
        if end - position < 8:
            raise ProtocolError("command element header cut off", offset=position)
        group, element, length = _HEADER.unpack_from(raw, position)
        if group != 0 and "CommandField" not in command:
            raise ProtocolError(f"element of group {group:04X} in a command set", offset=position)
        position += 8
        if length > end - position:
            raise ProtocolError(f"value of ({group:04X},{element:04X}) is longer than the command set", offset=position)
        known = None if group else _ELEMENTS.get(element)
        if known is not None:
            vr, keyword = known
            if vr == "US":
                if length != 2:
                    raise ProtocolError(f"(0000,{element:04X}) has {length} bytes instead of 2", offset=position)
                command[keyword] = _U16.unpack_from(raw, position)[0]
            elif vr == "AT":
                count = length // 4
                numbers = struct.unpack_from(f"<{count * 2}H", raw, position)
                command[keyword] = tuple(numbers[i] << 16 | numbers[i + 1] for i in range(0, count * 2, 2))
            else:
                command[keyword] = bytes(raw[position : position + length]).decode("latin-1").strip(" \0")
        position += length
    if "CommandField" not in command:
        raise ProtocolError("command set without Command Field (0000,0100)", offset=0)
    return command


def encode_command(command: CommandSet) -> bytes:
    """The bytes of a command set, elements in order, with Command Group Length. KeyError for unknown keywords."""
    parts: list[tuple[int, bytes]] = []
    for keyword, value in command.items():
        element, vr = _BY_KEYWORD[keyword]
        if vr == "US":
            parts.append((element, _US_ELEMENT.pack(0, element, 2, value)))
            continue
        if vr == "AT":
            raw = b"".join(struct.pack("<HH", tag >> 16, tag & 0xFFFF) for tag in value)
        else:
            raw = value.encode("ascii", "replace")
            if vr == "LO":
                raw = raw[:64]
            if len(raw) % 2:
                raw += b"\0" if vr == "UI" else b" "
        parts.append((element, _HEADER.pack(0, element, len(raw)) + raw))
    parts.sort()
    body = b"".join([raw for _, raw in parts])
    return _GROUP_LENGTH.pack(0, 0, 4, len(body)) + body


def response_to(request: CommandSet, status: int, **more: Any) -> CommandSet:
    """The response to `request`: same SOP class and instance, no data set unless `more` says otherwise."""
    command: CommandSet = {
        "CommandField": request["CommandField"] | RESPONSE,
        "MessageIDBeingRespondedTo": request.get("MessageID", 0),
        "CommandDataSetType": NO_DATA_SET,
        "Status": status,
    }
    for affected, requested in (
        ("AffectedSOPClassUID", "RequestedSOPClassUID"),
        ("AffectedSOPInstanceUID", "RequestedSOPInstanceUID"),
    ):
        uid = request.get(affected) or request.get(requested)
        if uid:
            command[affected] = uid
    command.update(more)
    return command
