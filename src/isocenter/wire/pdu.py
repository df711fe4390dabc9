"""Protocol data units of PS3.8 section 9.3 and the user information items of PS3.7 Annex D.

P-DATA-TF is not here as a value: it is the hot path, and ul/connection.py parses it in place. Everything else is
decoded strictly (lengths must add up, limits are checked first) into frozen values and encoded from them. Unknown
items are skipped, as section 9.3.1 demands of receivers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from isocenter.errors import ProtocolError
from isocenter.wire.limits import DEFAULT_LIMITS, Limits

A_ASSOCIATE_RQ = 0x01
A_ASSOCIATE_AC = 0x02
A_ASSOCIATE_RJ = 0x03
P_DATA_TF = 0x04
A_RELEASE_RQ = 0x05
A_RELEASE_RP = 0x06
A_ABORT = 0x07

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"

PDU_HEADER = struct.Struct(">BxL")
"""Type, reserved, length of what follows."""

PDV_HEADER = struct.Struct(">LBB")
"""Length of the PDV item, presentation context ID, message control header (Annex E.2)."""

P_DATA_HEADER = struct.Struct(">BxLLBB")
"""Both of these, as they stand at the start of a P-DATA-TF."""

_ITEM_HEADER = struct.Struct(">BxH")
_U16 = struct.Struct(">H")
_U32 = struct.Struct(">L")

A_RELEASE_RQ_PDU = PDU_HEADER.pack(A_RELEASE_RQ, 4) + b"\0\0\0\0"
A_RELEASE_RP_PDU = PDU_HEADER.pack(A_RELEASE_RP, 4) + b"\0\0\0\0"


class ProposedContext(NamedTuple):
    """Presentation context item of an A-ASSOCIATE-RQ (Table 9-13)."""

    id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


class ContextResult(NamedTuple):
    """Presentation context item of an A-ASSOCIATE-AC (Table 9-18).

    `result`: 0 acceptance, 1 user-rejection, 2 no-reason, 3 abstract-syntax-not-supported,
    4 transfer-syntaxes-not-supported. `transfer_syntax` has no meaning unless accepted.
    """

    id: int
    result: int
    transfer_syntax: str


class RoleSelection(NamedTuple):
    """SCP/SCU role selection (PS3.7 D.3.3.4). In a request: proposed; in an answer: accepted."""

    sop_class: str
    scu: bool
    scp: bool


class ExtendedNegotiation(NamedTuple):
    """SOP Class extended negotiation (PS3.7 D.3.3.5); `info` is what the service class defines."""

    sop_class: str
    info: bytes


class CommonExtendedNegotiation(NamedTuple):
    """SOP Class common extended negotiation (PS3.7 D.3.3.6), requestor only."""

    sop_class: str
    service_class: str
    related_general: tuple[str, ...] = ()
    version: int = 0


@dataclass(frozen=True, slots=True)
class UserIdentity:
    """User identity (PS3.7 D.3.3.7). `kind`: 1 name, 2 name and passcode, 3 Kerberos, 4 SAML, 5 JWT."""

    kind: int
    primary: bytes = field(repr=False)
    secondary: bytes = field(default=b"", repr=False)
    response_requested: bool = False


class UserInformation(NamedTuple):
    """User information item (Table 9-16 and PS3.7 Annex D.3.3); the same item serves request and answer."""

    max_length: int = 0  # 0: unlimited
    implementation_class_uid: str = ""
    implementation_version_name: str = ""
    async_operations: tuple[int, int] | None = None  # (invoked, performed), 0: unlimited
    roles: tuple[RoleSelection, ...] = ()
    extended: tuple[ExtendedNegotiation, ...] = ()
    common_extended: tuple[CommonExtendedNegotiation, ...] = ()
    identity: UserIdentity | None = None
    identity_response: bytes | None = None


class AssociateRQ(NamedTuple):
    """A-ASSOCIATE-RQ (Table 9-11). AE titles without their padding."""

    called: str
    calling: str
    contexts: tuple[ProposedContext, ...]
    user: UserInformation
    application_context: str = APPLICATION_CONTEXT
    protocol_version: int = 1


class AssociateAC(NamedTuple):
    """A-ASSOCIATE-AC (Table 9-17). The AE title fields repeat the request's and are not tested on receipt."""

    called: str
    calling: str
    contexts: tuple[ContextResult, ...]
    user: UserInformation
    application_context: str = APPLICATION_CONTEXT
    protocol_version: int = 1


class AssociateRJ(NamedTuple):
    """A-ASSOCIATE-RJ (Table 9-21). `result` 1 permanent, 2 transient; `source` 1 user, 2 ACSE, 3 presentation."""

    result: int
    source: int
    reason: int

    @property
    def explanation(self) -> str:
        kind = {1: "permanently", 2: "for now"}.get(self.result, f"with result {self.result}")
        why = _REJECT_REASONS.get((self.source, self.reason), f"source {self.source}, reason {self.reason}")
        return f"rejected {kind}: {why}"


_REJECT_REASONS = {
    (1, 1): "no reason given",
    (1, 2): "application context name not supported",
    (1, 3): "calling AE title not recognized",
    (1, 7): "called AE title not recognized",
    (2, 1): "no reason given",
    (2, 2): "protocol version not supported",
    (3, 1): "temporary congestion",
    (3, 2): "local limit exceeded",
}


class Abort(NamedTuple):
    """A-ABORT (Table 9-26). `source` 0 service user, 2 service provider."""

    source: int
    reason: int

    @property
    def explanation(self) -> str:
        if self.source == 0:
            return "aborted by the peer's application"
        return "aborted by the peer: " + _ABORT_REASONS.get(self.reason, f"reason {self.reason}")


UNRECOGNIZED_PDU = 1
UNEXPECTED_PDU = 2
UNRECOGNIZED_PARAMETER = 4
UNEXPECTED_PARAMETER = 5
INVALID_PARAMETER = 6

_ABORT_REASONS = {
    0: "reason not specified",
    UNRECOGNIZED_PDU: "unrecognized PDU",
    UNEXPECTED_PDU: "unexpected PDU",
    UNRECOGNIZED_PARAMETER: "unrecognized PDU parameter",
    UNEXPECTED_PARAMETER: "unexpected PDU parameter",
    INVALID_PARAMETER: "invalid PDU parameter value",
}


# --- encoding ------------------------------------------------------------------------------------------------------


def _item(kind: int, body: bytes) -> bytes:
    if len(body) > 0xFFFF:
        raise ValueError(f"item {kind:#04x} of {len(body)} bytes does not fit its 16-bit length")
    return _ITEM_HEADER.pack(kind, len(body)) + body


def _counted(body: bytes) -> bytes:
    return _U16.pack(len(body)) + body


def _uid(text: str) -> bytes:
    return text.encode("latin-1")  # as _text() reads: an answer repeats what was asked for, whatever bytes those were


def _title(text: str) -> bytes:
    raw = text.encode("latin-1")
    if len(raw) > 16:
        raise ValueError(f"AE title {text!r} has more than 16 characters")
    return raw.ljust(16)


def _encode_user(user: UserInformation) -> bytes:
    out = [_item(0x51, _U32.pack(user.max_length))]
    if user.implementation_class_uid:
        out.append(_item(0x52, _uid(user.implementation_class_uid)))
    if user.async_operations is not None:
        out.append(_item(0x53, struct.pack(">HH", *user.async_operations)))
    for role in user.roles:
        out.append(_item(0x54, _counted(_uid(role.sop_class)) + bytes((role.scu, role.scp))))
    if user.implementation_version_name:
        out.append(_item(0x55, user.implementation_version_name.encode("ascii")))
    for ext in user.extended:
        out.append(_item(0x56, _counted(_uid(ext.sop_class)) + ext.info))
    for common in user.common_extended:
        related = b"".join(_counted(_uid(uid)) for uid in common.related_general)
        body = _counted(_uid(common.sop_class)) + _counted(_uid(common.service_class)) + _counted(related)
        # The second byte of this item is its version, not reserved (PS3.7 Table D.3-12).
        out.append(struct.pack(">BBH", 0x57, common.version, len(body)) + body)
    if user.identity is not None:
        who = user.identity
        head = bytes((who.kind, who.response_requested))
        out.append(_item(0x58, head + _counted(who.primary) + _counted(who.secondary)))
    if user.identity_response is not None:
        out.append(_item(0x59, _counted(user.identity_response)))
    return _item(0x50, b"".join(out))


def _encode_associate(kind: int, message: AssociateRQ | AssociateAC, contexts: bytes) -> bytes:
    body = (
        struct.pack(">HH16s16s32x", message.protocol_version, 0, _title(message.called), _title(message.calling))
        + _item(0x10, _uid(message.application_context))
        + contexts
        + _encode_user(message.user)
    )
    return PDU_HEADER.pack(kind, len(body)) + body


def encode_associate_rq(rq: AssociateRQ) -> bytes:
    contexts = b"".join(
        _item(
            0x20,
            bytes((c.id, 0, 0, 0))
            + _item(0x30, _uid(c.abstract_syntax))
            + b"".join(_item(0x40, _uid(uid)) for uid in c.transfer_syntaxes),
        )
        for c in rq.contexts
    )
    return _encode_associate(A_ASSOCIATE_RQ, rq, contexts)


def encode_associate_ac(ac: AssociateAC) -> bytes:
    contexts = b"".join(
        _item(0x21, bytes((c.id, 0, c.result, 0)) + _item(0x40, _uid(c.transfer_syntax))) for c in ac.contexts
    )
    return _encode_associate(A_ASSOCIATE_AC, ac, contexts)


def encode_associate_rj(rj: AssociateRJ) -> bytes:
    return PDU_HEADER.pack(A_ASSOCIATE_RJ, 4) + bytes((0, rj.result, rj.source, rj.reason))


def encode_abort(abort: Abort) -> bytes:
    return PDU_HEADER.pack(A_ABORT, 4) + bytes((0, 0, abort.source, abort.reason))


# --- decoding ------------------------------------------------------------------------------------------------------


class _Budget:
    """How many more items may come. An empty one is four bytes, so 64 KiB could hold 16,000 of them."""

    __slots__ = ("_most", "left")

    def __init__(self, most: int) -> None:
        self._most = self.left = most

    def spent(self, offset: int) -> ProtocolError:
        return ProtocolError(f"more than {self._most} items", offset=offset)


def _budgets(limits: Limits) -> tuple[_Budget, _Budget]:
    """For a whole PDU, and for its user information, which costs more an item and has a few a context at most."""
    return _Budget(limits.associate_items), _Budget(8 * limits.presentation_contexts)


def _items(body: memoryview, start: int, end: int, budget: _Budget) -> Iterator[tuple[int, int, int, int]]:
    """(type, second byte, offset, end) of each item; the lengths must add up exactly."""
    position = start
    while position < end:
        budget.left -= 1
        if budget.left < 0:
            raise budget.spent(position)
        if end - position < 4:
            raise ProtocolError("item header cut off", offset=position)
        kind, length = _ITEM_HEADER.unpack_from(body, position)
        stop = position + 4 + length
        if stop > end:
            raise ProtocolError(f"item {kind:#04x} is longer than what holds it", offset=position)
        yield kind, body[position + 1], position + 4, stop
        position = stop


def _text(body: memoryview, start: int, end: int) -> str:
    # Peers pad UIDs with NUL and titles with blanks; some write other bytes, which no title or UID of ours equals.
    return str(body[start:end], "latin-1").strip(" \0")


def _uid_text(body: memoryview, start: int, end: int) -> str:
    text = str(body[start:end], "latin-1").strip(" \0")
    if len(text) > 64:
        raise ProtocolError(f"UID of {len(text)} characters, 64 at most (PS3.5 section 9.1)", offset=start)
    return text


def _take(body: memoryview, position: int, end: int) -> tuple[int, int]:
    """Start and end of a field that its own 16-bit length precedes."""
    if end - position < 2:
        raise ProtocolError("length field cut off", offset=position)
    (length,) = _U16.unpack_from(body, position)
    if position + 2 + length > end:
        raise ProtocolError("field is longer than its item", offset=position)
    return position + 2, position + 2 + length


def _need(start: int, end: int, size: int, what: str) -> None:
    if end - start < size:
        raise ProtocolError(f"{what} item has {end - start} bytes, {size} are needed", offset=start)


def _decode_user(body: memoryview, start: int, end: int, budget: _Budget) -> UserInformation:
    budget.left -= 1
    if budget.left < 0:
        raise budget.spent(start)
    max_length, class_uid, version_name = 0, "", ""
    window: tuple[int, int] | None = None
    roles: list[RoleSelection] = []
    extended: list[ExtendedNegotiation] = []
    common: list[CommonExtendedNegotiation] = []
    identity: UserIdentity | None = None
    response: bytes | None = None
    for kind, second, a, b in _items(body, start, end, budget):
        if kind == 0x51:
            _need(a, b, 4, "maximum length")
            (max_length,) = _U32.unpack_from(body, a)
        elif kind == 0x52:
            class_uid = _uid_text(body, a, b)
        elif kind == 0x53:
            _need(a, b, 4, "asynchronous operations window")
            window = struct.unpack_from(">HH", body, a)
        elif kind == 0x54:
            s, e = _take(body, a, b)
            _need(e, b, 2, "role selection")
            roles.append(RoleSelection(_uid_text(body, s, e), body[e] == 1, body[e + 1] == 1))
        elif kind == 0x55:
            version_name = _text(body, a, b)
        elif kind == 0x56:
            s, e = _take(body, a, b)
            extended.append(ExtendedNegotiation(_uid_text(body, s, e), bytes(body[e:b])))
        elif kind == 0x57:
            common.append(_decode_common(body, a, b, second, budget))
        elif kind == 0x58:
            _need(a, b, 2, "user identity")
            s, e = _take(body, a + 2, b)
            s2, e2 = _take(body, e, b)
            identity = UserIdentity(body[a], bytes(body[s:e]), bytes(body[s2:e2]), body[a + 1] == 1)
        elif kind == 0x59:
            s, e = _take(body, a, b)
            response = bytes(body[s:e])
    return UserInformation(
        max_length, class_uid, version_name, window, tuple(roles), tuple(extended), tuple(common), identity, response
    )


def _decode_common(body: memoryview, a: int, b: int, version: int, budget: _Budget) -> CommonExtendedNegotiation:
    s, e = _take(body, a, b)
    s2, e2 = _take(body, e, b)
    s3, e3 = _take(body, e2, b)
    related = []
    while s3 < e3:
        budget.left -= 1
        if budget.left < 0:
            raise budget.spent(s3)
        s4, s3 = _take(body, s3, e3)
        related.append(_uid_text(body, s4, s3))
    return CommonExtendedNegotiation(_uid_text(body, s, e), _uid_text(body, s2, e2), tuple(related), version)


def _decode_proposed(body: memoryview, a: int, b: int, budget: _Budget) -> ProposedContext:
    _need(a, b, 4, "presentation context")
    abstract, syntaxes = "", []
    for kind, _, s, e in _items(body, a + 4, b, budget):
        if kind == 0x30:
            abstract = _uid_text(body, s, e)
        elif kind == 0x40:
            syntaxes.append(_uid_text(body, s, e))
    return ProposedContext(body[a], abstract, tuple(syntaxes))


def _decode_result(body: memoryview, a: int, b: int, budget: _Budget) -> ContextResult:
    _need(a, b, 4, "presentation context")
    syntax = ""
    for kind, _, s, e in _items(body, a + 4, b, budget):
        if kind == 0x40:
            syntax = _uid_text(body, s, e)
    return ContextResult(body[a], body[a + 2], syntax)


def _check_fixed(body: memoryview) -> int:
    if len(body) < 68:
        raise ProtocolError(f"A-ASSOCIATE of {len(body)} bytes has no room for its fixed fields", offset=len(body))
    (version,) = _U16.unpack_from(body, 0)
    return int(version)


def decode_associate_rq(body: memoryview, limits: Limits = DEFAULT_LIMITS) -> AssociateRQ:
    """`body` is the PDU without its six header bytes. Raises ProtocolError with the offset in `body`."""
    version = _check_fixed(body)
    application, user = "", UserInformation()
    contexts: list[ProposedContext] = []
    budget, of_user = _budgets(limits)
    seen: set[int] = set()
    for kind, _, a, b in _items(body, 68, len(body), budget):
        if kind == 0x10:
            application = _text(body, a, b)
        elif kind == 0x20:
            if len(contexts) >= limits.presentation_contexts:
                raise ProtocolError(f"more than {limits.presentation_contexts} presentation contexts", offset=a)
            context = _decode_proposed(body, a, b, budget)
            if context.id % 2 == 0 or context.id in seen:
                raise ProtocolError(f"presentation context ID {context.id} is even or used twice", offset=a)
            seen.add(context.id)
            contexts.append(context)
        elif kind == 0x50:
            user = _decode_user(body, a, b, of_user)
    return AssociateRQ(_text(body, 4, 20), _text(body, 20, 36), tuple(contexts), user, application, version)


def decode_associate_ac(body: memoryview, limits: Limits = DEFAULT_LIMITS) -> AssociateAC:
    """Like decode_associate_rq, for the answer."""
    version = _check_fixed(body)
    application, user = "", UserInformation()
    contexts: list[ContextResult] = []
    budget, of_user = _budgets(limits)
    for kind, _, a, b in _items(body, 68, len(body), budget):
        if kind == 0x10:
            application = _text(body, a, b)
        elif kind == 0x21:
            if len(contexts) >= limits.presentation_contexts:
                raise ProtocolError(f"more than {limits.presentation_contexts} presentation contexts", offset=a)
            contexts.append(_decode_result(body, a, b, budget))
        elif kind == 0x50:
            user = _decode_user(body, a, b, of_user)
    return AssociateAC(_text(body, 4, 20), _text(body, 20, 36), tuple(contexts), user, application, version)


def decode_associate_rj(body: memoryview) -> AssociateRJ:
    _need(0, len(body), 4, "A-ASSOCIATE-RJ")
    return AssociateRJ(body[1], body[2], body[3])


def decode_abort(body: memoryview) -> Abort:
    _need(0, len(body), 4, "A-ABORT")
    return Abort(body[2], body[3])
