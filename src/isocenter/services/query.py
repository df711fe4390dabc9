"""C-FIND (PS3.4 Annex C), both roles; as SCP also of the information models of non-patient objects (Annexes U, X, BB,
HH, II and JJ), which have one level.

The SCP answers what a Finder finds; where that looks is the business of the composition root. Answers leave one by one
as they are found, and nothing of them is kept.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from typing import Protocol

from isocenter.errors import IsocenterError
from isocenter.model import Found, Level, Query
from isocenter.services.base import SOP_CLASS_NOT_SUPPORTED, PendingReplies, Reply, Request, Service
from isocenter.services.identifier import Answers, negotiate_options, negotiated, read_question
from isocenter.std.non_patient import NON_PATIENT_MODELS
from isocenter.std.sop_classes import PATIENT_ROOT_FIND, STUDY_ROOT_FIND
from isocenter.std.statuses import CANCEL, PENDING, PENDING_WITH_WARNING
from isocenter.ul.negotiation import Support
from isocenter.wire.command import CommandSet, Verb
from isocenter.wire.limits import DEFAULT_LIMITS, Limits

# Explicit and implicit VR little endian, deflated, explicit VR big endian: all that a data set without pixels can have.
TRANSFER_SYNTAXES = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2")

ROOTS: dict[str, Level] = {PATIENT_ROOT_FIND: Level.PATIENT, STUDY_ROOT_FIND: Level.STUDY}
"""The information models by SOP class, with their highest level."""

_NON_PATIENT = {model.find: model.sop_classes for model in NON_PATIENT_MODELS}
_DATA_SET_FOLLOWS = 0x0001
_SUPPORT = Support(frozenset(TRANSFER_SYNTAXES), extended=negotiate_options)
_SUPPORT_NON_PATIENT = Support(frozenset(TRANSFER_SYNTAXES))  # whose annexes define no extended negotiation


class Finder(Protocol):
    """Who knows the answers."""

    def known(self, level: Level, sop_classes: tuple[str, ...] = ()) -> frozenset[int]:
        """The attributes that can be matched and returned at a level, or of non-patient instances of some classes."""

    def find(self, query: Query) -> AsyncGenerator[Sequence[Found], None]:
        """The answers, some at a time; closing it ends the search. Raises IsocenterErrors."""

    def find_in_view(self, query: Query, view: str) -> AsyncGenerator[Sequence[Found], None]:
        """The same of instances as they are in a Query/Retrieve View, one of VIEWS (C.3.5). A group may be empty."""


class QueryService(Service):
    """C-FIND as SCP: Patient Root, Study Root, and each kind of non-patient objects."""

    name = "Query"

    def __init__(self, finder: Finder, retrieve_aet: str, limits: Limits = DEFAULT_LIMITS) -> None:
        self._finder = finder
        self._retrieve_aet = retrieve_aet
        self._limits = limits

    def sop_classes(self) -> Iterable[str]:
        return (*ROOTS, *_NON_PATIENT)

    def supports(self, abstract_syntax: str) -> Support | None:
        if abstract_syntax in _NON_PATIENT:
            return _SUPPORT_NON_PATIENT
        return _SUPPORT if abstract_syntax in ROOTS else None

    async def c_find(self, request: Request, data_set: bytes) -> AsyncGenerator[Reply | PendingReplies, None]:
        context = request.context
        if request.command.get("AffectedSOPClassUID") != context.abstract_syntax:
            yield Reply(SOP_CLASS_NOT_SUPPORTED, "SOP class differs from the presentation context")
            return
        try:
            question = read_question(
                data_set,
                context.transfer_syntax,
                root=ROOTS.get(context.abstract_syntax, Level.IMAGE),
                sop_classes=_NON_PATIENT.get(context.abstract_syntax, ()),
                options=negotiated(context.extended),
                known=self._finder.known,
                limits=self._limits,
            )
            answer = Answers(question, context.transfer_syntax, self._retrieve_aet)
            status = PENDING_WITH_WARNING if question.unsupported else PENDING
            asked, view = question.query, question.view
            found = self._finder.find_in_view(asked, view) if view else self._finder.find(asked)
            async with aclosing(found) as groups:
                async for group in groups:
                    if request.cancellation.requested:
                        yield Reply(CANCEL)
                        return
                    if group:
                        yield PendingReplies(status, [answer(found) for found in group])
        except IsocenterError as error:
            yield refusal(error)
            return
        yield Reply()


def refusal(error: IsocenterError) -> Reply:
    """A failure response that names the offending element, where there is one (PS3.7 section 9.1.2.1): in the Error
    Comment, of 64 characters, there may be no room for it."""
    path = error.tag_path or ""
    if len(path) < 11:
        return Reply.of(error)
    tag = int(path[1:5] + path[6:10], 16)
    return Reply(error.dimse_status, error.message, elements={"OffendingElement": (tag,)})


def find_request(message_id: int, sop_class: str, *, priority: int = 0) -> CommandSet:
    """C-FIND-RQ (PS3.7 section 9.3.2.1). `priority` 0 medium, 1 high, 2 low."""
    return {
        "AffectedSOPClassUID": sop_class,
        "CommandField": Verb.C_FIND,
        "MessageID": message_id,
        "Priority": priority,
        "CommandDataSetType": _DATA_SET_FOLLOWS,
    }
