"""C-STORE of what is stored, for retrieval and forwarding: in which presentation context, which bytes, one by one.

Beginnings of objects are read in a thread, a few ahead of the network; the rest of a large one follows in pieces while
it is sent. Nothing holds a whole object. A data set is sent as stored wherever the receiver took its transfer syntax;
else it is transcoded if that can be done, or else its sub-operation fails.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

from isocenter.archive.archive import Archive
from isocenter.dimse.transcode import TARGETS, can_transcode, kept, transcoded
from isocenter.errors import DataSetError, FrameRetrieveError, IsocenterError, NetworkError, NoPresentationContext
from isocenter.iod.uids import UIDs
from isocenter.model import FrameRange, InstanceRef
from isocenter.pixels.extract import New, extracted
from isocenter.services.base import Cancellation, Invoker
from isocenter.services.retrieve import Suboperation
from isocenter.services.storage import even_chunks, store_request
from isocenter.std.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, transfer_syntax
from isocenter.store.base import Blob
from isocenter.ul.connection import Buffer
from isocenter.ul.negotiation import Agreed
from isocenter.wire.bulk import without_bulk
from isocenter.wire.command import CommandSet
from isocenter.wire.deflate import inflate
from isocenter.wire.limits import Limits

log = logging.getLogger("isocenter.dimse")

_CHUNK = 1024 * 1024
_BATCH = 8  # objects prepared at a time; two batches of beginnings are in memory


class Content(Protocol):
    """The bytes of an object's data set."""

    def __call__(self, ref: InstanceRef, accepted: Sequence[Agreed]) -> Prepared:
        """In the transfer syntax of one of the `accepted` contexts; blocking. Raises IsocenterErrors and OSError."""


@dataclass(slots=True)
class Prepared:
    """One object, ready to be sent in `context`; None: it cannot be, and `why` says so."""

    ref: InstanceRef
    context: Agreed | None = None
    chunks: Iterable[Buffer] = ()
    blob: Blob | None = None
    why: str = ""

    def close(self) -> None:
        if self.blob is not None:
            self.blob.close()


class Work:
    """The instances that are still to be sent; several associations may take from it."""

    def __init__(self, refs: Iterable[InstanceRef], cancellation: Cancellation) -> None:
        self._left = deque(refs)
        self._cancellation = cancellation

    @property
    def over(self) -> bool:
        """Nothing is left, or what is left is not wanted any more."""
        return not self._left or self._cancellation.requested

    def take(self) -> list[InstanceRef]:
        """The next few; none when it is over."""
        if self._cancellation.requested:
            return []
        return [self._left.popleft() for _ in range(min(_BATCH, len(self._left)))]

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

    def __init__(self, content: Content, cancellation: Cancellation, elements: CommandSet) -> None:
        self._content = content
        self._cancellation = cancellation
        self._elements = elements

    async def send(self, work: Work, invoker: Invoker) -> AsyncGenerator[Suboperation, None]:
        """One sub-operation after the other until the work is over; what was taken too much is put back.

        Raises NetworkError when the association is lost, after the sub-operation it was lost with.
        """
        async with aclosing(self._prepared(work, invoker)) as objects:
            async for one in objects:
                ref = one.ref
                if one.context is None:
                    log.warning("%s: not sent: %s", ref.instance, one.why)
                    yield Suboperation(ref.instance, None, one.why)
                    continue
                command = store_request(invoker.next_message_id(), ref.sop_class, ref.instance)
                deflated = transfer_syntax(one.context.transfer_syntax).deflated
                try:
                    response = await invoker.request(
                        one.context, command | self._elements, even_chunks(one.chunks, pad=deflated)
                    )
                except (NetworkError, OSError) as error:
                    yield Suboperation(ref.instance, None, str(error))
                    raise
                yield Suboperation(ref.instance, response.status)

    async def _prepared(self, work: Work, invoker: Invoker) -> AsyncGenerator[Prepared, None]:
        """The objects in order, prepared in threads one batch ahead, and closed after use."""
        contexts: dict[str, list[Agreed]] = {}

        def prepare(refs: Sequence[InstanceRef]) -> asyncio.Future[list[Prepared]]:
            for ref in refs:
                if ref.sop_class not in contexts:
                    contexts[ref.sop_class] = list(invoker.contexts_for(ref.sop_class))
            return asyncio.ensure_future(asyncio.to_thread(_prepare_all, self._content, refs, contexts))

        waiting: deque[Prepared] = deque()
        coming = work.take()
        ahead = prepare(coming)
        try:
            while coming:
                waiting.extend(await asyncio.shield(ahead))
                coming = work.take()
                ahead = prepare(coming)
                while waiting and not self._cancellation.requested:
                    with _closing(waiting.popleft()) as one:
                        yield one
        finally:
            work.put_back([*(one.ref for one in waiting), *coming])
            for one in waiting:
                one.close()
            ahead.add_done_callback(_close_all)


@contextmanager
def _closing(one: Prepared) -> Iterator[Prepared]:
    try:
        yield one
    finally:
        one.close()


def _prepare_all(content: Content, refs: Sequence[InstanceRef], contexts: dict[str, list[Agreed]]) -> list[Prepared]:
    return [_prepare(content, ref, contexts[ref.sop_class]) for ref in refs]


def _prepare(content: Content, ref: InstanceRef, accepted: Sequence[Agreed]) -> Prepared:
    try:
        return content(ref, accepted)
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
            return self._as_stored(ref, context)
        with self._archive.blob(ref) as blob:
            view = transcoded(
                blob.view(), ref.data_set_offset, ref.transfer_syntax, context.transfer_syntax, self._limits
            )
        return Prepared(ref, context, _cut(view))

    def _as_stored(self, ref: InstanceRef, context: Agreed) -> Prepared:
        blob = self._archive.blob(ref)
        head = blob.read(ref.data_set_offset, _CHUNK)
        position = ref.data_set_offset + len(head)
        if position >= blob.size:
            blob.close()
            return Prepared(ref, context, (head,))
        # The rest is read while it is sent; the kernel fetches it meanwhile, so that the event loop does not wait.
        os.posix_fadvise(blob.fileno(), position, 0, os.POSIX_FADV_WILLNEED)
        return Prepared(ref, context, _pieces(blob, head, position), blob)


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
    possible = [uid for uid in syntaxes if uid in by_syntax]
    possible += [uid for uid in TARGETS if uid in by_syntax and can_transcode(syntaxes[-1], uid)]
    if not possible:
        raise NoPresentationContext("no presentation context that it could be sent in was accepted")
    return by_syntax[possible[0]]
