"""What of an object is sent: the stored bytes, or others made of them, in a transfer syntax that the receiver takes.

A data set is sent as stored wherever the receiver took its transfer syntax; else it is transcoded if that can be done,
or else its sub-operation fails. What is behind the beginning of a large object follows in pieces while it is sent;
nothing holds a whole one.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

from isocenter.archive.archive import Archive
from isocenter.dimse.transcode import TARGETS, can_transcode, kept, transcoded
from isocenter.errors import DataSetError, FrameRetrieveError, IntegrityError, NoPresentationContext
from isocenter.iod.uids import UIDs
from isocenter.model import FrameRange, InstanceRef
from isocenter.net.kernel import copied
from isocenter.pixels.extract import New, extracted
from isocenter.services.base import Ready
from isocenter.std.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, transfer_syntax
from isocenter.store.base import Blob
from isocenter.ul.connection import Buffer, FilePart
from isocenter.ul.negotiation import Agreed
from isocenter.wire.bulk import without_bulk
from isocenter.wire.deflate import inflate
from isocenter.wire.limits import Limits

_FETCHED = 4 * 1024 * 1024  # bytes that are in memory before an object's turn; the kernel fetches the rest meanwhile
_CHUNK = 1024 * 1024 - 6  # of the longest PDU that we send, six bytes are the PDV's header


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
    """One object, ready to be sent in `context`; None: it cannot be, and `why` says so; `again`: for want of something
    that this process may have later. `at_hand`: making it so waited for nothing, and neither may the next. `whole`: it
    is short enough to be written in one go, and `ready` for that."""

    ref: InstanceRef
    context: Agreed | None = None
    chunks: Iterable[Buffer] = ()
    parts: Sequence[FilePart] = ()
    blob: Blob | None = None
    why: str = ""
    again: bool = False
    at_hand: bool = False
    whole: bool = False
    ready: Ready | None = None

    def close(self) -> None:
        if self.blob is not None:
            self.blob.close()


class Stored:
    """Objects as they are stored, or transcoded."""

    def __init__(self, archive: Archive, limits: Limits) -> None:
        self._archive = archive
        self._limits = limits

    def __call__(self, ref: InstanceRef, accepted: Sequence[Agreed]) -> Prepared:
        context = _context(accepted, (ref.transfer_syntax,))
        if context.transfer_syntax == ref.transfer_syntax:
            blob = self._whole(ref)
            at_hand = blob.at_hand(ref.data_set_offset, _CHUNK)
            if not at_hand:
                blob.fetch(ref.data_set_offset, _FETCHED)
            return self._as_stored(ref, context, blob, at_hand=at_hand)
        with self._whole(ref) as blob:
            view = transcoded(
                blob.view(), ref.data_set_offset, ref.transfer_syntax, context.transfer_syntax, self._limits
            )
        return Prepared(ref, context, _cut(view))

    def at_once(self, ref: InstanceRef, accepted: Sequence[Agreed], *, as_file: bool) -> Prepared | None:
        context = _context(accepted, (ref.transfer_syntax,))
        if context.transfer_syntax != ref.transfer_syntax:
            return None
        blob = self._whole(ref)
        offset = ref.data_set_offset
        length = blob.size - offset
        parts = _parts(blob, offset) if length > _CHUNK else (FilePart(blob.fileno(), offset, length),)
        head = copied(parts[0])
        beginning = blob.peek(offset, _CHUNK, head or 1)
        if beginning is None:
            blob.close()
            return None
        if as_file and length and not length % 2:  # others need their last byte moved or padded
            if head == len(beginning):
                parts[0].known = beginning
            if len(parts) > 1:
                os.posix_fadvise(blob.fileno(), parts[1].offset, 0, os.POSIX_FADV_WILLNEED)
            return Prepared(ref, context, parts=parts, blob=blob, at_hand=True, whole=len(parts) == 1)
        return self._as_stored(ref, context, blob, at_hand=True)

    def _whole(self, ref: InstanceRef) -> Blob:
        """Its file. A data set has no length on the wire, so that nobody there could tell that it ends too early."""
        blob = self._archive.blob(ref)
        if blob.size != ref.size:
            blob.close()
            raise IntegrityError("the object's file is not as long as its index row says")
        return blob

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


def _parts(blob: Blob, offset: int) -> Sequence[FilePart]:
    return [FilePart(blob.fileno(), at, min(_CHUNK, blob.size - at)) for at in range(offset, blob.size, _CHUNK)]


def _pieces(blob: Blob, head: bytes, position: int) -> Iterator[bytes]:
    yield head
    while piece := blob.read(position, _CHUNK):
        yield piece
        position += len(piece)
    if position != blob.size:
        raise OSError(errno.EIO, "a file is shorter than it was")


def _cut(view: memoryview) -> Iterator[Buffer]:
    return (view[at : at + _CHUNK] for at in range(0, len(view), _CHUNK))


def _context(accepted: Sequence[Agreed], syntaxes: Sequence[str]) -> Agreed:
    """The context for one of `syntaxes`, all of which the bytes are in, else for one that they can be transcoded to.

    Raises NoPresentationContext.
    """
    for uid in syntaxes:
        for context in accepted:
            if context.transfer_syntax == uid:
                return context
    by_syntax = {context.transfer_syntax: context for context in accepted}
    for uid in TARGETS:
        if uid in by_syntax and can_transcode(syntaxes[-1], uid):
            return by_syntax[uid]
    raise NoPresentationContext("no presentation context that it could be sent in was accepted")
