"""Stored objects in another transfer syntax, for clients that ask for that: which there are, and their bytes.

The only place of the web skin that knows how pixel data are coded anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from isocenter.model import InstanceRef
from isocenter.pixels.uncompressed import can_uncompress, uncompressed
from isocenter.std.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from isocenter.web.context import Context
from isocenter.web.negotiate import Offer
from isocenter.wire.part10 import file_meta

_PIECE = 1024 * 1024


def targets(source: str) -> tuple[str, ...]:
    """The transfer syntaxes that objects stored in `source` can be had in otherwise, best first."""
    if source != EXPLICIT_VR_LITTLE_ENDIAN and can_uncompress(source):
        return (EXPLICIT_VR_LITTLE_ENDIAN,)
    return ()


def instance_pieces(context: Context, ref: InstanceRef, offer: Offer) -> Iterator[bytes]:
    """The Part 10 file of `ref` in the offer's transfer syntax, piece by piece; blocking. Raises as
    pixels.uncompressed does."""
    with closing(context.archive.blob(ref)) as blob, blob.view() as view:
        if offer.transfer_syntax == ref.transfer_syntax:
            for start in range(0, len(view), _PIECE):
                yield bytes(view[start : start + _PIECE])
            return
        pieces = uncompressed(view, ref.data_set_offset, ref.transfer_syntax, context.limits)
        # What cannot be had is known with the first piece, and then no header may be out.
        first = next(pieces, b"")
        yield file_meta(ref.sop_class, ref.instance, EXPLICIT_VR_LITTLE_ENDIAN) + first
        yield from pieces
