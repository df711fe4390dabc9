"""Storage Commitment Push Model (PS3.4 Annex J), both roles.

An SCU asks by N-ACTION whether the SCP answers for a list of objects; the SCP says at once that it has the request, and
by N-EVENT-REPORT, perhaps much later, which of the objects it answers for. Requests and reports are values here; who
keeps the one and verifies the other, and who waits for reports, is the business of the composition root.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

from isocenter.errors import InvalidArgument, LimitExceeded
from isocenter.services.base import Reply
from isocenter.services.normalized import NO_SUCH_INSTANCE, SUPPORTED, EventReceiver, NormalizedService, Operation
from isocenter.std.sop_classes import STORAGE_COMMITMENT_PUSH
from isocenter.ul.negotiation import Support
from isocenter.wire.dicomjson import Model

WELL_KNOWN_INSTANCE = "1.2.840.10008.1.20.1.1"  # Storage Commitment Push Model SOP Instance (PS3.4 J.3.5)

REQUEST_COMMITMENT = 1  # Action Type ID (PS3.4 J.3.2.1.1)
ALL_COMMITTED, FAILURES_EXIST = 1, 2  # Event Type IDs (PS3.4 J.3.3.1.1)

# Failure Reason (0008,1197), PS3.3 C.14.1.1
PROCESSING_FAILURE = 0x0110
NO_SUCH_OBJECT = 0x0112
CLASS_INSTANCE_CONFLICT = 0x0119
DUPLICATE_TRANSACTION = 0x0131
RESOURCE_LIMITATION = 0x0213

_TRANSACTION, _RETRIEVE_AET = "00081195", "00080054"
_REFERENCED, _FAILED, _CLASS, _INSTANCE, _REASON = "00081199", "00081198", "00081150", "00081155", "00081197"

# UIDs are only repeated and looked up, so those with leading zeros, which some modalities still make, do no harm.
_UID = re.compile(r"[0-9.]{1,64}", re.ASCII)

_SUPPORT = Support(SUPPORTED)


class Reference(NamedTuple):
    """One object, as it is asked and answered for."""

    sop_class: str
    instance: str


@dataclass(frozen=True, slots=True)
class CommitmentRequest:
    """The Action Information: what one transaction asks for (PS3.4 Table J.3-1); each reference once."""

    transaction: str
    references: tuple[Reference, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class CommitmentReport:
    """The Event Information: the outcome of one transaction (PS3.4 Table J.3-2). `failed` has a Failure Reason for each
    object that is not answered for. Those that stand in neither list were not committed either."""

    transaction: str
    committed: frozenset[Reference] = field(repr=False)
    failed: Mapping[Reference, int] = field(repr=False)

    @property
    def event_type(self) -> int:
        return FAILURES_EXIST if self.failed else ALL_COMMITTED


class Keeper(Protocol):
    """Who keeps requests, and sees to it that they are reported on."""

    async def keep(self, operation: Operation) -> None:
        """Return once the request will survive whatever happens. The operation's data set is for read_request().

        Raises InvalidArgument, LimitExceeded, OutOfResources.
        """


Hear = Callable[[Operation], Awaitable[bool]]
"""Takes an event, whose data set is for read_report(), and returns once it needs not come again; False if nobody asked
under its Transaction UID."""


class StorageCommitmentService(NormalizedService):
    """Storage Commitment Push Model as SCP; with `hear` also as SCU to whom SCPs report on associations of theirs,
    where they negotiate their role (PS3.4 section J.3.3, PS3.7 section D.3.3.4)."""

    name = "Storage Commitment"

    def __init__(self, keeper: Keeper, hear: Hear | None = None) -> None:
        self._keeper = keeper
        self._hear = hear
        self._support = replace(_SUPPORT, scu=hear is not None)

    def sop_classes(self) -> Iterable[str]:
        return (STORAGE_COMMITMENT_PUSH,)

    def supports(self, abstract_syntax: str) -> Support | None:
        return self._support if abstract_syntax == STORAGE_COMMITMENT_PUSH else None

    async def action(self, operation: Operation) -> Reply:
        refused = _refused(operation, (REQUEST_COMMITMENT,))
        if refused is None:
            await self._keeper.keep(operation)
        return refused or Reply()

    async def event(self, operation: Operation) -> Reply:
        if self._hear is None:
            return await super().event(operation)
        return await _heard(operation, self._hear)


class ReportReceiver(EventReceiver):
    """The SCU alone: for an association of ours, and for who listens for nothing but reports."""

    name = "Storage Commitment reports"

    def __init__(self, hear: Hear) -> None:
        super().__init__(lambda operation: _heard(operation, hear), (STORAGE_COMMITMENT_PUSH,))


async def _heard(operation: Operation, hear: Hear) -> Reply:
    refused = _refused(operation, (ALL_COMMITTED, FAILURES_EXIST))
    if refused is not None:
        return refused
    if not await hear(operation):
        raise InvalidArgument("no report of this transaction is awaited", tag_path="(0008,1195)")
    return Reply()


def _refused(operation: Operation, types: Collection[int]) -> Reply | None:
    if operation.instance != WELL_KNOWN_INSTANCE:
        return Reply(NO_SUCH_INSTANCE, f"the SOP Instance is {WELL_KNOWN_INSTANCE}, always")
    return None if operation.type_id in types else operation.no_such_type()


# --- requests -------------------------------------------------------------------------------------------------------


def request_model(request: CommitmentRequest) -> Model:
    """The Action Information of an N-ACTION."""
    return {
        _TRANSACTION: {"vr": "UI", "Value": [request.transaction]},
        _REFERENCED: {"vr": "SQ", "Value": [_item(one) for one in request.references]},
    }


def read_request(model: Mapping[str, Any], most: int) -> CommitmentRequest:
    """The request in an N-ACTION's Action Information.

    Raises InvalidArgument with the tag path for what is missing or no UID, LimitExceeded above `most` references.
    """
    items = _values(model, _REFERENCED, "SQ")
    if not items:
        raise InvalidArgument("no object is referenced", tag_path="(0008,1199)")
    if len(items) > most:
        raise LimitExceeded(f"{len(items)} references, at most {most} are taken (commitment.references)")
    references = [_reference(item, "(0008,1199)", number) for number, item in enumerate(items)]
    return CommitmentRequest(_uid(model, _TRANSACTION, ""), tuple(dict.fromkeys(references)))


# --- reports --------------------------------------------------------------------------------------------------------


def report_model(report: CommitmentReport, retrieve_aet: str) -> Model:
    """The Event Information of an N-EVENT-REPORT; the objects can be retrieved from `retrieve_aet`."""
    model: Model = {_TRANSACTION: {"vr": "UI", "Value": [report.transaction]}}
    if report.committed:
        model[_RETRIEVE_AET] = {"vr": "AE", "Value": [retrieve_aet]}
        model[_REFERENCED] = {"vr": "SQ", "Value": [_item(one) for one in sorted(report.committed)]}
    if report.failed:
        failed = [{**_item(one), _REASON: {"vr": "US", "Value": [why]}} for one, why in sorted(report.failed.items())]
        model[_FAILED] = {"vr": "SQ", "Value": failed}
    return model


def read_report(model: Mapping[str, Any]) -> CommitmentReport:
    """The report in an N-EVENT-REPORT's Event Information, of either type.

    Somebody will delete what it says is committed: an object that stands in both lists has failed, whatever the event
    type says, and so has one without a Failure Reason (0110). Raises InvalidArgument for what does not say of which
    objects it speaks.
    """
    failed: dict[Reference, int] = {}
    for number, item in enumerate(_values(model, _FAILED, "SQ")):
        reason = _values(item, _REASON, "US") or [PROCESSING_FAILURE]
        failed[_reference(item, "(0008,1198)", number)] = reason[0]
    committed = {_reference(item, "(0008,1199)", n) for n, item in enumerate(_values(model, _REFERENCED, "SQ"))}
    return CommitmentReport(_uid(model, _TRANSACTION, ""), frozenset(committed - failed.keys()), failed)


def _item(reference: Reference) -> Model:
    return {
        _CLASS: {"vr": "UI", "Value": [reference.sop_class]},
        _INSTANCE: {"vr": "UI", "Value": [reference.instance]},
    }


def _values(model: Mapping[str, Any], key: str, vr: str) -> list[Any]:
    """The values of an attribute; none where it is not there, or is of another VR than it should be."""
    entry = model.get(key, {})
    return list(entry.get("Value", ())) if entry.get("vr") == vr else []


def _reference(item: Mapping[str, Any], sequence: str, number: int) -> Reference:
    where = f"{sequence}[{number}]."
    return Reference(_uid(item, _CLASS, where), _uid(item, _INSTANCE, where))


def _uid(model: Mapping[str, Any], key: str, where: str) -> str:
    values = _values(model, key, "UI")
    if len(values) == 1 and isinstance(values[0], str) and _UID.fullmatch(values[0]):
        return values[0]
    path = f"{where}({key[:4]},{key[4:]})"
    raise InvalidArgument("a UID is missing" if not values else "not a UID", tag_path=path)
