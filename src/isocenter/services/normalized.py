"""DIMSE-N (PS3.7 section 10), both roles: what all SOP classes with normalized services have in common.

An SCP is a subclass of NormalizedService. It hears only of requests that name a SOP class of their presentation context
and, but for N-CREATE, a SOP Instance; all else has been refused by then, with the codes of PS3.7 Annex C. An SCU takes
N-EVENT-REPORTs, on its own association or on one that the SCP opens, with EventReceiver.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from isocenter.names import is_uid
from isocenter.services.base import UNRECOGNIZED_OPERATION, Peer, Reply, Request, Service
from isocenter.std.sop_classes import SOP_CLASSES
from isocenter.std.transfer_syntaxes import transfer_syntax
from isocenter.ul.negotiation import Support
from isocenter.wire.command import CommandSet, Verb
from isocenter.wire.deflate import deflate
from isocenter.wire.dicomjson import Model, dataset_json
from isocenter.wire.encode import encode_dataset
from isocenter.wire.limits import DEFAULT_LIMITS, Limits

# As a requestor proposes them. No data set of these services has encapsulated pixel data.
TRANSFER_SYNTAXES = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")
SUPPORTED = frozenset({*TRANSFER_SYNTAXES, "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"})

# PS3.7 C.4.2 (the first, a warning) and C.5
ATTRIBUTE_LIST_ERROR = 0x0107
NO_SUCH_INSTANCE = 0x0112
NO_SUCH_EVENT = 0x0113
INVALID_INSTANCE = 0x0117
NO_SUCH_CLASS = 0x0118
CLASS_INSTANCE_CONFLICT = 0x0119
NO_SUCH_ACTION = 0x0123

# PS3.7 section 10.3: in whose name the SOP class and instance stand, and what tells actions and events apart
_AFFECTED = frozenset({Verb.N_CREATE, Verb.N_EVENT_REPORT})
_TYPES = {Verb.N_ACTION: ("ActionTypeID", NO_SUCH_ACTION), Verb.N_EVENT_REPORT: ("EventTypeID", NO_SUCH_EVENT)}


@dataclass(frozen=True, slots=True)
class Operation:
    """One request to a normalized service, whose UIDs were looked at.

    `instance` is "" where N-CREATE leaves it to the SCP. `type_id` is the Action Type or Event Type ID, `attributes`
    the Attribute Identifier List of N-GET (empty: all). `data_set` is the Attribute List, Modification List, Action
    Information or Event Information, in the context's transfer syntax.
    """

    request: Request
    verb: Verb
    sop_class: str
    instance: str
    type_id: int = 0
    attributes: tuple[int, ...] = ()
    data_set: bytes = field(default=b"", repr=False)

    @property
    def peer(self) -> Peer:
        return self.request.peer

    @property
    def transfer_syntax(self) -> str:
        """That of the request's data set, and of the reply's."""
        return self.request.context.transfer_syntax

    def model(self, limits: Limits = DEFAULT_LIMITS) -> Model:
        """The data set as DICOM JSON, binary values in line. Raises DataSetErrors, which are answered 0115 or 0213."""
        held = replace(limits, inflate_bytes=limits.identifier_bytes)  # a deflated one is held in memory, too
        return dataset_json(self.data_set, self.transfer_syntax, limits=held, exclude_bulk=False)

    def reply(
        self, model: Mapping[str, Any], status: int = 0, charset: Sequence[str] = ("ISO_IR 192",), *, instance: str = ""
    ) -> Reply:
        """A reply with a data set; `instance` is the UID that was chosen for an N-CREATE."""
        elements: dict[str, Any] = {"AffectedSOPInstanceUID": instance} if instance else {}
        if self.verb in _TYPES:
            # Whoever returns information says which kind it is (PS3.7 section 10.3).
            elements[_TYPES[self.verb][0]] = self.type_id
        return Reply(status, data_set=encoded(model, self.transfer_syntax, charset), elements=elements)

    def wanted(self, model: Mapping[str, Any], charset: Sequence[str] = ("ISO_IR 192",)) -> Reply:
        """The reply to an N-GET: of `model`, the attributes that were asked for; a warning where it lacks some."""
        if not self.attributes:
            return self.reply(model, charset=charset)
        keys = [f"{tag:08X}" for tag in self.attributes]
        lacking = any(key not in model for key in keys)
        found = {key: model[key] for key in keys if key in model}
        return self.reply(found, ATTRIBUTE_LIST_ERROR if lacking else 0, charset)

    def no_such_type(self) -> Reply:
        """The refusal of an action or event type that the SOP class does not have."""
        name, status = _TYPES[self.verb]
        return Reply(status, f"this SOP class has no type {self.type_id}", elements={name: self.type_id})


class NormalizedService(Service):
    """Base of the services with N- verbs; subclasses take the operations that their SOP classes have."""

    def members(self, abstract_syntax: str) -> Collection[str]:
        """The SOP classes that can be named in a context: its own, or those that a Meta SOP Class stands for."""
        return (abstract_syntax,)

    async def create(self, operation: Operation) -> Reply:
        """N-CREATE. Where `operation.instance` is "", the reply's AffectedSOPInstanceUID is the one chosen."""
        return _refused(operation)

    async def set(self, operation: Operation) -> Reply:
        """N-SET."""
        return _refused(operation)

    async def get(self, operation: Operation) -> Reply:
        """N-GET; see Operation.wanted()."""
        return _refused(operation)

    async def action(self, operation: Operation) -> Reply:
        """N-ACTION."""
        return _refused(operation)

    async def delete(self, operation: Operation) -> Reply:
        """N-DELETE."""
        return _refused(operation)

    async def event(self, operation: Operation) -> Reply:
        """N-EVENT-REPORT: our side is the SCU."""
        return _refused(operation)

    def n_create(self, request: Request, data_set: bytes) -> Awaitable[Reply]:
        return self._checked(request, Verb.N_CREATE, data_set, self.create)

    def n_set(self, request: Request, data_set: bytes) -> Awaitable[Reply]:
        return self._checked(request, Verb.N_SET, data_set, self.set)

    def n_get(self, request: Request, data_set: bytes) -> Awaitable[Reply]:
        return self._checked(request, Verb.N_GET, b"", self.get)

    def n_action(self, request: Request, data_set: bytes) -> Awaitable[Reply]:
        return self._checked(request, Verb.N_ACTION, data_set, self.action)

    def n_delete(self, request: Request, data_set: bytes) -> Awaitable[Reply]:
        return self._checked(request, Verb.N_DELETE, b"", self.delete)

    def n_event_report(self, request: Request, data_set: bytes) -> Awaitable[Reply]:
        return self._checked(request, Verb.N_EVENT_REPORT, data_set, self.event)

    async def _checked(
        self, request: Request, verb: Verb, data_set: bytes, take: Callable[[Operation], Awaitable[Reply]]
    ) -> Reply:
        command = request.command
        prefix = "Affected" if verb in _AFFECTED else "Requested"
        sop_class = command.get(f"{prefix}SOPClassUID", "")
        instance = command.get(f"{prefix}SOPInstanceUID", "")
        if not sop_class:
            return Reply(NO_SUCH_CLASS, f"{prefix} SOP Class UID is missing")
        if sop_class not in self.members(request.context.abstract_syntax):
            return Reply(NO_SUCH_CLASS, "the SOP class is not one of the presentation context's")
        if not instance and verb != Verb.N_CREATE:
            return Reply(INVALID_INSTANCE, f"{prefix} SOP Instance UID is missing")
        if instance and not is_uid(instance):
            return Reply(INVALID_INSTANCE, f"{prefix} SOP Instance UID is not a UID")
        operation = Operation(
            request,
            verb,
            sop_class,
            instance,
            command.get(_TYPES[verb][0], 0) if verb in _TYPES else 0,
            command.get("AttributeIdentifierList", ()),
            data_set,
        )
        return await take(operation)


def _refused(operation: Operation) -> Reply:
    return Reply(UNRECOGNIZED_OPERATION, f"this SOP class has no {operation.verb.name.replace('_', '-')}")


class EventReceiver(NormalizedService):
    """N-EVENT-REPORT as SCU: `take` answers the events of `sop_classes`, of every SOP class if none are named.

    It supports these in the SCU role alone, for SCPs that open an association to report (PS3.7 section D.3.3.4).
    """

    name = "Event reports"

    def __init__(self, take: Callable[[Operation], Awaitable[Reply]], sop_classes: Iterable[str] = ()) -> None:
        self._take = take
        self._sop_classes = frozenset(sop_classes)
        self._support = Support(SUPPORTED, scp=False, scu=True)

    def sop_classes(self) -> Iterable[str]:
        return self._sop_classes

    def supports(self, abstract_syntax: str) -> Support | None:
        return self._support if not self._sop_classes or abstract_syntax in self._sop_classes else None

    def members(self, abstract_syntax: str) -> Collection[str]:
        row = SOP_CLASSES.get(abstract_syntax)
        # An SCU knows what it uses of a Meta SOP Class; whichever of it reports, its handler looks.
        return SOP_CLASSES.keys() if row is not None and row.kind == "meta" else (abstract_syntax,)

    async def event(self, operation: Operation) -> Reply:
        return await self._take(operation)


def encoded(model: Mapping[str, Any], syntax_uid: str, charset: Sequence[str] = ("ISO_IR 192",)) -> bytes:
    """A data set of these services in a presentation context's transfer syntax."""
    syntax = transfer_syntax(syntax_uid)
    data_set = encode_dataset(model, little=syntax.little, explicit=syntax.explicit, charset=charset)
    return deflate(data_set) if syntax.deflated else data_set


def normalized_request(
    verb: Verb,
    message_id: int,
    sop_class: str,
    instance: str = "",
    *,
    type_id: int = 0,
    attributes: Sequence[int] = (),
) -> CommandSet:
    """The command set of a request (PS3.7 section 10.3). "" leaves the instance of an N-CREATE to the SCP;
    `type_id` is that of an action or event."""
    prefix = "Affected" if verb in _AFFECTED else "Requested"
    command: CommandSet = {"CommandField": verb, "MessageID": message_id, f"{prefix}SOPClassUID": sop_class}
    if instance:
        command[f"{prefix}SOPInstanceUID"] = instance
    if verb in _TYPES:
        command[_TYPES[verb][0]] = type_id
    if attributes:
        command["AttributeIdentifierList"] = tuple(attributes)
    return command
