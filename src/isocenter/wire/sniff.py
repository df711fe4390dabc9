"""Whether bytes can be the beginning of a data set in one encoding: for files whose header is missing or lies."""

from __future__ import annotations

from functools import lru_cache

from isocenter.std.dictionary import entry_of, vr_of
from isocenter.wire.elements import BIG, LITTLE, LONG_VRS, SHORT_VRS, UNDEFINED, Buffer

_ELEMENTS = 4
# Where data sets begin: command garbage, DICOMDIR, and the groups a real object or identifier starts with.
_FIRST_GROUPS = frozenset({0x0004, 0x0008, 0x0009, 0x0010, 0x0018, 0x0020, 0x0028, 0x0032, 0x0040})


def plausible(buf: Buffer, start: int, *, little: bool, explicit: bool) -> bool:
    """Whether the first elements from `start` read well in this encoding.

    They must rise in tag, fit in the buffer (the last may reach beyond it) and have a known VR, or, with an implicit
    VR, a tag whose standard length the value has. No bytes at all are plausible in any encoding.
    """
    encoding = LITTLE if little else BIG
    pos, size, previous = start, len(buf), -1
    for count in range(_ELEMENTS):
        if pos >= size:
            return True
        if pos + 8 > size:
            return count > 0
        if explicit:
            group, number, raw_vr, length = encoding.explicit.unpack_from(buf, pos)
        else:
            group, number, length = encoding.implicit.unpack_from(buf, pos)
        tag = group << 16 | number
        if tag <= previous or (not count and group not in _FIRST_GROUPS):
            return False
        if explicit:
            if raw_vr in SHORT_VRS:
                pos += 8
            elif raw_vr in LONG_VRS and pos + 12 <= size:
                (length,) = encoding.u32.unpack_from(buf, pos + 8)
                pos += 12
            else:
                return False
        else:
            pos += 8
            unit, below, undefined = _lengths(tag)
            if length >= below or length % unit:
                return undefined and length == UNDEFINED
        if length == UNDEFINED:
            return True
        if pos + length > size:
            return count > 0
        pos += length
        previous = tag
    return True


_WIDTH = {"UL": 4, "SL": 4, "FL": 4, "AT": 4, "FD": 8, "US": 2, "SS": 2}


# Bounded: received data choose the tags.
@lru_cache(maxsize=8192)
def _lengths(tag: int) -> tuple[int, int, bool]:
    """What lengths the values of a tag have: multiples of the first number below the second; or an undefined one."""
    if not tag & 0x10000 and tag & 0xFFFF and entry_of(tag) is None:
        return 1, 0, False
    vr = vr_of(tag)
    below = UNDEFINED if vr in ("SQ", "UN", "OB", "OW", "UT", "LT", "ST") else 1 << 16
    return _WIDTH.get(vr, 1), below, vr in ("SQ", "UN")
