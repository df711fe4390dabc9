"""Stored data sets in another transfer syntax, for a receiver that took none of those they are stored in.

Made whole before the first byte is sent: a frame that cannot be decoded then costs its own sub-operation and not the
association. The bytes wait in an unnamed file, however many they are.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterable, Iterator

from isocenter.errors import UnsupportedTransferSyntax
from isocenter.pixels.uncompressed import can_uncompress, uncompressed
from isocenter.std.transfer_syntaxes import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    TRANSFER_SYNTAXES,
    transfer_syntax,
)
from isocenter.wire.elements import Buffer
from isocenter.wire.limits import Limits
from isocenter.wire.recode import recode

TARGETS = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)
"""Transfer syntaxes that can be made, the better one first."""


def can_transcode(stored: str, target: str) -> bool:
    """Whether data sets stored in `stored` can be tried in `target` (native pixel data, little endian)."""
    if target not in TARGETS or stored not in TRANSFER_SYNTAXES:
        return False
    return can_uncompress(stored) or _native_explicit(stored)


def _native_explicit(uid: str) -> bool:
    row = transfer_syntax(uid)
    return row.explicit and not (row.encapsulated or row.deflated or row.document)


def transcoded(buf: Buffer, start: int, stored: str, target: str, limits: Limits) -> memoryview:
    """The data set that begins at `start` of `buf` in `target`; blocking.

    Raises UnsupportedTransferSyntax, PixelError, CodecMissing, DataSetError or NotAcceptable where it cannot be had.
    """
    if not can_transcode(stored, target):
        raise UnsupportedTransferSyntax(f"{stored} is not transcoded to {target}")
    if _native_explicit(stored):
        # Whatever is native and explicit needs no pixels looked at.
        explicit = target == EXPLICIT_VR_LITTLE_ENDIAN
        return kept(recode(buf, start=start, source=transfer_syntax(stored), explicit=explicit, limits=limits))
    plain = kept(uncompressed(buf, start, stored, limits))
    if target == EXPLICIT_VR_LITTLE_ENDIAN:
        return plain
    return kept(_implicit(plain, limits))


def _implicit(plain: Buffer, limits: Limits) -> Iterator[bytes]:
    return recode(plain, start=0, source=transfer_syntax(EXPLICIT_VR_LITTLE_ENDIAN), explicit=False, limits=limits)


def kept(pieces: Iterable[bytes]) -> memoryview:
    """The pieces in an unnamed file, mapped; the map holds it as long as it is referred to."""
    with tempfile.TemporaryFile() as file:
        for piece in pieces:
            file.write(piece)
        file.flush()
        if not file.tell():
            return memoryview(b"")
        return memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
