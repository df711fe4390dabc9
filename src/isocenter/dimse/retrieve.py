"""C-MOVE and C-GET from the archive: which instances, in which presentation context, and their bytes as stored.

Beginnings of objects are read in a thread, a few ahead of the network; the rest of a large one follows in pieces while
it is sent. Nothing holds a whole object. A data set is sent as stored wherever the receiver took its transfer syntax;
else it is transcoded if that can be done, or else its sub-operation fails.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from isocenter.archive.archive import Archive
from isocenter.dimse.transcode import TARGETS, can_transcode, transcoded
from isocenter.errors import IsocenterError, NetworkError, NotFound
from isocenter.known_peers import KnownPeer
from isocenter.model import UNIQUE_KEY, Equal, InstanceRef, Level, Query, Scope
from isocenter.net.address import Address
from isocenter.net.requestor import Proposal, Requestor, associate
from isocenter.net.tls import client_context
from isocenter.services.base import Invoker, Request
from isocenter.services.retrieve import Selection, Suboperation
from isocenter.services.storage import even_chunks, store_request
from isocenter.settings import Settings
from isocenter.std.transfer_syntaxes import transfer_syntax
from isocenter.store.base import Blob
from isocenter.ul.connection import Buffer
from isocenter.ul.negotiation import Agreed
from isocenter.wire.command import CommandSet
from isocenter.wire.limits import Limits

log = logging.getLogger("isocenter.dimse")

_CHUNK = 1024 * 1024
_BATCH = 8  # objects prepared at a time; two batches of beginnings are in memory
_UIDS = 500  # UIDs in one question to the index
_FEW = 8  # up to so many instances of a series are selected one by one
_MOST_CONTEXTS = 128
_MOST_BARREN = 2


class ArchiveRetriever:
    """Selects and sends; hand it to RetrieveService.

    `destination` gives the peer of an AE title, None if it is not known. Objects go to it with TLS where it says so.
    """

    def __init__(self, archive: Archive, settings: Settings, destination: Callable[[str], KnownPeer | None]) -> None:
        self._archive = archive
        self._settings = settings
        self._destination = destination

    async def get(self, request: Request, selection: Selection) -> _Get:
        return _Get(await self.select(selection), request, _Sender(self._archive, self._settings, request, {}))

    async def move(self, request: Request, selection: Selection, destination: str) -> _Move | None:
        peer = self._destination(destination)
        if peer is None:
            return None
        # PS3.7 section 9.1.1.1.8: the receiver can tell what it gets from what it did not ask for.
        originator = {
            "MoveOriginatorApplicationEntityTitle": request.peer.calling,
            "MoveOriginatorMessageID": request.command.get("MessageID", 0),
        }
        sender = _Sender(self._archive, self._settings, request, originator)
        return _Move(await self.select(selection), sender, peer, self._settings)

    async def select(self, selection: Selection) -> list[InstanceRef]:
        """The instances of a selection, each once; [] if there are none."""
        found: dict[str, InstanceRef] = {}
        for scope, instances in await self._scopes(selection):
            try:
                refs = await self._archive.select(scope)
            except NotFound:
                continue
            for ref in refs:
                if instances is None or ref.instance in instances:
                    found.setdefault(ref.instance, ref)
        return list(found.values())

    async def _scopes(self, selection: Selection) -> list[tuple[Scope, frozenset[str] | None]]:
        """What to select from the index, and which instances of it (None: all)."""
        level = selection.level
        if (level > Level.STUDY and not selection.studies) or (level > Level.SERIES and not selection.series):
            return await self._searched(selection)
        studies: Sequence[str] = selection.studies
        if selection.patient:
            studies = await self._studies_of(selection.patient, selection.studies)
        if selection.level <= Level.STUDY:
            return [(Scope(study), None) for study in studies]
        if selection.level == Level.SERIES:
            return [(Scope(study, series), None) for study in studies for series in selection.series]
        return [
            one
            for study in studies
            for series in selection.series
            for one in _of_series(study, series, selection.instances)
        ]

    async def _studies_of(self, patient: str, studies: tuple[str, ...]) -> list[str]:
        """The patient's studies; of `studies`, those that are, if any are given."""
        mine = Equal(UNIQUE_KEY[Level.PATIENT], (patient,))
        if not studies:
            return [one.study for one in await self._archive.find(Query(Level.STUDY, (mine,)))]
        found: list[str] = []
        for some in _portions(studies):
            asked = Query(Level.STUDY, (mine, Equal(UNIQUE_KEY[Level.STUDY], some)))
            found += [one.study for one in await self._archive.find(asked)]
        return found

    async def _searched(self, selection: Selection) -> list[tuple[Scope, frozenset[str] | None]]:
        """Series or images whose levels above were not all named: relational retrieval (PS3.4 C.4.2.2.2), and images
        by their UIDs alone (Annex Y)."""
        above = [
            Equal(UNIQUE_KEY[level], values)
            for level, values in (
                (Level.PATIENT, (selection.patient,) if selection.patient else ()),
                (Level.STUDY, selection.studies),
                (Level.SERIES, selection.series if selection.level == Level.IMAGE else ()),
            )
            if values
        ]
        series: dict[tuple[str, str], list[str]] = {}
        for some in _portions(selection.instances if selection.level == Level.IMAGE else selection.series):
            asked = Query(selection.level, (*above, Equal(UNIQUE_KEY[selection.level], some)))
            for one in await self._archive.find(asked):
                series.setdefault((one.study, one.series or ""), []).append(one.instance or "")
        if selection.level == Level.SERIES:
            return [(Scope(study, uid), None) for study, uid in series]
        return [one for (study, uid), wanted in series.items() for one in _of_series(study, uid, wanted)]


def _portions(uids: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for at in range(0, len(uids), _UIDS):
        yield uids[at : at + _UIDS]


def _of_series(study: str, series: str, instances: Sequence[str]) -> list[tuple[Scope, frozenset[str] | None]]:
    if len(instances) <= _FEW:
        return [(Scope(study, series, instance), None) for instance in instances]
    return [(Scope(study, series), frozenset(instances))]


# --- sending --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Prepared:
    """One object, ready to be sent in `context`; None: it cannot be, and `why` says so."""

    ref: InstanceRef
    context: Agreed | None = None
    chunks: Iterable[Buffer] = ()
    blob: Blob | None = None
    why: str = ""

    def close(self) -> None:
        if self.blob is not None:
            self.blob.close()


class _Sender:
    """Performs C-STORE sub-operations on an association, whoever opened it."""

    def __init__(self, archive: Archive, settings: Settings, request: Request, originator: CommandSet) -> None:
        self._archive = archive
        self._limits = Limits.of(settings)
        self._originator = originator
        self._priority = request.command.get("Priority", 0)

    async def send(self, refs: Sequence[InstanceRef], invoker: Invoker) -> AsyncGenerator[Suboperation, None]:
        """One sub-operation after the other. Raises NetworkError when the association is lost."""
        async with aclosing(self._prepared(refs, invoker)) as objects:
            async for one in objects:
                if one.context is None:
                    log.warning("%s: not sent: %s", one.ref.instance, one.why)
                    yield Suboperation(one.ref.instance, None)
                    continue
                command = store_request(
                    invoker.next_message_id(), one.ref.sop_class, one.ref.instance, priority=self._priority
                )
                deflated = transfer_syntax(one.context.transfer_syntax).deflated
                response = await invoker.request(
                    one.context, command | self._originator, even_chunks(one.chunks, pad=deflated)
                )
                yield Suboperation(one.ref.instance, response.status)

    async def _prepared(self, refs: Sequence[InstanceRef], invoker: Invoker) -> AsyncGenerator[_Prepared, None]:
        """The objects in order, prepared in threads one batch ahead, and closed after use."""
        contexts = {uid: list(invoker.contexts_for(uid)) for uid in {ref.sop_class for ref in refs}}
        batches = [refs[at : at + _BATCH] for at in range(0, len(refs), _BATCH)]
        waiting: list[_Prepared] = []
        ahead = _begin(self._prepare_all, batches[0], contexts) if batches else None
        try:
            for number in range(len(batches)):
                assert ahead is not None
                waiting = await asyncio.shield(ahead)
                more = number + 1 < len(batches)
                ahead = _begin(self._prepare_all, batches[number + 1], contexts) if more else None
                while waiting:
                    one = waiting.pop(0)
                    try:
                        yield one
                    finally:
                        one.close()
        finally:
            for one in waiting:
                one.close()
            if ahead is not None:
                ahead.add_done_callback(_close_all)

    def _prepare_all(self, refs: Sequence[InstanceRef], contexts: dict[str, list[Agreed]]) -> list[_Prepared]:
        return [self._prepare(ref, contexts[ref.sop_class]) for ref in refs]

    def _prepare(self, ref: InstanceRef, contexts: list[Agreed]) -> _Prepared:
        context = _best(ref.transfer_syntax, contexts)
        if context is None:
            return _Prepared(ref, why="no presentation context that it could be sent in was accepted")
        try:
            if context.transfer_syntax == ref.transfer_syntax:
                return self._as_stored(ref, context)
            with self._archive.blob(ref) as blob:
                view = transcoded(
                    blob.view(), ref.data_set_offset, ref.transfer_syntax, context.transfer_syntax, self._limits
                )
            return _Prepared(ref, context, (view[at : at + _CHUNK] for at in range(0, len(view), _CHUNK)))
        except (IsocenterError, OSError) as error:
            return _Prepared(ref, why=str(error))

    def _as_stored(self, ref: InstanceRef, context: Agreed) -> _Prepared:
        blob = self._archive.blob(ref)
        head = blob.read(ref.data_set_offset, _CHUNK)
        position = ref.data_set_offset + len(head)
        if position >= blob.size:
            blob.close()
            return _Prepared(ref, context, (head,))
        # The rest is read while it is sent; the kernel fetches it meanwhile, so that the event loop does not wait.
        os.posix_fadvise(blob.fileno(), position, 0, os.POSIX_FADV_WILLNEED)
        return _Prepared(ref, context, _pieces(blob, head, position), blob)


def _pieces(blob: Blob, head: bytes, position: int) -> Iterator[bytes]:
    yield head
    while piece := blob.read(position, _CHUNK):
        yield piece
        position += len(piece)


def _best(stored: str, contexts: list[Agreed]) -> Agreed | None:
    """The context for the syntax an object is stored in, else for one that it can be transcoded to."""
    by_syntax = {context.transfer_syntax: context for context in contexts}
    if stored in by_syntax:
        return by_syntax[stored]
    return next((by_syntax[uid] for uid in TARGETS if uid in by_syntax and can_transcode(stored, uid)), None)


def _begin(
    work: Callable[[Sequence[InstanceRef], dict[str, list[Agreed]]], list[_Prepared]],
    refs: Sequence[InstanceRef],
    contexts: dict[str, list[Agreed]],
) -> asyncio.Future[list[_Prepared]]:
    return asyncio.ensure_future(asyncio.to_thread(work, refs, contexts))


def _close_all(done: asyncio.Future[list[_Prepared]]) -> None:
    if not done.cancelled() and done.exception() is None:
        for one in done.result():
            one.close()


@dataclass(slots=True)
class _Get:
    """Sub-operations on the requestor's own association."""

    refs: list[InstanceRef] = field(repr=False)
    request: Request
    sender: _Sender

    @property
    def total(self) -> int:
        return len(self.refs)

    def perform(self) -> AsyncGenerator[Suboperation, None]:
        return self.sender.send(self.refs, self.request.invoker)


@dataclass(slots=True)
class _Move:
    """Sub-operations on associations of ours to the destination, one after the other."""

    refs: list[InstanceRef] = field(repr=False)
    sender: _Sender
    peer: KnownPeer
    settings: Settings

    @property
    def total(self) -> int:
        return len(self.refs)

    async def perform(self) -> AsyncGenerator[Suboperation, None]:
        for proposals, refs in per_association(self.refs):
            left, barren = refs, 0
            while left:
                sent = 0
                async with aclosing(self._on_one_association(proposals, left)) as steps:
                    async for done in steps:
                        sent += done.status is not None
                        left = left[1:]
                        yield done
                # An association that was lost is opened again, for the objects behind the one that it was lost with;
                # a peer that takes nothing twice in a row is not tried any more.
                barren = 0 if sent else barren + 1
                if barren == _MOST_BARREN:
                    for ref in left:
                        yield Suboperation(ref.instance, None)
                    break

    async def _on_one_association(
        self, proposals: Sequence[Proposal], refs: Sequence[InstanceRef]
    ) -> AsyncGenerator[Suboperation, None]:
        """Sub-operations until the association is lost; the one it was lost with is the last."""
        try:
            association = await self._associate(proposals)
        except IsocenterError as error:
            log.warning("C-MOVE to %s: %s", self.peer.aet, error)
            for ref in refs:
                yield Suboperation(ref.instance, None)
            return
        done, lost = 0, False
        try:
            async with aclosing(self.sender.send(refs, association)) as steps:
                async for step in steps:
                    done += 1
                    yield step
        except NetworkError as error:
            log.warning("C-MOVE to %s: %s", self.peer.aet, error)
            lost = True
            association.abort()
            yield Suboperation(refs[done].instance, None)
        finally:
            if not lost:
                await association.release()

    async def _associate(self, proposals: Sequence[Proposal]) -> Requestor:
        peer = self.peer
        return await associate(
            Address(peer.aet, peer.host, peer.port),
            proposals,
            calling=self.settings.dimse_aet,
            settings=self.settings,
            tls=client_context(self.settings) if peer.tls else None,
        )


def per_association(refs: Iterable[InstanceRef]) -> Iterator[tuple[list[Proposal], list[InstanceRef]]]:
    """Instances together with the presentation contexts they need, at most 128 a time.

    A context of its own for each transfer syntax in which a SOP class is stored, so that the receiver can take all of
    them, and one with what everybody takes.
    """
    by_class: dict[str, list[InstanceRef]] = {}
    for ref in refs:
        by_class.setdefault(ref.sop_class, []).append(ref)
    proposals: list[Proposal] = []
    group: list[InstanceRef] = []
    for sop_class, members in by_class.items():
        stored = sorted({ref.transfer_syntax for ref in members})
        needed = [Proposal(sop_class, (uid,)) for uid in stored]
        others = tuple(uid for uid in TARGETS if uid not in stored)
        if others:
            needed.append(Proposal(sop_class, others))
        if group and len(proposals) + len(needed) > _MOST_CONTEXTS:
            yield proposals, group
            proposals, group = [], []
        proposals += needed
        group += members
    if group:
        yield proposals, group
