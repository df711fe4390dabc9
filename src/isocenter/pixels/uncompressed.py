"""Data sets as Explicit VR Little Endian with native pixel data, for clients and peers that take no other."""

from __future__ import annotations

from collections.abc import Iterator

from isocenter.pixels.transcode import Wanted, can_decode, can_transcode, native_frame, transcoded
from isocenter.std.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from isocenter.wire.elements import Buffer
from isocenter.wire.limits import Limits

__all__ = ["can_decode", "can_uncompress", "native_frame", "uncompressed"]


def can_uncompress(syntax: str) -> bool:
    """Whether whole objects stored in `syntax` can be had in Explicit VR Little Endian."""
    return can_transcode(syntax, EXPLICIT_VR_LITTLE_ENDIAN)


def uncompressed(buf: Buffer, start: int, syntax_uid: str, limits: Limits) -> Iterator[bytes]:
    """As `transcode.transcoded`."""
    return transcoded(buf, start, syntax_uid, Wanted(EXPLICIT_VR_LITTLE_ENDIAN), limits)
