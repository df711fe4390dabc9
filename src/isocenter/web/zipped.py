"""Instances as one ZIP file, made while it is sent (as PS3.12 Annex V has them on media).

Not compressed: what can be made smaller mostly is already, and a disk is faster than a compressor. Names are made of
UIDs, which were checked when the objects came, and of nothing else that was received.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Mapping
from io import RawIOBase
from typing import TYPE_CHECKING

from isocenter.model import InstanceRef
from isocenter.web.context import Context
from isocenter.web.negotiate import Offer
from isocenter.web.transcoding import instance_pieces

if TYPE_CHECKING:
    from typing_extensions import Buffer

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
    """Instances under their UIDs, each in the form that `choices` has for its transfer syntax."""
    for ref in refs:
        name = "/".join(filter(None, (ref.study, ref.series, f"{ref.instance}.dcm")))
        yield name, instance_pieces(context, ref, choices[ref.transfer_syntax])


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
