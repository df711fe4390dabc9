"""C-STORE of what is stored, for retrieval and forwarding: in which presentation context, which bytes, one by one.

Where the association's window allows it, several are under way (PS3.7 D.3.3.3).

The beginning of the next object is read while the receiver has the one before: in place where the page cache has it,
else in a thread, a few at a time. (Two threads that take turns with Python's lock for each object cost more than all
the rest, so there is none where nothing would wait.) The rest of a large object follows in pieces while it is sent;
nothing holds a whole one. A data set is sent as stored wherever the receiver took its transfer syntax; else it is
transcoded if that can be done, or else its sub-operation fails.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Protocol, Self, TypeVar

from isocenter.archive.archive import Archive
from isocenter.dimse.transcode import TARGETS, can_transcode, kept, transcoded
from isocenter.errors import DataSetError, FrameRetrieveError, IsocenterError, NetworkError, NoPresentationContext
from isocenter.iod.uids import UIDs
from isocenter.model import FrameRange, InstanceRef
from isocenter.pixels.extract import New, extracted
from isocenter.services.base import Answered, Cancellation, Invoker, Response
from isocenter.services.retrieve import Suboperation
from isocenter.services.storage import even_chunks, store_request
from isocenter.std.statuses import SUCCESS
from isocenter.std.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, transfer_syntax
from isocenter.store.base import Blob
from isocenter.ul.connection import Buffer, FilePart, Payload
from isocenter.ul.negotiation import Agreed
from isocenter.wire.bulk import without_bulk
from isocenter.wire.command import CommandSet
from isocenter.wire.deflate import inflate
from isocenter.wire.limits import Limits

log = logging.getLogger("isocenter.dimse")

_CHUNK = 1024 * 1024 - 6  # of the longest PDU that we send, six bytes are the PDV's header
_UNTOLD = 8  # outcomes that may wait to be taken while more is sent
_BATCH = 8  # objects that a thread prepares at a time; two batches of beginnings are in memory


class Content(Protocol):
    """The bytes of an object's data set, in the transfer syntax of one of the `accepted` contexts.

    Both raise IsocenterErrors and OSError.
    """

    def __call__(self, ref: InstanceRef, accepted: Sequence[Agreed]) -> Prepared:
        """Blocking."""

    def at_once(self, ref: InstanceRef, accepted: Sequence[Agreed], *, as_file: bool) -> Prepared | None:
        """The same; None where it would wait for the disk or take its time. `as_file`: where that can be done, in
        `parts` of its file."""


@dataclass(slots=True)
class Prepared:
    """One object, ready to be sent in `context`; None: it cannot be, and `why` says so. `at_hand`: making it so waited
    for nothing, and neither may the next. `whole`: it is short enough to be written in one go."""

    ref: InstanceRef
    context: Agreed | None = None
    chunks: Iterable[Buffer] = ()
    parts: Sequence[FilePart] = ()
    blob: Blob | None = None
    why: str = ""
    at_hand: bool = False
    whole: bool = False

    def close(self) -> None:
        if self.blob is not None:
            self.blob.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Work:
    """The instances that are still to be sent; several associations may take from it."""

    def __init__(self, refs: Iterable[InstanceRef], cancellation: Cancellation) -> None:
        self._left = deque(refs)
        self._cancellation = cancellation

    @property
    def over(self) -> bool:
        """Nothing is left, or what is left is not wanted any more."""
        return not self._left or self.cancelled

    @property
    def cancelled(self) -> bool:
        """What is left is not wanted any more."""
        return self._cancellation.requested

    def take(self, count: int) -> list[InstanceRef]:
        """The next few; none when it is over."""
        if self.cancelled:
            return []
        return [self._left.popleft() for _ in range(min(count, len(self._left)))]

    def put_back(self, refs: Sequence[InstanceRef]) -> None:
        """What was taken and not sent."""
        self._left.extendleft(reversed(refs))

    def __len__(self) -> int:
        return len(self._left)

    def fail(self) -> Iterator[Suboperation]:
        """A failed sub-operation for everything that is left, unless it was cancelled."""
        while not self.over:
            yield Suboperation(self._left.popleft().instance, None)


class Sender:
    """Performs C-STORE sub-operations on an association, whoever opened it; `elements` go into every request."""

    def __init__(self, content: Content, elements: CommandSet) -> None:
        self._content = content
        self._elements = elements

    async def send(self, work: Work, invoker: Invoker) -> AsyncGenerator[Suboperation, None]:
        """Sub-operations until the work is over, in the order in which they end; what was taken too much is put back.

        As many are under way as the association's window allows, each written whole before the next one, so that of
        the objects no more is in memory than with one. Raises NetworkError when the association is lost, and OSError
        when an object cannot be read to its end, after the sub-operations that it was lost with.
        """
        ahead = _Ahead(self._content, work, invoker)
        aloft = _Aloft(ahead, invoker, self._elements)
        try:
            while True:
                for step in aloft.ended():
                    yield step
                one = await ahead.next() if aloft.room else None
                if one is None:
                    if not await aloft.arrival():
                        break
                    continue
                with one:
                    await aloft.send(one)
                ahead.look()
        finally:
            ahead.close()
        if aloft.failure is not None:
            raise aloft.failure


class _Aloft:
    """Sub-operations that are sent and wait for their responses, in whatever order these come.

    A receiver that has answered waits for the next object. If that is at hand it is written within the call that brings
    the answer: whatever else an object costs us (its file, the counters, what is told of it) is done while the receiver
    reads the next.
    """

    def __init__(self, ahead: _Ahead, invoker: Invoker, elements: CommandSet) -> None:
        self.failure: NetworkError | OSError | None = None  # nothing more is sent
        self._waiting = 0
        self._ahead = ahead
        self._invoker = invoker
        self._elements = elements
        self._ended: deque[Suboperation] = deque()
        self._arrival: asyncio.Future[None] | None = None

    @property
    def room(self) -> bool:
        """Whether one more may be sent."""
        return self.failure is None and self._waiting < self._invoker.window

    async def send(self, one: Prepared) -> None:
        """Write it, as soon as there is a place in the window and room on the line."""
        if one.context is None:
            log.warning("%s: not sent: %s", one.ref.instance, one.why)
            self._ended.append(Suboperation(one.ref.instance, None, one.why))
            return
        try:
            await self._invoker.post(one.context, *self._message(one, one.context))
        except (NetworkError, OSError) as error:
            self._lose(one, error)
        else:
            self._waiting += 1

    def _follow(self) -> None:
        """Write the next object, if that can be done without waiting for anything."""
        one = self._ahead.first() if self.failure is None else None
        if one is None or one.context is None or not one.whole:
            return
        try:
            if not self._invoker.post_at_once(one.context, *self._message(one, one.context)):
                return
        except (NetworkError, OSError) as error:
            self._lose(one, error)
        else:
            self._waiting += 1
        self._ahead.take()
        one.close()
        self._ahead.look()

    def _message(self, one: Prepared, context: Agreed) -> tuple[CommandSet, Iterable[Payload], Answered]:
        ref = one.ref
        command = store_request(self._invoker.next_message_id(), ref.sop_class, ref.instance) | self._elements
        deflated = transfer_syntax(context.transfer_syntax).deflated
        return command, one.parts or even_chunks(one.chunks, pad=deflated), partial(self._answered, ref.instance)

    def _answered(self, instance: str, outcome: Response | NetworkError) -> None:
        """One came back, or will not."""
        self._waiting -= 1
        if isinstance(outcome, NetworkError):
            self.failure = self.failure or outcome
            self._ended.append(Suboperation(instance, None, str(outcome), lost=True))
        else:
            self._ended.append(Suboperation(instance, outcome.status))
            # One that refuses may refuse the next as well: that is for whoever is told of it.
            if outcome.status == SUCCESS and len(self._ended) <= _UNTOLD:
                self._follow()
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    def _lose(self, one: Prepared, error: NetworkError | OSError) -> None:
        self.failure = error
        self._ended.append(Suboperation(one.ref.instance, None, str(error), lost=True))

    def ended(self) -> Iterator[Suboperation]:
        """Those that have ended and were not taken yet."""
        while self._ended:
            yield self._ended.popleft()

    async def arrival(self) -> bool:
        """Wait until one has ended; False if there is none to wait for."""
        if not self._ended and self._waiting:
            self._arrival = asyncio.get_running_loop().create_future()
            await self._arrival
        return bool(self._ended)


class _Ahead:
    """The objects of some work in their order, prepared before they are wanted.

    One in place, when `look` is called, as long as the disk need not be waited for; from the first that needs it on a
    batch in a thread, and the next while this one is sent, until a whole batch waited for nothing.
    """

    def __init__(self, content: Content, work: Work, invoker: Invoker) -> None:
        self._content = content
        self._work = work
        self._invoker = invoker
        self._at_once = partial(content.at_once, as_file=invoker.sends_files)
        self._contexts: dict[str, Sequence[Agreed]] = {}
        self._ready: deque[Prepared] = deque()
        self._taken: list[InstanceRef] = []  # by the thread
        self._batch: asyncio.Future[list[Prepared]] | None = None

    async def next(self) -> Prepared | None:
        """The next object, to be closed after use; None when the work is over."""
        if not self._ready:
            if self._batch is None:
                self._begin()
            if self._batch is not None:
                self._ready.extend(await asyncio.shield(self._batch))
                self._taken, self._batch = [], None
                if not all(one.at_hand for one in self._ready):
                    self._begin()
        return self._ready.popleft() if self._ready and not self._work.cancelled else None

    def first(self) -> Prepared | None:
        """What next() would give without waiting; take() says that it is used."""
        return self._ready[0] if self._ready and not self._work.cancelled else None

    def take(self) -> None:
        self._ready.popleft()

    def look(self) -> None:
        """There is time for the next one."""
        if self._ready or self._batch is not None:
            return
        for ref in self._work.take(1):
            one = _prepared(self._at_once, ref, self._accepted(ref))
            if one is not None:
                self._ready.append(one)
            else:
                self._work.put_back([ref])
                self._begin()

    def close(self) -> None:
        """Put back what is not wanted."""
        self._work.put_back([*(one.ref for one in self._ready), *self._taken])
        for one in self._ready:
            one.close()
        self._ready.clear()
        if self._batch is not None:
            self._batch.add_done_callback(_close_all)

    def _begin(self) -> None:
        self._taken = self._work.take(_BATCH)
        if self._taken:
            accepted = [self._accepted(ref) for ref in self._taken]
            self._batch = asyncio.ensure_future(asyncio.to_thread(_prepare_all, self._content, self._taken, accepted))

    def _accepted(self, ref: InstanceRef) -> Sequence[Agreed]:
        if ref.sop_class not in self._contexts:
            self._contexts[ref.sop_class] = self._invoker.contexts_for(ref.sop_class)
        return self._contexts[ref.sop_class]


def _prepare_all(content: Content, refs: Sequence[InstanceRef], accepted: Sequence[Sequence[Agreed]]) -> list[Prepared]:
    return [_prepared(content, ref, contexts) for ref, contexts in zip(refs, accepted, strict=True)]


_Made = TypeVar("_Made", Prepared, Prepared | None)


def _prepared(
    make: Callable[[InstanceRef, Sequence[Agreed]], _Made], ref: InstanceRef, accepted: Sequence[Agreed]
) -> _Made | Prepared:
    try:
        return make(ref, accepted)
    except (IsocenterError, OSError) as error:
        return Prepared(ref, why=str(error))


def _close_all(done: asyncio.Future[list[Prepared]]) -> None:
    if not done.cancelled() and done.exception() is None:
        for one in done.result():
            one.close()


# --- what is sent ---------------------------------------------------------------------------------------------------


class Stored:
    """Objects as they are stored, or transcoded."""

    def __init__(self, archive: Archive, limits: Limits) -> None:
        self._archive = archive
        self._limits = limits

    def __call__(self, ref: InstanceRef, accepted: Sequence[Agreed]) -> Prepared:
        context = _context(accepted, (ref.transfer_syntax,))
        if context.transfer_syntax == ref.transfer_syntax:
            blob = self._archive.blob(ref)
            return self._as_stored(ref, context, blob, at_hand=_at_hand(blob, ref))
        with self._archive.blob(ref) as blob:
            view = transcoded(
                blob.view(), ref.data_set_offset, ref.transfer_syntax, context.transfer_syntax, self._limits
            )
        return Prepared(ref, context, _cut(view))

    def at_once(self, ref: InstanceRef, accepted: Sequence[Agreed], *, as_file: bool) -> Prepared | None:
        context = _context(accepted, (ref.transfer_syntax,))
        if context.transfer_syntax != ref.transfer_syntax:
            return None
        blob = self._archive.blob(ref)
        if not _at_hand(blob, ref):
            blob.close()
            return None
        if as_file and not (blob.size - ref.data_set_offset) % 2:  # others need their last byte moved or padded
            parts = _parts(blob, ref.data_set_offset)
            if len(parts) > 1:
                os.posix_fadvise(blob.fileno(), parts[1].offset, 0, os.POSIX_FADV_WILLNEED)
            return Prepared(ref, context, parts=parts, blob=blob, at_hand=True, whole=len(parts) == 1)
        return self._as_stored(ref, context, blob, at_hand=True)

    def _as_stored(self, ref: InstanceRef, context: Agreed, blob: Blob, *, at_hand: bool) -> Prepared:
        head = blob.read(ref.data_set_offset, _CHUNK)
        position = ref.data_set_offset + len(head)
        if position >= blob.size:
            blob.close()
            return Prepared(ref, context, (head,), at_hand=at_hand, whole=True)
        # The rest is read while it is sent; the kernel fetches it meanwhile, so that the event loop does not wait.
        os.posix_fadvise(blob.fileno(), position, 0, os.POSIX_FADV_WILLNEED)
        return Prepared(ref, context, _pieces(blob, head, position), blob=blob, at_hand=at_hand)


class WithoutBulk:
    """Objects without their bulk data (PS3.4 Annex Z)."""

    def __init__(self, archive: Archive, limits: Limits) -> None:
        self._archive = archive
        self._limits = limits

    def __call__(self, ref: InstanceRef, accepted: Sequence[Agreed]) -> Prepared:
        source = transfer_syntax(ref.transfer_syntax)
        with self._archive.blob(ref) as blob:
            buf: Buffer = blob.view()
            start = ref.data_set_offset
            if source.deflated:
                buf, start = inflate(buf[start:], self._limits), 0
                source = transfer_syntax(EXPLICIT_VR_LITTLE_ENDIAN)
            view = kept(without_bulk(buf, start=start, source=source, limits=self._limits))
        # Without pixel data nothing is left that a compressed transfer syntax says another thing about.
        syntaxes = (source.uid, EXPLICIT_VR_LITTLE_ENDIAN) if source.encapsulated else (source.uid,)
        return Made(view, syntaxes, self._limits)(ref, accepted)

    def at_once(self, ref: InstanceRef, accepted: Sequence[Agreed], *, as_file: bool) -> None:
        """Never: what is left out has to be found first."""


class Made:
    """A data set made for the request, in any of `syntaxes`, or transcoded."""

    def __init__(self, view: memoryview, syntaxes: tuple[str, ...], limits: Limits) -> None:
        self._view = view
        self._syntaxes = syntaxes
        self._limits = limits

    def __call__(self, ref: InstanceRef, accepted: Sequence[Agreed]) -> Prepared:
        context = _context(accepted, self._syntaxes)
        if context.transfer_syntax in self._syntaxes:
            return Prepared(ref, context, _cut(self._view))
        view = transcoded(self._view, 0, self._syntaxes[-1], context.transfer_syntax, self._limits)
        return Prepared(ref, context, _cut(view))

    def at_once(self, ref: InstanceRef, accepted: Sequence[Agreed], *, as_file: bool) -> None:
        """Never: it is one object, and there is none before it."""


def some_frames(archive: Archive, ref: InstanceRef, frames: FrameRange, limits: Limits) -> tuple[InstanceRef, Made]:
    """A new object with some frames of a stored one, and its bytes (PS3.4 section Y.3.3); blocking.

    Raises FrameRetrieveErrors.
    """
    new = New(UIDs().new("instance"), datetime.now(UTC))
    syntax = transfer_syntax(ref.transfer_syntax)
    with archive.blob(ref) as blob:
        buf: Buffer = blob.view()
        start = ref.data_set_offset
        try:
            if syntax.deflated or not syntax.little:
                buf = transcoded(buf, start, syntax.uid, EXPLICIT_VR_LITTLE_ENDIAN, limits)
                syntax, start = transfer_syntax(EXPLICIT_VR_LITTLE_ENDIAN), 0
            view = kept(extracted(buf, start, syntax.uid, frames, new, limits))
        except DataSetError as error:
            raise FrameRetrieveError(str(error)) from None
    made = replace(ref, instance=new.sop_instance, transfer_syntax=syntax.uid)
    return made, Made(view, (syntax.uid,), limits)


def _at_hand(blob: Blob, ref: InstanceRef) -> bool:
    """Whether the beginning of the data set can be read without waiting."""
    return blob.at_hand(ref.data_set_offset, _CHUNK)


def _parts(blob: Blob, offset: int) -> list[FilePart]:
    return [FilePart(blob.fileno(), at, min(_CHUNK, blob.size - at)) for at in range(offset, blob.size, _CHUNK)]


def _pieces(blob: Blob, head: bytes, position: int) -> Iterator[bytes]:
    yield head
    while piece := blob.read(position, _CHUNK):
        yield piece
        position += len(piece)


def _cut(view: memoryview) -> Iterator[Buffer]:
    return (view[at : at + _CHUNK] for at in range(0, len(view), _CHUNK))


def _context(accepted: Sequence[Agreed], syntaxes: Sequence[str]) -> Agreed:
    """The context for one of `syntaxes`, all of which the bytes are in, else for one that they can be transcoded to.

    Raises NoPresentationContext.
    """
    by_syntax = {context.transfer_syntax: context for context in accepted}
    for uid in syntaxes:
        if uid in by_syntax:
            return by_syntax[uid]
    for uid in TARGETS:
        if uid in by_syntax and can_transcode(syntaxes[-1], uid):
            return by_syntax[uid]
    raise NoPresentationContext("no presentation context that it could be sent in was accepted")
