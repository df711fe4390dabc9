"""Query/Retrieve as SCU (PS3.4 Annex C and those of the non-patient objects): the verbs as users call them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from typing import TYPE_CHECKING, Any

from isocenter.errors import NoPresentationContext, UsageError
from isocenter.names import ae_title
from isocenter.net.association import Association
from isocenter.net.find import answers
from isocenter.net.requestor import Proposal, Requestor
from isocenter.net.retrieve import (
    GET_ROOTS,
    MOVE_ROOTS,
    SYNTAXES,
    Progress,
    check_view,
    get_proposals,
    identifier_of,
    progress,
    selection_of,
)
from isocenter.services.base import Request, Services, Sink
from isocenter.services.keys import ROOTS, check_zone, question, tag_named
from isocenter.services.retrieve import get_request, move_request
from isocenter.services.storage import StorageService
from isocenter.ul.negotiation import Agreed

if TYPE_CHECKING:
    from pydicom import Dataset

# What the bytes of SOP Class Extended Negotiation say (PS3.4 Tables C.5-1 and C.5-3), for who is told that the peer
# did not agree
_FIND_OPTIONS = (
    "relational queries", "combined dates and times", "fuzzy matching of names", "time zones", "views",
    "matching of empty values", "matching of multiple values",
)  # fmt: skip
_RETRIEVE_OPTIONS = ("relational retrieval", "views")


_PRIORITIES = {"MEDIUM": 0, "HIGH": 1, "LOW": 2}  # PS3.7 section 9.3


class QueryRetrieveVerbs:
    """The verbs of Query/Retrieve for Peer.

    `unsupported` are the keys of the last find() that the peer neither matches nor returns, as far as it says so.
    """

    unsupported: tuple[str, ...] = ()

    async def _negotiated(self, sop_class: str, syntaxes: Sequence[str], extended: bytes) -> Association:
        """An association with presentation contexts for the SOP class, and this said in extended negotiation."""
        raise NotImplementedError

    def _apart(self, proposals: Sequence[Proposal], services: Services) -> AbstractAsyncContextManager[Requestor]:
        """An association in place of the usual one, on which the peer requests things of `services`."""
        raise NotImplementedError

    async def find(
        self,
        level: str,
        *,
        root: str = "STUDY",
        charset: str = "ISO_IR 192",
        relational: bool = False,
        combined: bool = False,
        fuzzy: bool = False,
        zone: str = "",
        view: str = "",
        empty_values: bool = False,
        multiple_values: bool = False,
        priority: str = "MEDIUM",
        **keys: Any,
    ) -> AsyncGenerator[Dataset, None]:
        """C-FIND: what the peer has at `level` (PATIENT, STUDY, SERIES, IMAGE) that matches `keys`, as it comes.

        `keys` are keywords with values to match, as PatientID="12*", StudyDate="20240101-"; empty ones ask for the
        attribute. `root` is the information model: PATIENT, STUDY, or one of the non-patient objects, whose only level
        is IMAGE (HANGING_PROTOCOL, COLOR_PALETTE, ...; std.non_patient). `charset` is what names are sent in and asked
        for in. `relational` (no keys of the levels above), `combined` (a range of dates and one of times are one range)
        and `fuzzy` (names) need the peer's agreement (PS3.4 C.5.1.1), and so do `zone`, an offset from UTC as +0900
        that moments asked for and answered are in, `view`, CLASSIC or ENHANCED, of instances that the peer
        converts, `empty_values` (the value '""' matches what has none) and `multiple_values` (CT\\MR matches what has
        both). `priority` is HIGH, MEDIUM or LOW; few peers heed it. Leaving the iteration early cancels.
        Raises UsageError, OperationFailed with the peer's status, NoPresentationContext and other NetworkErrors.
        """
        sop_class = ROOTS.get(root)
        if sop_class is None:
            raise UsageError(f"{root!r} is no root: {', '.join(ROOTS)}")
        check_view(view)
        check_zone(zone)
        urgency = _priority(priority)
        if zone:
            keys["TimezoneOffsetFromUTC"] = zone
        if view:
            keys["QueryRetrieveView"] = view
        self.unsupported = ()
        question(level, keys, SYNTAXES[0], charset=charset, root=root)  # what cannot be asked needs no association
        extended = _options(relational, combined, fuzzy, bool(zone), bool(view), empty_values, multiple_values)
        association = await self._negotiated(sop_class, SYNTAXES, extended)
        context = association.context_for(sop_class)
        _require(extended, context, _FIND_OPTIONS)
        identifier = question(level, keys, context.transfer_syntax, charset=charset, root=root)

        def warned(match: Dataset) -> None:
            self.unsupported = self.unsupported or tuple(name for name in keys if tag_named(name) not in match)

        async with aclosing(answers(association, context, identifier, urgency, warned=warned)) as matches:
            async for match in matches:
                yield match

    async def get(
        self,
        level: str,
        *,
        into: Callable[[Request], Sink],
        root: str = "STUDY",
        sop_classes: Iterable[str] = (),
        transfer_syntaxes: Sequence[str] = (),
        relational: bool = False,
        view: str = "",
        priority: str = "MEDIUM",
        **keys: str | Sequence[str] | Sequence[float],
    ) -> AsyncGenerator[Progress, None]:
        """C-GET: what `keys` select at `level` (PATIENT, STUDY, SERIES, IMAGE) comes into the sinks that `into` opens.

        Keys are PatientID, StudyInstanceUID, SeriesInstanceUID and SOPInstanceUID: one value for each level from the
        `root` (PATIENT, STUDY, or INSTANCE: images by their UIDs alone), several at `level`. INSTANCE has a FRAME level
        too: a new object with some frames of one, which SimpleFrameList, CalculatedFrameList or TimeRange names; root
        WITHOUT_BULK_DATA gives objects without pixel data and the like. Non-patient objects have roots of their own, as
        in find(), and come by SOPInstanceUID at the IMAGE level. `sop_classes` and `transfer_syntaxes` are what may
        come; by default the usual classes (or the root's), everything they are stored in, uncompressed preferred.
        `relational` (no keys of the levels above), `view` and `priority` are as in find(). Yields counters; the last
        Progress tells the outcome. Leaving early cancels. Raises UsageError and NetworkErrors.
        """
        selection, urgency = selection_of(level, root, keys, view, relational=relational), _priority(priority)
        extended = _options(relational, bool(view))
        proposals = get_proposals(root, sop_classes, transfer_syntaxes, extended)
        async with self._apart(proposals, Services((StorageService(into, private=True),))) as association:
            context = association.context_for(GET_ROOTS[root])
            _require(extended, context, _RETRIEVE_OPTIONS)
            command = get_request(association.next_message_id(), context.abstract_syntax, priority=urgency)
            identifier = identifier_of(selection, context.transfer_syntax)
            async with aclosing(progress(association, context, command, identifier)) as steps:
                async for step in steps:
                    yield step

    async def move(
        self,
        destination: str,
        level: str,
        *,
        root: str = "STUDY",
        relational: bool = False,
        view: str = "",
        priority: str = "MEDIUM",
        **keys: str | Sequence[str] | Sequence[float],
    ) -> AsyncGenerator[Progress, None]:
        """C-MOVE: the peer sends what `keys` select to the AE title `destination`, which it has to know.

        Level, root, relational, view, priority, keys, and what is yielded and raised are those of get(); all comes with
        its bulk data.
        """
        if root not in MOVE_ROOTS:
            raise UsageError(f"{root!r} is no root of C-MOVE: {', '.join(MOVE_ROOTS)}")
        try:
            title = ae_title(destination)
        except ValueError as error:
            raise UsageError(str(error)) from None
        selection, urgency = selection_of(level, root, keys, view, relational=relational), _priority(priority)
        extended = _options(relational, bool(view))
        association = await self._negotiated(MOVE_ROOTS[root], SYNTAXES, extended)
        context = association.context_for(MOVE_ROOTS[root])
        _require(extended, context, _RETRIEVE_OPTIONS)
        command = move_request(association.next_message_id(), context.abstract_syntax, title, priority=urgency)
        identifier = identifier_of(selection, context.transfer_syntax)
        async with aclosing(progress(association, context, command, identifier)) as steps:
            async for step in steps:
                yield step


def _priority(name: str) -> int:
    if name not in _PRIORITIES:
        raise UsageError(f"{name!r} is no priority: {', '.join(_PRIORITIES)}")
    return _PRIORITIES[name]


def _options(*wanted: bool) -> bytes:
    """The application information of SOP Class Extended Negotiation; none where nothing is wanted.

    It ends with the last option wanted: acceptors of older editions know fewer bytes, and those absent are 0.
    """
    return bytes(wanted).rstrip(b"\0")


def _require(extended: bytes, context: Agreed, names: Sequence[str]) -> None:
    """NoPresentationContext that names what the peer did not agree to."""
    agreed = context.extended.ljust(len(extended), b"\0")
    lacking = [name for name, ours, theirs in zip(names, extended, agreed, strict=False) if ours > theirs]
    if lacking:
        raise NoPresentationContext(f"the peer did not agree to {', '.join(lacking)}")
