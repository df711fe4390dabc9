"""A data set in another encoding with the same values: explicit or implicit VR, little or big endian (PS3.5 section 7).

Headers are written anew and words swapped where their order changes; what a value says is not looked at. Sequences
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
_BITS_ALLOCATED, _PIXELS = 0x00280100, 0x7FE00010


class _Headers:
    """Headers of elements, items and delimiters in one encoding."""

    def __init__(self, explicit: bool, little: bool) -> None:
        order = "<" if little else ">"
        self._explicit = explicit
        self._long, self._short = Struct(f"{order}HH2sHI"), Struct(f"{order}HH2sH")
        self._plain = Struct(f"{order}HHI")
        self.item_end = self._plain.pack(ITEM_DELIMITER >> 16, ITEM_DELIMITER & 0xFFFF, 0)
        self.sequence_end = self._plain.pack(SEQUENCE_DELIMITER >> 16, SEQUENCE_DELIMITER & 0xFFFF, 0)
        self.item = self._plain.pack(ITEM >> 16, ITEM & 0xFFFF, UNDEFINED)

    def element(self, tag: int, vr: str, length: int) -> bytes:
        group, number = tag >> 16, tag & 0xFFFF
        if not self._explicit:
            return self._plain.pack(group, number, length)
        code = vr.encode("ascii")
        if code not in SHORT_VRS:
            return self._long.pack(group, number, code, 0, length)
        if length > _LONGEST_SHORT:
            return self._long.pack(group, number, b"UN", 0, length)  # PS3.5 section 6.2.2, note 4
        return self._short.pack(group, number, code, length)


def recode(
    buf: Buffer,
    *,
    start: int,
    source: TransferSyntax,
    explicit: bool,
    little: bool = True,
    limits: Limits = DEFAULT_LIMITS,
) -> Iterator[bytes]:
    """The data set at buf[start:], with native pixel data or none, in explicit VRs or implicit ones, in pieces.

    Only what is explicit can be made explicit. Raises DataSetError with the tag path for encapsulated pixel data and,
    where the byte order changes, for values whose words are of unknown size (UN, pixels of more than 16 bits in OW);
    what walk() raises.
    """
    if explicit and not source.explicit:
        raise DataSetError("implicit VRs are not made explicit here")
    bits, swapped = 0, source.little != little
    headers = _Headers(explicit, little)
    for kind, tag, vr, offset, length in walk(
        buf, little=source.little, explicit=source.explicit, start=start, limits=limits
    ):
        if kind == ELEMENT:
            if not tag & 0xFFFF:
                continue
            if swapped:
                if tag == _BITS_ALLOCATED and length == 2:
                    bits = int.from_bytes(buf[offset : offset + 2], "little" if source.little else "big")
                if length and (vr == "UN" or (tag == _PIXELS and vr == "OW" and bits > 16)):
                    raise DataSetError("the byte order of this value cannot be changed", tag_path=path_of([tag]))
            yield headers.element(tag, vr, length + length % 2)
            for position in range(offset, offset + length, _PIECE):
                piece = bytes(buf[position : min(position + _PIECE, offset + length)])
                yield little_endian(piece, vr, not swapped)
            if length % 2:
                yield b"\0"
        elif kind == SEQUENCE:
            yield headers.element(tag, "SQ", UNDEFINED)
        elif kind == ITEM_BEGIN:
            yield headers.item
        elif kind == ITEM_END:
            yield headers.item_end
        elif kind == FRAGMENTS:
            raise DataSetError("encapsulated pixel data", tag_path=path_of([tag]))
        else:
            yield headers.sequence_end
