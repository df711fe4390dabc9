"""One association without its socket (PS3.8 section 9): bytes and time in, events and bytes out.

Use: fill get_buffer() and say buffer_updated(), or call receive_data(); then next_event() until it gives None; send
what data_to_send() gives; close the transport when `close_expected`; call handle_timeout() at next_timeout(). Nothing
here raises because of the peer: what the peer does wrong ends in an A-ABORT, once, and an Aborted event, and later
input is discarded.

Everything follows Table 9-10 (ul/table.py). P-DATA-TF is parsed in place and never has to be whole in memory: the
fragments that are there are handed out as views of the buffer, one event for a run of them, because an event per PDV
was what made a first version of this three times slower than its sockets.

Long because the parser and the state machine share their state: in two files they would share all of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from isocenter.errors import ProtocolError
from isocenter.ul import events
from isocenter.ul.table import NEXT_STATE, TRANSITIONS, Event, State
from isocenter.wire import pdu
from isocenter.wire.command import NO_DATA_SET, CommandReader, CommandSet, encode_command
from isocenter.wire.limits import DEFAULT_LIMITS, Limits

Buffer = bytes | bytearray | memoryview


@dataclass(slots=True)
class FilePart:
    """Some bytes of an open file, which are sent as others are and read by nobody before. The descriptor is not to be
    closed until they are written. Not to be changed, and not frozen, as a frozen one takes thrice as long to make."""

    descriptor: int
    offset: int
    length: int
    known: bytes | bytearray = b""  # its first bytes, where somebody has read them already; see encoded()

    def __len__(self) -> int:
        return self.length

    def part(self, begin: int, end: int) -> FilePart:
        """What begin:end are of a buffer."""
        return FilePart(self.descriptor, self.offset + begin, min(end, self.length) - begin)


Payload = Buffer | FilePart

_COMMAND, _LAST = 0x01, 0x02  # message control header, PS3.8 Annex E.2
_WHOLE_COMMAND = _COMMAND | _LAST
# What Table 9-10 says of data, as it is asked for each message: where it may be sent, and where it may come.
_MAY_SEND = frozenset(state for event, state in TRANSITIONS if event is Event.P_DATA_REQUEST)
_MAY_COME = frozenset(state for (_, state), action in TRANSITIONS.items() if action in ("DT-2", "AR-6"))
_SMALL = 4096  # fragments up to here are copied behind their header: one buffer is written sooner than two
# A fragment that is not whole yet is handed out from so many bytes on, or when the buffer has no more room than that:
# what is written by one call lies in the page cache in large pieces, and is sent from there in two thirds of the time.
_RUN, _ROOM = 768 * 1024, 64 * 1024
_FIRST_BUFFER = 16 * 1024  # what a connection costs whose peer sends little; it grows with what is read at a time
_UNLIMITED_PDU = 1024 * 1024  # what we send at most to a peer that sets no limit
_LONG = 512 * 1024 - 6
_CRAWL = 16  # bytes a second; a message that comes slower for a whole idle time is as good as silence


@dataclass(frozen=True, slots=True)
class Config:
    """What one connection is told at birth. Times in seconds, sizes in bytes."""

    limits: Limits = DEFAULT_LIMITS
    max_pdu: int = 1024 * 1024
    buffer: int = 1024 * 1024
    artim: float = 30.0
    idle: float = 300.0
    lifetime: float = 6 * 3600.0


class LocalError(RuntimeError):
    """Our own side asked for something that the state does not allow; a defect, never the peer's doing."""


class _Fault(NamedTuple):
    """What is wrong with the input, for A-ABORT and the log."""

    reason: int
    why: str


def with_last(data_set: Iterable[Payload]) -> Iterator[tuple[Payload, bool]]:
    """The chunks of a data set, each with whether it is the last; an empty one where there is none."""
    chunks = iter(data_set)
    chunk: Payload = next(chunks, b"")
    for following in chunks:
        yield chunk, False
        chunk = following
    yield chunk, True


class Connection:
    """The upper layer state machine of one association, for either role.

    `requestor` is True on the side that calls associate(); an acceptor is in Sta2 from the start (Evt5).
    """

    # With more than 30 attributes each instance would get a dictionary of its own, which takes longer to look into.
    __slots__ = (
        "_activity", "_artim", "_backlog", "_buffer", "_checked", "_command", "_command_context", "_commands",
        "_contexts", "_deadline", "_discard", "_end", "_events", "_in_data_set", "_in_pdv", "_longest_command",
        "_now", "_pdu_left", "_pdv_flags", "_pdv_left", "_peer_max_pdu", "_received", "_respond_to_release",
        "_room", "_rq", "_size", "_start", "_was_inside", "_worked", "close_expected", "config", "outgoing",
        "requestor", "state",
    )  # fmt: skip

    def __init__(self, *, requestor: bool, now: float, config: Config | None = None) -> None:
        self.config = config or Config()
        self.requestor = requestor
        self.state = State.STA1
        self.close_expected = False
        self.peer_max_pdu = 0
        self._now = now
        self._deadline = now + self.config.lifetime
        self._activity = now
        self._checked, self._was_inside = now, False  # of the last look for a crawling peer
        self._received, self._worked = 0, False  # since then: bytes, and whether a message began or ended
        self._artim: float | None = None
        self._events: deque[events.UpperLayerEvent] = deque()
        self.outgoing: list[Payload] = []  # what data_to_send() will give
        self._rq: pdu.AssociateRQ | None = None
        self._contexts: Collection[int] = ()
        self._respond_to_release = False
        # input
        self._size = max(self.config.buffer, self.config.limits.associate_pdu + 6)
        self._buffer: memoryview | None = None
        self._start = self._end = 0
        self._backlog: deque[memoryview] = deque()
        self._discard = False
        # P-DATA-TF being read
        self._pdu_left = 0
        self._pdv_left = 0
        self._pdv_flags = 0
        self._command = bytearray()
        self._commands = CommandReader()
        self._longest_command = self.config.limits.command_bytes + 2  # of a PDV
        self._command_context = 0
        self._in_data_set = False
        self._in_pdv = False
        if not requestor:
            self._do(Event.TRANSPORT_INDICATION)

    # --- the user's requests -----------------------------------------------------------------------------------

    def associate(self, rq: pdu.AssociateRQ) -> None:
        """A-ASSOCIATE request; the driver opens the transport and then says transport_connected()."""
        self._rq = rq
        self._do(Event.ASSOCIATE_REQUEST)

    def transport_connected(self, now: float) -> None:
        self._now = self._activity = now
        self._do(Event.TRANSPORT_CONFIRM)

    def accept(self, ac: pdu.AssociateAC) -> None:
        """A-ASSOCIATE response, positive."""
        self._contexts = frozenset(c.id for c in ac.contexts if c.result == 0)
        self.outgoing.append(pdu.encode_associate_ac(ac))
        self._do(Event.ACCEPT)

    def reject(self, rj: pdu.AssociateRJ) -> None:
        """A-ASSOCIATE response, negative."""
        self.outgoing.append(pdu.encode_associate_rj(rj))
        self._do(Event.REJECT)

    def release(self) -> None:
        """A-RELEASE request."""
        self._do(Event.RELEASE_REQUEST)

    def release_response(self) -> None:
        """A-RELEASE response. In a collision the acceptor's waits until the peer has confirmed (Sta10, Sta12)."""
        if self.state is State.STA10:
            self._respond_to_release = True
        else:
            self._do(Event.RELEASE_RESPONSE)

    def abort(self, why: str = "aborted by us", *, provider: bool = False, reason: int = 0) -> None:
        """A-ABORT request; without effect once the association is over. `provider`: for a limit or timeout of ours."""
        if (Event.ABORT_REQUEST, self.state) not in TRANSITIONS:
            return
        abort = pdu.Abort(2 if provider else 0, reason)
        self._events.append(events.Aborted(abort, True, why))
        self._do(Event.ABORT_REQUEST, abort=abort)

    def send_message(self, context_id: int, command: CommandSet, data_set: Buffer | None = None) -> None:
        """P-DATA request for a command set and, in the same breath, a data set that is at hand whole."""
        self.send_command(context_id, encode_command(command))
        if data_set is not None:
            self.send_data(context_id, data_set, last=True)

    def send_command(self, context_id: int, raw: bytes) -> None:
        """P-DATA request for the bytes of a command set."""
        self._may_send()
        self._p_data(self.outgoing, context_id, raw, _COMMAND, last=True)

    def send_messages(self, context_id: int, command: CommandSet, data_sets: Iterable[bytes]) -> None:
        """P-DATA requests for messages with the same command set, each with its data set, as one buffer."""
        command_raw = encode_command(command)
        room = self._room
        if not self.can_send or len(command_raw) > room:
            for data_set in data_sets:
                self.send_message(context_id, command, data_set)
            return
        pdu_header, pdv_header = pdu.PDU_HEADER.pack, pdu.PDV_HEADER.pack
        size = len(command_raw)
        head = pdu_header(pdu.P_DATA_TF, size + 6) + pdv_header(size + 2, context_id, _COMMAND | _LAST) + command_raw
        parts: list[bytes] = []
        for data_set in data_sets:
            size = len(data_set)
            if size <= room:
                ends = pdu_header(pdu.P_DATA_TF, size + 6) + pdv_header(size + 2, context_id, _LAST)
                parts += (head, ends, data_set)
            else:
                self.outgoing.append(b"".join(parts))
                parts.clear()
                self.send_message(context_id, command, data_set)
        self.outgoing.append(b"".join(parts))

    def send_data(self, context_id: int, chunk: Buffer, *, last: bool) -> None:
        """P-DATA request for the next bytes of a data set. Chunks other than the last have an even length."""
        self._may_send()
        self._p_data(self.outgoing, context_id, chunk, 0, last=last)

    def send_file(self, context_id: int, part: FilePart, *, last: bool) -> None:
        """The same, of bytes in a file."""
        self._may_send()
        self._p_data_of_file(self.outgoing, context_id, part, last=last)

    def encoded(self, context_id: int, command: bytes, data_set: Iterable[Payload]) -> list[Payload]:
        """A message as it will go on the wire, ahead of sending(). Chunks as for send_data() and send_file(). What is
        known of a file's part stands with what goes before it, in one buffer."""
        room = self._room
        if isinstance(data_set, tuple | list) and len(data_set) == 1 and isinstance(part := data_set[0], FilePart):
            length, size, known = part.length, len(command), len(part.known)
            if known < length <= room and size <= room:
                header = pdu.P_DATA_HEADER.pack
                head = (
                    header(pdu.P_DATA_TF, size + 6, size + 2, context_id, _WHOLE_COMMAND),
                    command,
                    header(pdu.P_DATA_TF, length + 6, length + 2, context_id, _LAST),
                    part.known,
                )
                rest = FilePart(part.descriptor, part.offset + known, length - known) if known else part
                return [b"".join(head), rest]
        out: list[Payload] = []
        self._p_data(out, context_id, command, _COMMAND, last=True)
        for chunk, last in with_last(data_set):
            if isinstance(chunk, FilePart):
                self._p_data_of_file(out, context_id, chunk, last=last)
            else:
                self._p_data(out, context_id, chunk, 0, last=last)
        return out

    def sending(self, message: list[Payload], now: float) -> list[Payload]:
        """P-DATA requests for what encoded() gave on this connection, in as many pieces as may be, and touch(): gives
        what is to be written to the transport now, as data_to_send() does."""
        if self.state not in _MAY_SEND:
            raise LocalError(f"P-DATA is not possible in {self.state.name}")
        self._now = self._activity = now
        self._worked = True
        if not self.outgoing:
            return message
        return [*self.data_to_send(), *message]

    def _may_send(self) -> None:
        if self.state not in _MAY_SEND:
            raise LocalError(f"P-DATA is not possible in {self.state.name}")

    def _p_data_of_file(self, out: list[Payload], context_id: int, part: FilePart, *, last: bool) -> None:
        length, room = part.length, self._room
        for begin in range(0, length, room):
            piece = part if length <= room else part.part(begin, begin + room)
            size = piece.length
            flags = _LAST if last and begin + size == length else 0
            out += (pdu.P_DATA_HEADER.pack(pdu.P_DATA_TF, size + 6, size + 2, context_id, flags), piece)

    @property
    def peer_max_pdu(self) -> int:
        """The longest P-DATA-TF PDU that the peer takes; 0 for any."""
        return self._peer_max_pdu

    @peer_max_pdu.setter
    def peer_max_pdu(self, length: int) -> None:
        self._peer_max_pdu = length
        # Six bytes of each PDU are the PDV's own header; fragments are even (PS3.8 section 9.3.1 and Annex D.1.1).
        self._room = max((min(length or _UNLIMITED_PDU, _UNLIMITED_PDU) - 6) & ~1, 2)

    @property
    def can_send(self) -> bool:
        """Whether Table 9-10 allows a P-DATA request now."""
        return self.state in _MAY_SEND

    @property
    def sends_long(self) -> bool:
        """Whether the peer takes PDUs so long that send_file() is worth its calls: one more for each PDU (measured: a
        third less CPU with 512 KiB and more, a fourth more with 128 KiB)."""
        return self._room >= _LONG

    def data_to_send(self) -> list[Payload]:
        """Everything to be written to the transport now, in order; forgets it. Views must stay valid until written, and
        there are parts of files only where send_file() was used."""
        out, self.outgoing = self.outgoing, []
        return out

    # --- time --------------------------------------------------------------------------------------------------

    def next_timeout(self) -> float | None:
        """When handle_timeout() wants to be called, on the clock of `now`; None after the end."""
        if self._artim is not None:
            return self._artim
        if self.close_expected:
            return None
        if self.state is State.STA6:
            since = min(self._activity, self._checked) if self._inside else self._activity
            return min(self._deadline, since + self.config.idle)
        return self._deadline

    @property
    def _inside(self) -> bool:
        """Whether a message has begun to arrive and is not whole."""
        return bool(self._pdu_left or self._in_data_set or self._command or self._start != self._end)

    def touch(self, now: float) -> None:
        """Work for the peer goes on: restart the idle timer."""
        self._now = self._activity = now
        self._worked = True

    def handle_timeout(self, now: float) -> None:
        self._now = now
        if self._artim is not None:
            if now >= self._artim:
                self._artim = None
                if self.state is State.STA2:
                    why = f"no association request within {self.config.artim:g} s (ARTIM)"
                    self._events.append(events.Aborted(pdu.Abort(2, 0), True, why))
                self._do(Event.ARTIM_EXPIRED)
        elif now >= self._deadline:
            self.abort(f"the association lasted longer than {self.config.lifetime:g} s", provider=True)
        elif self.state is State.STA6 and now >= self._activity + self.config.idle:
            self.abort(f"the peer was silent for {self.config.idle:g} s", provider=True)
        elif self.state is State.STA6 and now >= self._checked + self.config.idle:
            if self._was_inside and not self._worked and self._received < _CRAWL * (now - self._checked):
                self.abort(f"the peer sent {self._received} bytes in {now - self._checked:g} s", provider=True)
            self._checked, self._was_inside = now, self._inside
            self._received, self._worked = 0, False

    # --- input -------------------------------------------------------------------------------------------------

    def get_buffer(self) -> memoryview:
        """Room for received bytes, never empty. Views given out before are invalid from here on."""
        buffer = self._buffer
        if buffer is None:
            buffer = self._buffer = memoryview(bytearray(min(_FIRST_BUFFER, self._size)))
        elif self._end == len(buffer) < self._size:
            buffer = self._grown(buffer)
        if self._start == self._end or self._discard:
            self._start = self._end = 0
        elif len(buffer) - self._end < 4096 or (self._start and self._end - self._start < 512):
            kept = self._end - self._start
            buffer[:kept] = bytes(buffer[self._start : self._end])
            self._start, self._end = 0, kept
        if self._end == len(buffer):
            raise LocalError("input was not consumed: call next_event() before reading more")
        return buffer[self._end :]

    def _grown(self, buffer: memoryview) -> memoryview:
        """A larger buffer, since the last read filled this one."""
        kept = buffer[self._start : self._end]
        buffer = self._buffer = memoryview(bytearray(min(8 * len(buffer), self._size)))
        buffer[: len(kept)] = kept
        self._start, self._end = 0, len(kept)
        return buffer

    def buffer_updated(self, count: int, now: float) -> None:
        """`count` bytes were put at the start of the last get_buffer()."""
        self._end += count
        self._received += count
        self._now = self._activity = now

    def receive_data(self, data: Buffer, now: float) -> None:
        """Like filling get_buffer() with `data`, of any length; what does not fit waits until events were taken."""
        self._now = self._activity = now
        if data:
            self._received += len(data)
            self._backlog.append(memoryview(data))

    def transport_closed(self, now: float) -> None:
        """The peer closed the transport, or it was lost."""
        self._now = now
        if self.state is State.STA1:
            self.close_expected = True
            return
        if self.state is not State.STA13:
            why = "the peer closed the connection without release"
            self._events.append(events.Aborted(pdu.Abort(2, 0), False, why))
        self._do(Event.TRANSPORT_CLOSED)

    @property
    def has_input(self) -> bool:
        """Whether received bytes wait to be taken as events."""
        return self._start != self._end or bool(self._backlog)

    def next_event(self) -> events.UpperLayerEvent | None:
        """The next event, or None when more bytes, time or a request are needed first."""
        while True:
            if self._events:
                return self._events.popleft()
            if self._discard or self.close_expected:
                self._start = self._end
                self._backlog.clear()
                return None
            if self._start != self._end:
                event = self._parse()
                if event is not None:
                    return event
                if self._events:
                    continue
            if not self._backlog:
                return None
            self._refill()

    def _refill(self) -> None:
        data = self._backlog.popleft()
        room = self.get_buffer()
        taken = min(len(room), len(data))
        room[:taken] = data[:taken]
        if taken < len(data):
            self._backlog.appendleft(data[taken:])
        self._end += taken

    def _parse(self) -> events.UpperLayerEvent | None:
        """Read on where the last call stopped; None when the buffer gives no further event (or one is queued)."""
        buffer = self._buffer
        assert buffer is not None
        while not self._discard and not self.close_expected:
            if not self._pdu_left:
                here = self._end - self._start - 6
                if here < 0:
                    return None
                kind, length = pdu.PDU_HEADER.unpack_from(buffer, self._start)
                if kind != pdu.P_DATA_TF:
                    if not self._parse_control(buffer, kind, length) or self._events:
                        return None
                    continue
                if self.state not in _MAY_COME or not 6 <= length <= self.config.max_pdu:
                    self._refuse_p_data(length)
                    continue
                body = self._start + 6
                if length <= here and not self._in_data_set and not self._command:
                    # Nearly always a command set in one fragment, the only one of its PDU; others go the long way.
                    size, context, flags = pdu.PDV_HEADER.unpack_from(buffer, body)
                    if (
                        size == length - 4
                        and flags == _WHOLE_COMMAND
                        and context in self._contexts
                        and size <= self._longest_command
                    ):
                        self._start = body + length
                        self._command_context = context
                        return self._end_command(bytes(buffer[body + 6 : self._start]))
                self._start = body
                self._pdu_left = length
            event = self._parse_p_data(buffer)
            if event is not None or self._pdu_left:
                return event
        return None

    def _refuse_p_data(self, length: int) -> None:
        if self.state not in _MAY_COME:
            self._input(Event.P_DATA_TF, _Fault(pdu.UNEXPECTED_PDU, "P-DATA-TF outside an association"))
            self._discard = True
        elif length < 6:
            self._fault(pdu.INVALID_PARAMETER, f"P-DATA-TF of {length} bytes has no room for a PDV")
        else:
            most = self.config.max_pdu
            self._fault(pdu.INVALID_PARAMETER, f"P-DATA-TF of {length} bytes, at most {most} were agreed")

    def _parse_p_data(self, buffer: memoryview) -> events.UpperLayerEvent | None:
        """The hot loop: fragments until the buffer or the message ends."""
        views: list[memoryview] = []
        position, end = self._start, self._end
        max_pdu = self.config.max_pdu
        in_pdv, pdv_left, pdu_left = self._in_pdv, self._pdv_left, self._pdu_left
        event: events.UpperLayerEvent | None = None
        while True:
            if in_pdv:
                take = end - position
                if take >= pdv_left:
                    take = pdv_left
                elif take < _RUN and len(buffer) - end > _ROOM:
                    break  # the rest comes soon
                if take:
                    if self._pdv_flags & _COMMAND:
                        self._command += buffer[position : position + take]
                    else:
                        views.append(buffer[position : position + take])
                    position += take
                    pdv_left -= take
                    pdu_left -= take
                if pdv_left:
                    break
                in_pdv = False
                if self._pdv_flags & _LAST:
                    if self._pdv_flags & _COMMAND:
                        event = self._end_command(bytes(self._command))
                        self._command.clear()
                    else:
                        self._in_data_set = False
                        self._worked = True
                        event = events.DataSetChunk(views, True)
                    break
            elif pdu_left:
                if end - position < 6:
                    break
                length, context, flags = pdu.PDV_HEADER.unpack_from(buffer, position)
                # Nearly always one more fragment of the same data set, and the only one in its PDU.
                if (
                    length == pdu_left - 4
                    and self._in_data_set
                    and context == self._command_context
                    and not flags & _COMMAND
                ):
                    self._pdv_flags = flags
                elif not self._check_pdv(length, context, flags, pdu_left):
                    break
                position += 6
                pdu_left -= 6
                pdv_left = length - 2
                in_pdv = True
            else:
                # The next PDU, if it is data again: most objects are many PDUs, and each way out of here costs.
                if end - position < 6:
                    break
                kind, length = pdu.PDU_HEADER.unpack_from(buffer, position)
                if kind != pdu.P_DATA_TF or not 6 <= length <= max_pdu:
                    break
                position += 6
                pdu_left = length
        self._start = position
        self._in_pdv, self._pdv_left, self._pdu_left = in_pdv, pdv_left, pdu_left
        if event is None and views and not self._discard:
            return events.DataSetChunk(views, False)
        return event

    def _check_pdv(self, length: int, context: int, flags: int, pdu_left: int) -> bool:
        """Whether a PDV may stand here; if not, the association is aborted."""
        if length < 2 or length > pdu_left - 4 or 0 < pdu_left - 4 - length < 6:
            self._fault(pdu.INVALID_PARAMETER, f"PDV of {length} bytes in {pdu_left} bytes of PDU")
        elif context not in self._contexts:
            self._fault(pdu.INVALID_PARAMETER, f"PDV for presentation context {context}, which was not accepted")
        elif flags & _COMMAND:
            if self._in_data_set:
                self._fault(pdu.UNEXPECTED_PDU, "command fragment in the middle of a data set")
            elif self._command and context != self._command_context:
                self._fault(pdu.INVALID_PARAMETER, "command fragments of two presentation contexts mixed")
            elif len(self._command) + length - 2 > self.config.limits.command_bytes:
                self._fault(pdu.INVALID_PARAMETER, f"command set of more than {self.config.limits.command_bytes} bytes")
            else:
                self._command_context = context
                self._pdv_flags = flags
                return True
        elif not self._in_data_set:
            self._fault(pdu.UNEXPECTED_PDU, "data set fragment without a command")
        elif context != self._command_context:
            self._fault(pdu.INVALID_PARAMETER, "data set in another presentation context than its command")
        else:
            self._pdv_flags = flags
            return True
        return False

    def _end_command(self, raw: bytes) -> events.UpperLayerEvent | None:
        try:
            command = self._commands.decode(raw, self._command_context)
        except ProtocolError as error:
            self._fault(pdu.INVALID_PARAMETER, str(error))
            return None
        self._worked = True
        self._in_data_set = command.get("CommandDataSetType", NO_DATA_SET) != NO_DATA_SET
        return events.MessageStarted(self._command_context, command, self._in_data_set)

    def _parse_control(self, buffer: memoryview, kind: int, length: int) -> bool:
        """One PDU that is not data, once it is whole. False when bytes are missing."""
        allowed = self.config.limits.associate_pdu if kind in (pdu.A_ASSOCIATE_RQ, pdu.A_ASSOCIATE_AC) else 64
        known = pdu.A_ASSOCIATE_RQ <= kind <= pdu.A_ABORT
        if not known or length > allowed:
            why = f"PDU type {kind:#04x}"
            if known:
                why += f" of {length} bytes, at most {allowed}"
            elif 0x14 <= kind <= 0x17:  # the record types of RFC 8446 section 5.1
                why = "the peer speaks TLS, where plain DICOM was expected"
            elif bytes(buffer[self._start : self._start + 4]) == b"HTTP":
                why = "the peer speaks HTTP, where DICOM was expected; it listens for DICOM at another port"
            self._fault(pdu.INVALID_PARAMETER if known else pdu.UNRECOGNIZED_PDU, why)
            return True
        if self._end - self._start < 6 + length:
            return False
        body = buffer[self._start + 6 : self._start + 6 + length]
        self._start += 6 + length
        unexpected = _Fault(pdu.UNEXPECTED_PDU, f"unexpected PDU type {kind:#04x} in {self.state.name}")
        try:
            if kind == pdu.A_ASSOCIATE_RQ:
                # Only decoded where it can be used: a second request is refused by Table 9-10, whatever it says.
                rq = pdu.decode_associate_rq(body, self.config.limits) if self.state is State.STA2 else None
                self._input(Event.ASSOCIATE_RQ, unexpected, rq)
            elif kind == pdu.A_ASSOCIATE_AC:
                ac = pdu.decode_associate_ac(body, self.config.limits) if self.state is State.STA5 else None
                self._input(Event.ASSOCIATE_AC, unexpected, ac)
            elif kind == pdu.A_ASSOCIATE_RJ:
                self._input(Event.ASSOCIATE_RJ, unexpected, pdu.decode_associate_rj(body))
            elif kind == pdu.A_RELEASE_RQ:
                self._input(Event.RELEASE_RQ, unexpected)
            elif kind == pdu.A_RELEASE_RP:
                self._input(Event.RELEASE_RP, unexpected)
            else:
                self._input(Event.ABORT, unexpected, pdu.decode_abort(body))
        except ProtocolError as error:
            self._fault(pdu.INVALID_PARAMETER, str(error))
        return True

    # --- Table 9-10 --------------------------------------------------------------------------------------------

    def _fault(self, reason: int, why: str) -> None:
        """Evt19: the input is not a valid PDU."""
        self._input(Event.INVALID_PDU, _Fault(reason, why))

    def _input(self, event: Event, fault: _Fault, message: object = None) -> None:
        self._do(event, fault=fault, message=message)

    def _do(
        self,
        event: Event,
        *,
        fault: _Fault | None = None,
        message: object = None,
        abort: pdu.Abort | None = None,
    ) -> None:
        """Perform the action of the table and enter its state."""
        action = TRANSITIONS.get((event, self.state))
        if action is None:
            raise LocalError(f"{event.name} is not possible in {self.state.name}")
        before = self.state
        self.state = NEXT_STATE[action]
        emit = self._events.append
        if action == "AE-2":
            assert self._rq is not None
            self.outgoing.append(pdu.encode_associate_rq(self._rq))
        elif action == "AE-3":
            assert isinstance(message, pdu.AssociateAC)
            self.peer_max_pdu = message.user.max_length
            self._contexts = frozenset(c.id for c in message.contexts if c.result == 0)
            emit(events.AssociationAccepted(message))
        elif action == "AE-4":
            assert isinstance(message, pdu.AssociateRJ)
            emit(events.AssociationRefused(message))
        elif action == "AE-6":
            self._artim = None
            assert isinstance(message, pdu.AssociateRQ)
            self.peer_max_pdu = message.user.max_length
            emit(events.AssociationRequested(message))
        elif action in ("AE-5", "AE-8"):
            self._start_artim()
        elif action == "AR-1":
            self.outgoing.append(pdu.A_RELEASE_RQ_PDU)
        elif action == "AR-2":
            emit(events.ReleaseRequested())
        elif action == "AR-8":
            self.state = State.STA9 if self.requestor else State.STA10
            emit(events.ReleaseRequested())
        elif action in ("AR-3", "AR-10"):
            emit(events.Released())
            if action == "AR-10" and self._respond_to_release:
                self._do(Event.RELEASE_RESPONSE)
        elif action in ("AR-4", "AR-9"):
            self.outgoing.append(pdu.A_RELEASE_RP_PDU)
            if action == "AR-4":
                self._start_artim()
        elif action.startswith("AA-"):
            self._abort_actions(action, before, fault, message, abort)
        if self.state is State.STA1:
            self._artim = None
            self.close_expected = True

    def _abort_actions(
        self, action: str, before: State, fault: _Fault | None, message: object, abort: pdu.Abort | None
    ) -> None:
        """PS3.8 Table 9-9."""
        if action in ("AA-1", "AA-7", "AA-8"):
            if abort is None:
                assert fault is not None
                abort = pdu.Abort(2, fault.reason)
                # AA-8 indicates it to the user. AA-1 by a fault is in Sta2, where there is no user yet, only a log.
                if before is not State.STA13:
                    self._events.append(events.Aborted(abort, True, fault.why))
            self.outgoing.append(pdu.encode_abort(abort))
            self._discard = True
            self._start_artim()
        elif action == "AA-3":
            assert isinstance(message, pdu.Abort)
            self._events.append(events.Aborted(message, False, message.explanation))

    def _start_artim(self) -> None:
        self._artim = self._now + self.config.artim

    def _p_data(self, out: list[Payload], context_id: int, data: Buffer, flags: int, *, last: bool) -> None:
        total, position, room = len(data), 0, self._room
        while True:
            size = total - position
            if size > room:
                size = room
            end = position + size
            more = flags | _LAST if last and end == total else flags
            head = pdu.P_DATA_HEADER.pack(pdu.P_DATA_TF, size + 6, size + 2, context_id, more)
            part = data if size == total else memoryview(data)[position:end]
            if size <= _SMALL:
                out.append(head + part)
            else:
                out += (head, part)
            position = end
            if position >= total:
                return
