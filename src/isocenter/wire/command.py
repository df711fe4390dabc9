"""DIMSE command sets (PS3.7 section 6.3 and Annex E): always implicit VR little endian, group 0000 only.

A command set is a dict from keyword to value: int for US and UL, str for UI, AE and LO, tuple of int tags for AT.
Elements outside Table E.1-1 are skipped; several retired ones are still sent, and Orthanc puts the Failed SOP Instance
UID List of a C-GET here, behind group 0000.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from functools import lru_cache
from typing import Any, NamedTuple

from isocenter.errors import ProtocolError

CommandSet = dict[str, Any]
Buffer = bytes | bytearray | memoryview

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

_COMMAND_FIELD = 0x0100
_NUMBERS = ("MessageID", "MessageIDBeingRespondedTo")
_LONGEST_PATTERN, _MOST_PATTERNS = 512, 16  # bytes; and how many an association keeps


def decode_command(raw: Buffer) -> CommandSet:
    """The command set in `raw`. Raises ProtocolError with the byte offset for anything that does not add up."""
    command: CommandSet = {}
    for vr, keyword, position, length in _known_elements(raw):
        if vr == "US":
            command[keyword] = _U16.unpack_from(raw, position)[0]
        elif vr == "AT":
            count = length // 4
            numbers = struct.unpack_from(f"<{count * 2}H", raw, position)
            command[keyword] = tuple(numbers[i] << 16 | numbers[i + 1] for i in range(0, count * 2, 2))
        else:
            command[keyword] = _text(bytes(raw[position : position + length]))
    return command


def _text(value: bytes) -> str:
    return value.decode("latin-1").strip(" \0")


def _known_elements(raw: Buffer) -> Iterator[tuple[str, str, int, int]]:
    """VR, keyword, and offset and length of the value of each element of Table E.1-1, in the order they stand."""
    position, end = 0, len(raw)
    is_command = False
    while position < end:
        if end - position < 8:
            raise ProtocolError("command element header cut off", offset=position)
        group, element, length = _HEADER.unpack_from(raw, position)
        if group != 0 and not is_command:
            raise ProtocolError(f"element of group {group:04X} in a command set", offset=position)
        position += 8
        if length > end - position:
            raise ProtocolError(f"value of ({group:04X},{element:04X}) is longer than the command set", offset=position)
        known = None if group else _ELEMENTS.get(element)
        if known is not None:
            vr, keyword = known
            if vr == "US" and length != 2:
                raise ProtocolError(f"(0000,{element:04X}) has {length} bytes instead of 2", offset=position)
            is_command = is_command or element == _COMMAND_FIELD
            yield vr, keyword, position, length
        position += length
    if not is_command:
        raise ProtocolError("command set without Command Field (0000,0100)", offset=0)


class _Pattern(NamedTuple):
    """A command set in five parts: constant bytes, a message ID, constant bytes, the SOP Instance UID, the rest."""

    parts: struct.Struct
    before: bytes
    between: bytes
    after: bytes
    command: CommandSet
    number: str  # keyword of the message ID


def _pattern(raw: bytes, command: CommandSet) -> _Pattern | None:
    """What commands that resemble this one have in common; None where there is no message ID, or in an odd place."""
    numbers = {keyword: at for _, keyword, at, _ in _known_elements(raw) if keyword in _NUMBERS}
    uids = [(at, length) for _, keyword, at, length in _known_elements(raw) if keyword == "AffectedSOPInstanceUID"]
    if len(numbers) != 1:
        return None
    ((number, first),) = numbers.items()
    second, size = uids[-1] if uids else (len(raw), 0)
    if second < first:
        return None
    parts = struct.Struct(f"<{first}sH{second - first - 2}s{size}s{len(raw) - second - size}s")
    before, _, between, _, after = parts.unpack(raw)
    return _Pattern(parts, before, between, after, command.copy(), number)


class CommandReader:
    """decode_command() for one association, where most commands of a presentation context differ from one before in
    their message ID and SOP Instance UID only. The elements of such a one are copied: 0.6 us instead of 3.7, where all
    the Python for a small object was 31."""

    def __init__(self) -> None:
        self._patterns: dict[tuple[int, int], _Pattern] = {}  # by context and length of the command set

    def decode(self, raw: bytes, context_id: int) -> CommandSet:
        """As decode_command()."""
        pattern = self._patterns.get((context_id, len(raw)))
        if pattern is not None:
            parts, known_before, known_between, known_after, known, keyword = pattern
            before, number, between, uid, after = parts.unpack(raw)
            if before == known_before and between == known_between and after == known_after:
                command = known.copy()
                command[keyword] = number
                if uid:
                    command["AffectedSOPInstanceUID"] = uid.decode("latin-1").strip(" \0")  # _text()
                return command
        command = decode_command(raw)
        if len(raw) <= _LONGEST_PATTERN:
            new = _pattern(raw, command)
            if new is not None:
                if len(self._patterns) >= _MOST_PATTERNS:
                    self._patterns.clear()
                self._patterns[context_id, len(raw)] = new
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


class RequestsAlike:
    """Requests that differ in their Message ID and SOP Instance UID only, as those to store one object after the other
    do: encoded in a tenth of the time of encode_command(). `command` is one of them."""

    def __init__(self, command: CommandSet) -> None:
        self._command = command
        self._around: dict[int, tuple[bytes, bytes, bytes]] = {}  # by the length of the UID: what is alike

    def encode(self, message_id: int, sop_instance: str = "") -> bytes:
        """The bytes of one of them; without a SOP Instance UID where there is none."""
        uid = sop_instance.encode("ascii", "replace")
        if len(uid) & 1:
            uid += b"\0"
        around = self._around.get(len(uid)) or self._learn(len(uid))
        return b"".join((around[0], _U16.pack(message_id), around[1], uid, around[2]))

    def _learn(self, length: int) -> tuple[bytes, bytes, bytes]:
        """What stands before Message ID, behind that, and behind a SOP Instance UID of `length` bytes."""
        command: CommandSet = {**self._command, "MessageID": 0}
        command.pop("AffectedSOPInstanceUID", None)
        if length:
            command["AffectedSOPInstanceUID"] = "0" * length
        raw = encode_command(command)
        places = {keyword: at for _, keyword, at, _ in _known_elements(raw)}
        number, uid = places["MessageID"], places.get("AffectedSOPInstanceUID", len(raw))
        self._around[length] = around = raw[:number], raw[number + 2 : uid], raw[uid + length :]
        return around


def encode_request(command: CommandSet) -> bytes:
    """encode_command() of a request, in a fifth of the time where there was one like it before."""
    rest = command.copy()
    number, uid = rest.pop("MessageID"), rest.pop("AffectedSOPInstanceUID", "")
    return _alike(tuple(rest.items())).encode(number, uid)


@lru_cache(maxsize=256)
def _alike(rest: tuple[tuple[str, Any], ...]) -> RequestsAlike:
    return RequestsAlike(dict(rest))


def response_to(request: CommandSet, status: int, **more: Any) -> CommandSet:
    """The response to `request`: same SOP class and instance, no data set unless `more` says otherwise."""
    sop_class, sop_instance = _uids_of(request)
    command = _response(request["CommandField"], request.get("MessageID", 0), status, sop_class, sop_instance)
    command.update(more)
    return command


def _uids_of(request: CommandSet) -> tuple[str, str]:
    """SOP class and instance, affected or requested."""
    return (
        request.get("AffectedSOPClassUID") or request.get("RequestedSOPClassUID") or "",
        request.get("AffectedSOPInstanceUID") or request.get("RequestedSOPInstanceUID") or "",
    )


def _response(verb: int, message_id: int, status: int, sop_class: str, sop_instance: str) -> CommandSet:
    command: CommandSet = {
        "CommandField": verb | RESPONSE,
        "MessageIDBeingRespondedTo": message_id,
        "CommandDataSetType": NO_DATA_SET,
        "Status": status,
    }
    if sop_class:
        command["AffectedSOPClassUID"] = sop_class
    if sop_instance:
        command["AffectedSOPInstanceUID"] = sop_instance
    return command


def encode_response(request: CommandSet, status: int) -> bytes:
    """encode_command(response_to(request, status)), as nearly every request is answered, from what such answers have
    in common, in a quarter of the time."""
    sop_class, sop_instance = _uids_of(request)
    uid = sop_instance.encode("ascii", "replace")
    if len(uid) & 1:
        uid += b"\0"
    before, between = _around_instance(request["CommandField"], status, sop_class, len(uid))
    return b"".join((before, _U16.pack(request.get("MessageID", 0)), between, uid))


@lru_cache(maxsize=256)
def _around_instance(verb: int, status: int, sop_class: str, length: int) -> tuple[bytes, bytes]:
    """What stands in a response before the Message ID Being Responded To, and what between it and a SOP Instance UID of
    `length` bytes, the last element."""
    raw = encode_command(_response(verb, 0, status, sop_class, "0" * length))
    (at,) = (at for _, keyword, at, _ in _known_elements(raw) if keyword == "MessageIDBeingRespondedTo")
    return raw[:at], raw[at + 2 : len(raw) - length]
