"""Data element headers as bytes: VRs, the three encodings, and what to make of a header that breaks the rules.

PS3.5 section 7.1. The loops of scan.py and walk.py read well-formed headers inline, because a call per element would
double their time; everything else comes here, so that there is one opinion about irregular headers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from mmap import mmap
from struct import Struct
from typing import Literal, NamedTuple

from isocenter.errors import DataSetError, TruncatedError
from isocenter.std.dictionary import vr_of

Buffer = bytes | bytearray | memoryview | mmap

UNDEFINED = 0xFFFFFFFF

ITEM = 0xFFFEE000
ITEM_DELIMITER = 0xFFFEE00D
SEQUENCE_DELIMITER = 0xFFFEE0DD
TRAILING_PADDING = 0xFFFCFFFC
PIXEL_DATA = 0x7FE00010
# Float Pixel Data, Double Float Pixel Data and Pixel Data
PIXEL_TAGS = frozenset({0x7FE00008, 0x7FE00009, PIXEL_DATA})

# PS3.5 Tables 7.1-1 and 7.1-2: value length of two bytes, or two reserved bytes and a length of four.
_SHORT = "AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US"
_LONG = "OB OD OF OL OV OW SQ SV UC UN UR UT UV"
SHORT_VRS = {vr.encode(): vr for vr in _SHORT.split()}
LONG_VRS = {vr.encode(): vr for vr in _LONG.split()}
ANY_VR = SHORT_VRS | LONG_VRS
_LETTERS = re.compile(rb"[A-Z][A-Z]")


class Element(NamedTuple):
    """A data element in a buffer: `offset` and `length` are those of the value, in bytes.

    `length` -1 is an undefined length; `offset` is then that of the first item.
    """

    tag: int
    vr: str
    offset: int
    length: int


class Encoding:
    """The structs of one byte order.

    `explicit` headers read group, element, VR and the short length in one go. So does `numbers`, with the VR as a
    number, which costs less than two bytes do; `short_vrs` and `long_vrs` are the VRs by that number.
    """

    __slots__ = ("explicit", "implicit", "little", "long_vrs", "numbers", "short_vrs", "u32")

    def __init__(self, order: Literal["little", "big"]) -> None:
        sign = "<" if order == "little" else ">"
        self.little = order == "little"
        self.explicit = Struct(f"{sign}HH2sH")
        self.numbers = Struct(f"{sign}4H")
        self.implicit = Struct(f"{sign}HHI")
        self.u32 = Struct(f"{sign}I")
        self.short_vrs = {int.from_bytes(raw, order): vr for raw, vr in SHORT_VRS.items()}
        self.long_vrs = {int.from_bytes(raw, order): vr for raw, vr in LONG_VRS.items()}


LITTLE = Encoding("little")
BIG = Encoding("big")


def path_of(tags: Iterable[int | str]) -> str:
    """A tag path for errors: "(0008,1140)[0].(0008,1155)"; item numbers are given as "[0]"."""
    text = ""
    for part in tags:
        if isinstance(part, str):
            text += part
        else:
            text += f"{'.' if text else ''}({part >> 16:04X},{part & 0xFFFF:04X})"
    return text


class NulPadding:
    """Finds NUL padding in one buffer; remembers what it saw, so that many questions cost one pass."""

    def __init__(self, buf: Buffer) -> None:
        self._buf = buf
        self._known = -1  # the offset of a byte that is not NUL

    def from_here(self, start: int, end: int) -> bool:
        """Whether buf[start:end] is all NUL."""
        if start <= self._known < end or (start < end and self._buf[start]):
            return False
        for at in range(start, end, 65536):
            piece = bytes(self._buf[at : min(at + 65536, end)])
            rest = piece.lstrip(b"\0")
            if rest:
                self._known = at + len(piece) - len(rest)
                return False
        return True


def irregular_header(buf: Buffer, pos: int, end: int, encoding: Encoding, flags: set[str]) -> Element:
    """Read an explicit VR header that has none of the VRs with a short length.

    Beside the regular long VRs this takes, with a flag: VRs of later editions or of nobody (read as UN, "unknown-vr"),
    elements written with an implicit VR ("implicit-element") and reserved bytes that are not zero ("reserved-bytes").
    Delimiters have the VR "". The length may still reach beyond `end`: the caller looks at it.
    Raises TruncatedError if the header does not fit, DataSetError if no reading of it does.
    """
    group, element, vr, short = encoding.explicit.unpack_from(buf, pos)
    tag = group << 16 | element
    if group == 0xFFFE:
        (length,) = encoding.u32.unpack_from(buf, pos + 4)
        return Element(tag, "", pos + 8, -1 if length == UNDEFINED else length)
    name = LONG_VRS.get(vr)
    if name is not None:
        if pos + 12 > end:
            raise TruncatedError("the data set ends within an element's header", tag_path=path_of([tag]), offset=pos)
        (length,) = encoding.u32.unpack_from(buf, pos + 8)
        if short:
            flags.add("reserved-bytes")
        return Element(tag, name, pos + 12, -1 if length == UNDEFINED else length)
    if _LETTERS.fullmatch(vr):
        # PS3.5 section 6.2, note: a VR of a later edition has the long form. Nobody's VRs were seen in both.
        if short == 0 and pos + 12 <= end:
            (length,) = encoding.u32.unpack_from(buf, pos + 8)
            if pos + 12 + length <= end:
                flags.add("unknown-vr")
                return Element(tag, "UN", pos + 12, length)
        flags.add("unknown-vr")
        return Element(tag, "UN", pos + 8, short)
    (length,) = encoding.u32.unpack_from(buf, pos + 4)
    if length == UNDEFINED or pos + 8 + length <= end:
        flags.add("implicit-element")
        return Element(tag, vr_of(tag), pos + 8, -1 if length == UNDEFINED else length)
    if pos + 8 + short <= end and short:
        flags.add("unknown-vr")
        return Element(tag, "UN", pos + 8, short)
    raise DataSetError("no value representation and no length that fits", tag_path=path_of([tag]), offset=pos)


def looks_explicit(buf: Buffer, pos: int, end: int) -> bool | None:
    """Whether the element at `pos` is written with an explicit VR (either byte order); None if there is no telling.

    The VR bytes of an explicit header would be an implicit length of at least 16,705 with both low bytes capital
    letters, so a real VR there that fits the tag's is trusted.
    """
    if pos + 8 > end:
        return None
    vr = bytes(buf[pos + 4 : pos + 6])
    if vr in ANY_VR:
        return True
    if _LETTERS.fullmatch(vr):
        return None
    return False
