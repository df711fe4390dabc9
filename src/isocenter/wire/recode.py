"""A data set in another encoding with the same values: explicit or implicit VR, always little endian (PS3.5 section 7).

Headers are written anew and words swapped where they were big endian; what a value says is not looked at. Sequences
and items get undefined lengths, so that nothing has to be measured beforehand, and group lengths, which would be
wrong, are left out (PS3.5 section 7.2).
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final

from isocenter.errors import DataSetError
from isocenter.std.transfer_syntaxes import TransferSyntax
from isocenter.wire.dicomjson import little_endian
from isocenter.wire.elements import ITEM, ITEM_DELIMITER, SEQUENCE_DELIMITER, SHORT_VRS, UNDEFINED, Buffer, path_of
from isocenter.wire.limits import DEFAULT_LIMITS, Limits
from isocenter.wire.walk import ELEMENT, FRAGMENTS, ITEM_BEGIN, ITEM_END, SEQUENCE, walk

_PIECE: Final = 1024 * 1024  # a multiple of every word's size
_LONGEST_SHORT: Final = 0xFFFE
_LONG = Struct("<HH2sHI")
_SHORT = Struct("<HH2sH")
_PLAIN = Struct("<HHI")

_BITS_ALLOCATED, _PIXELS = 0x00280100, 0x7FE00010
_ITEM_END = _PLAIN.pack(ITEM_DELIMITER >> 16, ITEM_DELIMITER & 0xFFFF, 0)
_SEQUENCE_END = _PLAIN.pack(SEQUENCE_DELIMITER >> 16, SEQUENCE_DELIMITER & 0xFFFF, 0)
_ITEM = _PLAIN.pack(ITEM >> 16, ITEM & 0xFFFF, UNDEFINED)


def recode(
    buf: Buffer, *, start: int, source: TransferSyntax, explicit: bool, limits: Limits = DEFAULT_LIMITS
) -> Iterator[bytes]:
    """The data set at buf[start:], with native pixel data or none, in explicit VRs or implicit ones, in pieces.

    Only what is explicit can be made explicit. Raises DataSetError with the tag path for encapsulated pixel data and
    for big endian values whose words are of unknown size (UN, pixels of more than 16 bits in OW); what walk() raises.
    """
    if explicit and not source.explicit:
        raise DataSetError("implicit VRs are not made explicit here")
    bits = 0
    for kind, tag, vr, offset, length in walk(
        buf, little=source.little, explicit=source.explicit, start=start, limits=limits
    ):
        if kind == ELEMENT:
            if not tag & 0xFFFF:
                continue
            if not source.little:
                if tag == _BITS_ALLOCATED and length == 2:
                    bits = int.from_bytes(buf[offset : offset + 2], "big")
                if length and (vr == "UN" or (tag == _PIXELS and vr == "OW" and bits > 16)):
                    raise DataSetError("the byte order of this value cannot be changed", tag_path=path_of([tag]))
            yield _header(tag, vr, length + length % 2, explicit)
            for position in range(offset, offset + length, _PIECE):
                piece = bytes(buf[position : min(position + _PIECE, offset + length)])
                yield piece if source.little else little_endian(piece, vr, False)
            if length % 2:
                yield b"\0"
        elif kind == SEQUENCE:
            yield _header(tag, "SQ", UNDEFINED, explicit)
        elif kind == ITEM_BEGIN:
            yield _ITEM
        elif kind == ITEM_END:
            yield _ITEM_END
        elif kind == FRAGMENTS:
            raise DataSetError("encapsulated pixel data", tag_path=path_of([tag]))
        else:
            yield _SEQUENCE_END


def _header(tag: int, vr: str, length: int, explicit: bool) -> bytes:
    group, number = tag >> 16, tag & 0xFFFF
    if not explicit:
        return _PLAIN.pack(group, number, length)
    code = vr.encode("ascii")
    if code not in SHORT_VRS:
        return _LONG.pack(group, number, code, 0, length)
    if length > _LONGEST_SHORT:
        return _LONG.pack(group, number, b"UN", 0, length)  # PS3.5 section 6.2.2, note 4
    return _SHORT.pack(group, number, code, length)
