"""A Query/Retrieve SCU that costs almost nothing, and a Storage SCP for C-MOVE, so that a benchmark measures the SCP.

Like sender.py it knows just enough of PS3.7 and PS3.8, uses plain blocking sockets and shares no code with Isocenter.
Answers are counted and not looked at; objects are read and thrown away.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import objects
from sender import LARGEST_PDU, _element, _item, p_data

VERIFICATION = "1.2.840.10008.1.1"
STUDY_FIND, STUDY_MOVE, STUDY_GET = (f"1.2.840.10008.5.1.4.1.2.2.{n}" for n in (1, 2, 3))
_US = {0x0100, 0x0110, 0x0120, 0x0700, 0x0800, 0x0900, 0x1020, 0x1021, 0x1022, 0x1023}
RELEASE_RQ, RELEASE_RP = (bytes([kind]) + b"\0\0\0\0\4\0\0\0\0" for kind in (5, 6))
PENDING = (0xFF00, 0xFF01)
ROOM = 4 << 20  # bytes of a reader's buffer
ASSOCIATIONS = 8  # that a receiver takes at a time


@dataclass(frozen=True)
class Context:
    """A presentation context to propose; `scp`: we want to be its SCP."""

    abstract_syntax: str
    transfer_syntax: str = objects.EXPLICIT_LITTLE
    scp: bool = False


def command_set(fields: dict[int, bytes | int | str]) -> bytes:
    """A command set, Implicit VR Little Endian."""
    body = b""
    for element, value in sorted(fields.items()):
        if isinstance(value, int):
            value = struct.pack("<H", value)
        elif isinstance(value, str):
            value = value.encode() + b"\0" * (len(value) % 2)
        body += _element(element, value)
    return _element(0, struct.pack("<I", len(body))) + body


def fields_of(command: bytes) -> dict[int, int | bytes]:
    """The elements of a command set by number, US as int."""
    fields: dict[int, int | bytes] = {}
    at = 0
    while at + 8 <= len(command):
        _, element, length = struct.unpack_from("<HHI", command, at)
        value = command[at + 8 : at + 8 + length]
        fields[element] = int.from_bytes(value, "little") if element in _US else value
        at += 8 + length
    return fields


def identifier(keys: dict[int, tuple[str, str]]) -> bytes:
    """A data set in Explicit VR Little Endian: VR and text by tag."""
    body = b""
    for tag, (vr, text) in sorted(keys.items()):
        value = text.encode() + (b"\0" if vr == "UI" else b" ") * (len(text) % 2)
        body += struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), len(value)) + value
    return body


class Reader:
    """PDUs from a socket, through a buffer that is filled by as few calls as possible."""

    at_a_time = ROOM  # bytes that one call may bring

    def __init__(self, connection: socket.socket, room: bytearray | None = None) -> None:
        self.connection = connection
        self._room = bytearray(ROOM) if room is None else room
        self._view = memoryview(self._room)
        self._start = self._end = 0

    def pdu(self) -> tuple[int, memoryview]:
        """Type and content; valid until the next call."""
        self._need(6)
        kind, length = struct.unpack_from(">BxI", self._room, self._start)
        self._need(6 + length)
        content = self._view[self._start + 6 : self._start + 6 + length]
        self._start += 6 + length
        return kind, content

    def _need(self, count: int) -> None:
        if self._start == self._end:
            self._start = self._end = 0
        elif self._start + count > len(self._room):
            kept = self._end - self._start
            self._room[:kept] = bytes(self._view[self._start : self._end])
            self._start, self._end = 0, kept
        while self._end - self._start < count:
            got = self.connection.recv_into(self._view[self._end : self._end + self.at_a_time])
            if not got:
                raise ConnectionError("the peer closed the connection")
            self._end += got

    def pdvs(self) -> Iterator[tuple[int, memoryview]]:
        """Message control header and content of the PDVs of one P-DATA-TF."""
        kind, content = self.pdu()
        if kind != 0x04:
            raise ConnectionError(f"PDU type {kind} instead of data")
        at = 0
        while at + 6 <= len(content):
            length, _, control = struct.unpack_from(">IBB", content, at)
            yield control, content[at + 6 : at + 4 + length]
            at += 4 + length


class Dropper(Reader):
    """The same, but of a PDU with nothing but a fragment of a data set only the headers arrive: the kernel is told to
    throw the rest away where it lies (tcp(7), MSG_TRUNC), so that what receives costs next to nothing."""

    at_a_time = 2048

    def __init__(self, connection: socket.socket, room: bytearray | None = None) -> None:
        super().__init__(connection, room)
        connection.settimeout(None)  # a socket with a timeout of Python's does not block, and cannot wait for all
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", 120, 0))

    def pdu(self) -> tuple[int, memoryview]:
        self._need(6)
        kind, length = struct.unpack_from(">BxI", self._room, self._start)
        if kind != 0x04:
            return super().pdu()
        self._need(12)
        size, control = struct.unpack_from(">IxB", self._room, self._start + 6)
        if control & 1 or size + 4 != length:
            return super().pdu()
        header = bytes(self._view[self._start + 6 : self._start + 12])
        kept = min(self._end - self._start, 6 + length)
        self._start += kept
        left = 6 + length - kept
        while left:
            some = min(left, len(self._view))
            got = self.connection.recv_into(self._view[:some], 0, socket.MSG_TRUNC | socket.MSG_WAITALL)
            if not got:
                raise ConnectionError("the peer closed the connection")
            left -= got
        return kind, memoryview(header)


class Asker:
    """One association; `contexts` get the odd numbers from 1 on."""

    def __init__(
        self,
        port: int,
        aet: str,
        contexts: Sequence[Context],
        extended: bytes = b"",
        reader: type[Reader] = Reader,
    ) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=120)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = reader(self.socket)
        items = user = b""
        for number, one in enumerate(contexts):
            syntaxes = _item(0x30, one.abstract_syntax.encode()) + _item(0x40, one.transfer_syntax.encode())
            items += _item(0x20, bytes([2 * number + 1, 0, 0, 0]) + syntaxes)
            if one.scp:
                uid = one.abstract_syntax.encode()
                user += _item(0x54, struct.pack(">H", len(uid)) + uid + b"\0\1")
        if extended:
            uid = contexts[0].abstract_syntax.encode()
            user += _item(0x56, struct.pack(">H", len(uid)) + uid + extended)
        user = _item(0x51, struct.pack(">I", LARGEST_PDU)) + _item(0x52, b"1.2.826.0.1.3680043.10.1999.1") + user
        body = struct.pack(">HH16s16s32x", 1, 0, aet.ljust(16).encode(), b"BENCH".ljust(16))
        body += _item(0x10, b"1.2.840.10008.3.1.1.1") + items + _item(0x50, user)
        self.socket.sendall(struct.pack(">BxI", 0x01, len(body)) + body)
        kind, content = self.reader.pdu()
        if kind != 0x02:
            raise ConnectionError(f"association refused: PDU type {kind}, {bytes(content[:4]).hex()}")

    def ask(self, sop_class: str, verb: int, keys: bytes, **more: str) -> None:
        """Send a C-FIND-RQ, C-GET-RQ or C-MOVE-RQ with Message ID 1 in the first context."""
        fields: dict[int, bytes | int | str] = {
            0x0002: sop_class, 0x0100: verb, 0x0110: 1, 0x0700: 0, 0x0800: 1,
        }  # fmt: skip
        if "destination" in more:
            fields[0x0600] = more["destination"].ljust(len(more["destination"]) + len(more["destination"]) % 2)
        self.socket.sendall(p_data(command_set(fields), 1, LARGEST_PDU) + p_data(keys, 0, LARGEST_PDU))

    def echo(self) -> float:
        """C-ECHO in the first context: seconds from request to response."""
        request = p_data(command_set({0x0002: VERIFICATION, 0x0100: 0x0030, 0x0110: 1, 0x0800: 0x0101}), 1, LARGEST_PDU)
        begin = time.perf_counter()
        self.socket.sendall(request)
        kind, content = self.reader.pdu()
        seconds = time.perf_counter() - begin
        place = status_at(content[6:]) + 6
        if kind != 0x04 or content[place] | content[place + 1] << 8:
            raise RuntimeError(f"C-ECHO was answered with PDU type {kind}: {bytes(content).hex()}")
        return seconds

    def find(self, keys: bytes, enough: int = 1 << 62) -> tuple[float, int, float]:
        """C-FIND in Study Root: seconds to the first response, pending ones, seconds to the last. After `enough` of
        them it is cancelled, and the clock stops."""
        begin = time.perf_counter()
        self.ask(STUDY_FIND, 0x0020, keys)
        first, stopped, count = 0.0, 0.0, 0
        while True:
            for control, content in self.reader.pdvs():
                if not control & 1:
                    continue
                now = time.perf_counter()
                first = first or now - begin
                place = status_at(content)
                status = content[place] | content[place + 1] << 8
                if status not in PENDING:
                    if status not in (0x0000, 0xFE00):
                        raise RuntimeError(f"C-FIND ended with {status:04X}")
                    return first, count, stopped or now - begin
                count += not stopped
                if count == enough and not stopped:
                    stopped = now - begin
                    cancel = command_set({0x0100: 0x0FFF, 0x0120: 1, 0x0800: 0x0101})
                    self.socket.sendall(p_data(cancel, 1, LARGEST_PDU))

    def get(self, keys: bytes) -> tuple[int, float]:
        """C-GET in Study Root: objects that came, and seconds. Each is acknowledged with 0000."""
        begin = time.perf_counter()
        self.ask(STUDY_GET, 0x0010, keys)
        return self._until_done(begin)

    def move(self, keys: bytes, destination: str) -> tuple[int, float]:
        """C-MOVE in Study Root: completed sub-operations, and seconds."""
        begin = time.perf_counter()
        self.ask(STUDY_MOVE, 0x0021, keys, destination=destination)
        return self._until_done(begin)

    def _until_done(self, begin: float) -> tuple[int, float]:
        """Take responses, and objects, to the last response."""
        store = Store()
        command = b""
        while True:
            kind, content = self.reader.pdu()
            if kind != 0x04:
                raise ConnectionError(f"PDU type {kind} instead of data")
            at = 0
            while at + 6 <= len(content):
                length, context, control = struct.unpack_from(">IBB", content, at)
                if control & 1:
                    command += content[at + 6 : at + 4 + length]
                    if control & 2:
                        whole, command = command, b""
                        if store.takes(whole):
                            at += 4 + length
                            continue
                        fields = fields_of(whole)
                        if fields[0x0100] == 0x0001:
                            store.begin(context, whole)
                        elif fields[0x0900] not in PENDING:
                            if fields[0x0900] != 0:
                                raise RuntimeError(f"the retrieval ended with {fields[0x0900]:04X}: {fields}")
                            return int(fields.get(0x1021, store.count)), time.perf_counter() - begin
                elif control & 2 and store.waits:
                    self.socket.sendall(store.response())
                at += 4 + length

    def release(self) -> None:
        self.socket.sendall(RELEASE_RQ)
        self.reader.pdu()
        self.socket.close()


def status_at(command: memoryview) -> int:
    """Where the value of Status (0000,0900) begins."""
    at = 0
    while at + 8 <= len(command):
        if command[at + 2] == 0 and command[at + 3] == 9 and command[at] == 0:
            return at + 8
        at += 8 + int.from_bytes(command[at + 4 : at + 8], "little")
    raise RuntimeError("a response without a status")


class Store:
    """C-STORE requests as they come, and their responses.

    Requests that differ from the last in Message ID and SOP Instance UID only are not read again: every server would
    have to wait for that.
    """

    def __init__(self) -> None:
        self.count = 0
        self.waits = False
        # What stands before Message ID, between it and the SOP Instance UID, and behind that; of the response, too.
        self._request, self._response = (b"", b"", b""), (b"", b"", b"")
        self._number = self._uid = b""

    def takes(self, command: bytes) -> bool:
        """Whether it is a request like the last, which then waits for its response."""
        before, between, after = self._request
        at, uid, end = len(before), len(before) + 2 + len(between), len(command) - len(after)
        if not before or not command.startswith(before) or command[at + 2 : uid] != between or command[end:] != after:
            return False
        self._number, self._uid, self.waits = command[at : at + 2], command[uid:end], True
        return True

    def begin(self, context: int, command: bytes) -> None:
        """A request that is not like the last."""
        fields = fields_of(command)
        answer = {0x0100: 0x8001, 0x0120: fields[0x0110], 0x0800: 0x0101, 0x0900: 0}
        answer |= {element: fields[element] for element in (0x0002, 0x1000)}
        response = command_set(answer)
        head = struct.pack(">BxIIBB", 0x04, len(response) + 6, len(response) + 2, context, 3)
        self._request = _around(command, 0x0110, fields)
        before, between, after = _around(response, 0x0120, answer)
        self._response = head + before, between, after
        if not self.takes(command):
            raise RuntimeError("a C-STORE request is not like itself")

    def response(self) -> bytes:
        """The C-STORE-RSP as a PDU."""
        self.count += 1
        self.waits = False
        before, between, after = self._response
        return b"".join((before, self._number, between, self._uid, after))


def _around(command: bytes, number: int, fields: dict[int, int | bytes]) -> tuple[bytes, bytes, bytes]:
    """What stands before, between and behind the values of the element `number` and SOP Instance UID."""
    uid = fields[0x1000]
    at = command.index(_element(number, struct.pack("<H", fields[number]))) + 8
    begin = command.index(_element(0x1000, uid)) + 8
    return command[:at], command[at + 2 : begin], command[begin + len(uid) :]


# --- the receiver of C-MOVE -----------------------------------------------------------------------------------------


def accept(request: bytes) -> bytes:
    """An A-ASSOCIATE-AC that takes each context in Explicit VR Little Endian where that is offered, else refuses it."""
    position, answer = 68, b""
    while position + 4 <= len(request):
        kind, size = struct.unpack_from(">BxH", request, position)
        content = request[position + 4 : position + 4 + size]
        if kind == 0x20:
            wanted = _item(0x40, objects.EXPLICIT_LITTLE.encode())
            offered = wanted in content
            answer += _item(0x21, bytes([content[0], 0, 0 if offered else 4, 0]) + wanted)
        position += 4 + size
    user = _item(0x51, struct.pack(">I", LARGEST_PDU)) + _item(0x52, b"1.2.826.0.1.3680043.10.1999.1")
    body = request[:68] + _item(0x10, b"1.2.840.10008.3.1.1.1") + answer + _item(0x50, user)
    return struct.pack(">BxI", 0x02, len(body)) + body


def _serve(connection: socket.socket, reader: Reader) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    store, command = Store(), b""
    while True:
        kind, content = reader.pdu()
        if kind == 0x01:
            connection.sendall(accept(bytes(content)))
        elif kind != 0x04:
            connection.sendall(RELEASE_RP)
            return
        at = 0
        while kind == 0x04 and at + 6 <= len(content):
            length, context, control = struct.unpack_from(">IBB", content, at)
            if control & 1:
                command += content[at + 6 : at + 4 + length]
                if control & 2:
                    if not store.takes(command):
                        store.begin(context, command)
                    command = b""
            elif control & 2 and store.waits:
                connection.sendall(store.response())
            at += 4 + length


def _serve_all(listener: socket.socket, make_reader: type[Reader]) -> None:
    """One association after the other, with the same buffer."""
    room = bytearray(ROOM)
    while True:
        connection, _ = listener.accept()
        with connection, suppress(ConnectionError):
            _serve(connection, make_reader(connection, room))


@contextmanager
def receiver(port: int, reader: type[Reader] = Reader) -> Iterator[None]:
    """A Storage SCP that keeps nothing: processes that take an association each. They are there before, as to fork one
    takes longer than all else that an association begins with, and would be measured with whoever opens it."""
    pids: list[int] = []
    try:
        with socket.create_server(("127.0.0.1", port), backlog=64) as listener:
            for _ in range(ASSOCIATIONS):
                pid = os.fork()
                if pid == 0:
                    try:
                        _serve_all(listener, reader)
                    finally:
                        os._exit(1)
                pids.append(pid)
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        for pid in pids:
            os.waitpid(pid, 0)
