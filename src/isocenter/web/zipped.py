"""Instances as one ZIP file, made while it is sent (as PS3.12 Annex V has them on media).

Not compressed: what can be made smaller mostly is already, and a disk is faster than a compressor. Names are made of
UIDs, which were checked when the objects came, and of nothing else that was received.

An object that is deleted before its turn is left out, and a text file at the end names it: a file that breaks off would
be of no use to anybody, and one that says nothing would pass for the whole study. Parts of a multipart body have no
such place, and there the answer does break off.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Mapping
from io import RawIOBase
from itertools import chain
from typing import TYPE_CHECKING

from anyio import from_thread

from isocenter.errors import NotFound
from isocenter.model import InstanceRef
from isocenter.web.context import Context
from isocenter.web.negotiate import Offer
from isocenter.web.transcoding import instance_pieces

if TYPE_CHECKING:
    from typing_extensions import Buffer

MISSING = "MISSING.TXT"
_DELETED = "Deleted from the archive while this was written (SOP Instance UIDs):"
_FLUSH = 256 * 1024


class _Sink(RawIOBase):
    """What was written since it was last taken; without seeking, so that lengths follow the data."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer, /) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        self.size += len(piece)
        return len(piece)

    def take(self) -> bytes:
        taken = b"".join(self._pieces)
        self._pieces.clear()
        self.size = 0
        return taken


Entry = tuple[str, Iterable[bytes]]
"""The name of a file in the ZIP file, and its bytes, which are asked for when their turn has come."""


def by_uid(context: Context, refs: Iterable[InstanceRef], choices: Mapping[str, Offer]) -> Iterator[Entry]:
    """Instances under their UIDs, each in the form that `choices` has for its transfer syntax. Raises NotFound if all
    of them were deleted meanwhile."""
    gone: list[str] = []
    left = False
    for ref in refs:
        pieces = begun(context, ref, instance_pieces(context, ref, choices[ref.transfer_syntax]))
        if pieces is None:
            gone.append(ref.instance)
            continue
        left = True
        yield "/".join(filter(None, (ref.study, ref.series, f"{ref.instance}.dcm"))), pieces
    if not left:
        raise NotFound("what was to be zipped is not there any more")
    if gone:
        yield missing(gone)


def begun(context: Context, ref: InstanceRef, pieces: Iterator[bytes]) -> Iterator[bytes] | None:
    """The same pieces, the first made already, before there is an entry of its name; None if the object was deleted.
    Raises NotFound where the archive has it and its file is lost."""
    try:
        first = next(pieces, b"")
    except NotFound:
        if _stored(context, ref):
            raise
        return None
    return chain((first,), pieces)


def missing(gone: Iterable[str]) -> Entry:
    """The file that names the SOP instances which are not there."""
    return MISSING, ["\r\n".join((_DELETED, *gone, "")).encode()]


def _stored(context: Context, ref: InstanceRef) -> bool:
    """Whether the archive still has this object, and its bytes should be there; from a thread of anyio's."""
    try:
        refs = from_thread.run(context.archive.select, ref.scope)
    except NotFound:
        return False
    return any(one.blob == ref.blob for one in refs)


def zipped(entries: Iterable[Entry]) -> Iterator[bytes]:
    """The file, piece by piece; blocking."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as file:
        for name, pieces in entries:
            # No time: a file of the same instances is the same file.
            with file.open(zipfile.ZipInfo(name), "w", force_zip64=True) as written:
                for piece in pieces:
                    written.write(piece)
                    if sink.size >= _FLUSH:
                        yield sink.take()
    yield sink.take()
