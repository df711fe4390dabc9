"""Storage service class (PS3.4 Annex B), both roles.

The SCP is level 2 (full): every Storage SOP class of the standard in every transfer syntax that a data set can have,
kept as it came. What happens to the bytes is the business of the sink that the composition root hands in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from isocenter.services.base import SOP_CLASS_NOT_SUPPORTED, Refusal, Reply, Request, Service, Sink
from isocenter.std.sop_classes import SOP_CLASSES, STORAGE_SOP_CLASSES
from isocenter.std.transfer_syntaxes import TRANSFER_SYNTAXES
from isocenter.ul.connection import Buffer
from isocenter.ul.negotiation import Support
from isocenter.wire.command import CommandSet, Verb

_DICOM_ROOT = "1.2.840.10008."
_DATA_SET_FOLLOWS = 0x0001
_CANNOT_UNDERSTAND = 0xC000

# PS3.4 section B.3.1.2: level 2 (full), signatures of level 3 (every bit is preserved), no element is coerced
_WHAT_WE_DO = bytes((2, 0, 3, 0, 0, 0))

STORABLE_TRANSFER_SYNTAXES = frozenset(uid for uid, row in TRANSFER_SYNTAXES.items() if not row.document)


class StorageService(Service):
    """C-STORE as SCP. `open_sink` gives the place for one object; with `private`, classes of other roots are taken.

    With `sends`, a requestor may be SCP too (role selection): C-GET returns objects on its own association.
    """

    name = "Storage"

    def __init__(self, open_sink: Callable[[Request], Sink], *, private: bool = False, sends: bool = False) -> None:
        self._open_sink = open_sink
        self._private = private
        self._support = Support(STORABLE_TRANSFER_SYNTAXES, scu=sends, extended=lambda _: _WHAT_WE_DO)

    def sop_classes(self) -> Iterable[str]:
        return tuple(STORAGE_SOP_CLASSES)

    def supports(self, abstract_syntax: str) -> Support | None:
        if abstract_syntax in STORAGE_SOP_CLASSES:
            return self._support
        if self._private and not abstract_syntax.startswith(_DICOM_ROOT) and abstract_syntax not in SOP_CLASSES:
            return self._support
        return None

    def c_store(self, request: Request) -> Sink:
        command = request.command
        if command.get("AffectedSOPClassUID") != request.context.abstract_syntax:
            return Refusal(Reply(SOP_CLASS_NOT_SUPPORTED, "SOP class differs from the presentation context"))
        if not command.get("AffectedSOPInstanceUID"):
            return Refusal(Reply(_CANNOT_UNDERSTAND, "Affected SOP Instance UID (0000,1000) is missing"))
        return self._open_sink(request)


def store_request(message_id: int, sop_class: str, sop_instance: str, *, priority: int = 0) -> CommandSet:
    """C-STORE-RQ (PS3.7 section 9.3.1.1). `priority` 0 medium, 1 high, 2 low."""
    return {
        "AffectedSOPClassUID": sop_class,
        "CommandField": Verb.C_STORE,
        "MessageID": message_id,
        "Priority": priority,
        "CommandDataSetType": _DATA_SET_FOLLOWS,
        "AffectedSOPInstanceUID": sop_instance,
    }


def even_chunks(chunks: Iterable[Buffer], *, pad: bool) -> Iterator[Buffer]:
    """A data set in chunks of even length, as fragments have to be (PS3.8 Annex E.2); the last may be odd where the
    data set is. With `pad`, for deflated ones, a NUL follows it then (PS3.5 A.5)."""
    odd = b""
    for chunk in chunks:
        whole = odd + bytes(chunk) if odd else chunk
        even = len(whole) & ~1
        odd = bytes(whole[even:])
        if even:
            yield whole if even == len(whole) else whole[:even]
    if odd:
        yield odd + b"\0" if pad else odd
