"""Instances as one ZIP file, made while it is sent (as PS3.12 Annex V has them on media).

Not compressed: what can be made smaller mostly is already, and a disk is faster than a compressor. Names are made of
UIDs, which were checked when the objects came, and of nothing else that was received.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
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


def zipped(context: Context, refs: Sequence[InstanceRef], choices: dict[str, Offer]) -> Iterator[bytes]:
    """The file, piece by piece; blocking. Each instance in the form that `choices` has for its transfer syntax."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as file:
        for ref in refs:
            # No time: a file of the same instances is the same file.
            entry = zipfile.ZipInfo("/".join(filter(None, (ref.study, ref.series, f"{ref.instance}.dcm"))))
            with file.open(entry, "w", force_zip64=True) as written:
                for piece in instance_pieces(context, ref, choices[ref.transfer_syntax]):
                    written.write(piece)
                    if sink.size >= _FLUSH:
                        yield sink.take()
    yield sink.take()
