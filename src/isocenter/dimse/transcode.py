"""Stored data sets in another transfer syntax, for a receiver that took none of those they are stored in.

Made whole before the first byte is sent: a frame that cannot be decoded then costs its own sub-operation and not the
association. The bytes wait in an unnamed file, however many they are.
"""

from __future__ import annotations

from isocenter.errors import UnsupportedTransferSyntax
from isocenter.pixels import transcode
from isocenter.pixels.transcode import Wanted, kept
from isocenter.std.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from isocenter.wire.elements import Buffer
from isocenter.wire.limits import Limits

__all__ = ["NATIVE", "TARGETS", "can_transcode", "kept", "transcoded"]

NATIVE = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)
"""What is proposed to a receiver beside what objects are stored in, the better one first."""

TARGETS = (
    *NATIVE,
    "1.2.840.10008.1.2.4.70",  # JPEG Lossless, what most of those take that take nothing native
    "1.2.840.10008.1.2.4.80",  # JPEG-LS Lossless
    "1.2.840.10008.1.2.4.90",  # JPEG 2000 Lossless
    "1.2.840.10008.1.2.4.201",  # HTJ2K Lossless
    "1.2.840.10008.1.2.5",  # RLE Lossless
)
"""What is made where a receiver took nothing else, the better one first; none of them loses anything."""


def can_transcode(stored: str, target: str) -> bool:
    """Whether data sets stored in `stored` can be tried in `target`, one of TARGETS."""
    return target in TARGETS and transcode.can_transcode(stored, target)


def transcoded(buf: Buffer, start: int, stored: str, target: str, limits: Limits) -> memoryview:
    """The data set that begins at `start` of `buf` in `target`; blocking.

    Raises UnsupportedTransferSyntax, PixelError, CodecMissing, DataSetError or NotAcceptable where it cannot be had.
    """
    if not can_transcode(stored, target):
        raise UnsupportedTransferSyntax(f"{stored} is not transcoded to {target}")
    return kept(transcode.transcoded(buf, start, stored, Wanted(target), limits))
