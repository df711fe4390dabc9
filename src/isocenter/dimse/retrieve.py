"""C-MOVE and C-GET from the archive: to whom, and on which associations.

What is selected is found by `selecting`, what is sent is made by `content`, and `sending` sends it. A C-GET has the
requestor's own association; a C-MOVE opens some to its destination, which share the work, so that a receiver that takes
its time over each object is asked for several at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from isocenter.archive.archive import Archive
from isocenter.dimse.content import Content, Stored, WithoutBulk, some_frames
from isocenter.dimse.peers import associate_with
from isocenter.dimse.selecting import Selector
from isocenter.dimse.sending import Sender, Work
from isocenter.dimse.transcode import NATIVE
from isocenter.dimse.view_retrieve import ViewSelector
from isocenter.dimse.views import Views
from isocenter.errors import IsocenterError, NetworkError
from isocenter.known_peers import KnownPeer
from isocenter.model import InstanceRef
from isocenter.net.memory import keep_memory
from isocenter.net.requestor import Proposal, Requestor
from isocenter.services.base import Request
from isocenter.services.retrieve import Selection, Suboperation
from isocenter.settings import Settings
from isocenter.wire.command import CommandSet
from isocenter.wire.limits import Limits

log = logging.getLogger("isocenter.dimse")

_KEPT = 4 * 1024 * 1024
_MOST_CONTEXTS = 128
_MOST_BARREN = 2  # associations in a row that are lost before anything was sent
_WORTH_ONE = 16  # instances for which another association is opened
_LOOK, _SLOW = 4, 0.005  # so many objects at a time are looked at; seconds each that make a receiver slow


class ArchiveRetriever:
    """Selects and sends; hand it to RetrieveService.

    `destination` gives the peer of an AE title, None if it is not known. Objects go to it with TLS where it says so.
    """

    def __init__(
        self, archive: Archive, settings: Settings, destination: Callable[[str], KnownPeer | None], views: Views
    ) -> None:
        self._archive = archive
        self._limits = Limits.of(settings)
        self._selector = Selector(archive)
        self._stored = Stored(archive, self._limits)
        self._without_bulk = WithoutBulk(archive, self._limits)
        self._in_view = ViewSelector(archive, views, self._stored, self._limits)
        self._settings = settings
        self._destination = destination
        keep_memory(_KEPT)
        self._open: Counter[str] = Counter()  # associations of ours by the title of their destination

    async def get(self, request: Request, selection: Selection) -> _Get:
        refs, content = await self._selected(selection)
        return _Get(refs, request, Sender(content, _priority(request)))

    async def move(self, request: Request, selection: Selection, destination: str) -> _Move | None:
        peer = self._destination(destination)
        if peer is None:
            return None
        # PS3.7 section 9.1.1.1.8: the receiver can tell what it gets from what it did not ask for.
        originator = {
            "MoveOriginatorApplicationEntityTitle": request.peer.calling,
            "MoveOriginatorMessageID": request.command.get("MessageID", 0),
        }
        refs, content = await self._selected(selection)
        sender = Sender(content, _priority(request) | originator)
        return _Move(refs, request, sender, _Destination(peer, self._settings, self._open))

    async def _selected(self, selection: Selection) -> tuple[list[InstanceRef], Content]:
        if selection.view:
            return await self._in_view.select(selection)
        refs = await self._selector.select(selection)
        if selection.frames is not None and refs:
            made, content = await asyncio.to_thread(some_frames, self._archive, refs[0], selection.frames, self._limits)
            return [made], content
        return refs, self._stored if selection.bulk else self._without_bulk


def _priority(request: Request) -> CommandSet:
    """That of the request is that of its sub-operations (PS3.4 C.4.2.1.2)."""
    return {"Priority": request.command.get("Priority", 0)}


@dataclass(slots=True)
class _Get:
    """Sub-operations on the requestor's own association."""

    refs: list[InstanceRef] = field(repr=False)
    request: Request
    sender: Sender

    @property
    def total(self) -> int:
        return len(self.refs)

    def perform(self) -> AsyncGenerator[Suboperation, None]:
        return self.sender.send(Work(self.refs, self.request.cancellation), self.request.invoker)


@dataclass(slots=True)
class _Move:
    """Sub-operations on associations of ours to the destination."""

    refs: list[InstanceRef] = field(repr=False)
    request: Request
    sender: Sender
    destination: _Destination

    @property
    def total(self) -> int:
        return len(self.refs)

    async def perform(self) -> AsyncGenerator[Suboperation, None]:
        for proposals, refs in per_association(self.refs):
            lanes = _Lanes(self.destination, self.sender, proposals, Work(refs, self.request.cancellation))
            async with aclosing(lanes.run()) as steps:
                async for step in steps:
                    yield step


@dataclass(frozen=True, slots=True)
class _Destination:
    """A peer that objects are moved to, and how many associations of ours it has, by its title."""

    peer: KnownPeer
    settings: Settings
    open: Counter[str]

    @property
    def has_room(self) -> bool:
        """Whether it may be asked for one more association than each request has in any case."""
        return self.open[self.peer.aet] < self.settings.dimse_move_associations

    async def associate(self, proposals: Sequence[Proposal]) -> Requestor:
        return await associate_with(self.peer, proposals, self.settings)


class _Lanes:
    """One or more associations with the same contexts, that share the work.

    The first is opened at once, another where the receiver takes its time over each object: one that does not is served
    best by one, as more would only take turns with it. A lane whose association is lost opens another, for the
    objects behind the one it was lost with; one that gets none, or twice in a row one on which nothing can be sent,
    ends, and what is left is for the others. What no lane is left for has failed.
    """

    def __init__(self, destination: _Destination, sender: Sender, proposals: Sequence[Proposal], work: Work) -> None:
        self._destination = destination
        self._sender = sender
        self._proposals = proposals
        self._work = work
        self._done: deque[Suboperation] = deque()
        self._more = asyncio.Event()  # something is done, or a lane has ended
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = 0  # of them
        self._why = ""  # the last one did

    async def run(self) -> AsyncGenerator[Suboperation, None]:
        """The sub-operations in the order in which they end; closing it aborts those that run."""
        if self._work.over:
            return
        self._begin()
        try:
            while self._done or self._ended < len(self._tasks):
                while self._done:
                    yield self._done.popleft()
                self._more.clear()
                if self._ended < len(self._tasks):
                    await self._more.wait()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        for step in self._work.fail(self._why):
            yield step

    def _begin(self) -> None:
        # Counted before it runs, so that two lanes that widen in one moment do not both find room for the last.
        self._destination.open[self._destination.peer.aet] += 1
        task = asyncio.create_task(self._lane())
        task.add_done_callback(self._on_end)
        self._tasks.add(task)

    def _on_end(self, task: asyncio.Task[None]) -> None:
        aet, count = self._destination.peer.aet, self._destination.open
        if not task.cancelled() and (error := task.exception()) is not None:  # a defect: the others know of nothing
            log.error("C-MOVE to %s: an association failed", aet, exc_info=error)
        count[aet] -= 1
        if not count[aet]:
            del count[aet]
        self._ended += 1
        self._more.set()

    async def _lane(self) -> None:
        barren = 0
        while barren < _MOST_BARREN and not self._work.over:
            try:
                association = await self._destination.associate(self._proposals)
            except IsocenterError as error:
                log.warning("C-MOVE to %s: %s", self._destination.peer.aet, error)
                self._why = str(error)
                return
            barren = 0 if await self._send(association) else barren + 1

    def _widen(self) -> None:
        """Begin another lane, if there is work and room for it."""
        if len(self._work) > _WORTH_ONE * len(self._tasks) and self._destination.has_room:
            self._begin()

    async def _send(self, association: Requestor) -> int:
        """Sub-operations until the work is over or the association is lost; how many got a response."""
        answered, loop = 0, asyncio.get_running_loop()
        begun = loop.time()
        try:
            async with aclosing(self._sender.send(self._work, association)) as steps:
                async for step in steps:
                    answered += step.status is not None
                    self._done.append(step)
                    self._more.set()
                    if answered % _LOOK == 0:
                        now = loop.time()
                        if now - begun > _LOOK * _SLOW:
                            self._widen()
                        begun = now
            await association.release()
        except (NetworkError, OSError) as error:
            log.warning("C-MOVE to %s: %s", self._destination.peer.aet, error)
            self._why = str(error)
            association.abort()
        except BaseException:
            association.abort()
            raise
        return answered


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
        others = tuple(uid for uid in NATIVE if uid not in stored)
        if others:
            needed.append(Proposal(sop_class, others))
        if group and len(proposals) + len(needed) > _MOST_CONTEXTS:
            yield proposals, group
            proposals, group = [], []
        proposals += needed
        group += members
    if group:
        yield proposals, group
