"""The top level of a data set, from the bytes, in one pass (PS3.5 section 7).

This is the hot path of ingest: one loop per VR form, a header in one unpack, nothing built for elements nobody asked
for. Everything irregular leaves the loop: order, groups that do not belong in a data set and pixel data through one
comparison, odd lengths through one OR per element, truncation after the loop. Sequences are proved by regular.py, and
handed to walk.py where they are not regular.

Flags (leniencies a caller must see): "odd-length", "unknown-vr", "implicit-element", "reserved-bytes", "tag-order",
"duplicate-tag" (the first is kept), "command-group", "file-meta-group", "trailing-padding",
"trailing-nul", "missing-delimiter", "stray-delimiter", "delimiter-length", "explicit-in-un", "undefined-length"
(implicit VR only: taken for a sequence), and "truncated" when `whole` is false and the buffer ends within an element.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from isocenter.errors import DataSetError, LimitExceeded, TruncatedError
from isocenter.std.dictionary import sequence_tags, vr_of
from isocenter.wire.deflate import inflate
from isocenter.wire.elements import (
    BIG,
    ITEM_DELIMITER,
    LITTLE,
    PIXEL_TAGS,
    SEQUENCE_DELIMITER,
    SHORT_VRS,
    TRAILING_PADDING,
    UNDEFINED,
    Buffer,
    Element,
    Encoding,
    NulPadding,
    irregular_header,
    path_of,
)
from isocenter.wire.fragments import encapsulated_fragments, items
from isocenter.wire.limits import DEFAULT_LIMITS, Limits
from isocenter.wire.regular import regular_end
from isocenter.wire.walk import Walker, walk

__all__ = ["Element", "ScanResult", "encapsulated_fragments", "inflate", "scan", "walk"]

# Tags in order and between these two need no second look.
_LOWEST: Final = 0x0007FFFF  # groups 0008 and up; 0004 (DICOMDIR) is looked at
_CEILING: Final = 0x7FE00008  # pixel data, padding and delimiters are above
_DELIMITERS: Final = 0xFFFE0000
_NO_STOP: Final = 1 << 32
_EVERYTHING: Final = range(1 << 32)
_SEQUENCES: Final = ("SQ", "")  # wanted, not wanted


@dataclass(slots=True)
class ScanResult:
    """`elements`: the wanted top-level elements in file order; `end`: the offset after the last element read."""

    elements: dict[int, Element]
    end: int
    pixel_data: Element | None
    flags: frozenset[str]


class _Scan:
    """One scan's state, and everything that is off the fast path."""

    def __init__(self, buf: Buffer, end: int, encoding: Encoding, explicit: bool, limits: Limits, whole: bool) -> None:
        self.buf = buf
        self.end = end
        self.encoding = encoding
        self.explicit = explicit
        self.limits = limits
        self.whole = whole
        self.wanted: frozenset[int] | None = None
        self.stop = _NO_STOP
        self.at = 0  # where the element begins that is being read off the fast path
        self.elements: dict[int, Element] = {}
        self.pixel_data: Element | None = None
        self.flags: set[str] = set()
        self.nul = NulPadding(buf)

    def slow(self, pos: int, previous: int) -> int:
        """Read the element at `pos`, whatever it is; the offset after it, or -1 if the scan ends before it."""
        end = self.end
        self.at = pos
        if self.nul.from_here(pos, end):
            self.flags.add("trailing-nul")
            return -1
        element = self._header(pos)
        tag = element.tag
        if tag >= self.stop:
            return -1
        if not element.vr:
            return self._delimiter(element, pos)
        if element.length > end - element.offset:
            raise _too_long(tag, element.offset, element.length)
        after = self._after(element)
        self._note(tag, previous)
        if self.wanted is None or tag in self.wanted:
            self.elements.setdefault(tag, element)
        if tag in PIXEL_TAGS and self.pixel_data is None:
            self.pixel_data = element
        return after

    def _header(self, pos: int) -> Element:
        if self.explicit:
            group, number, raw_vr, length = self.encoding.explicit.unpack_from(self.buf, pos)
            vr = SHORT_VRS.get(raw_vr)
            if vr is None:
                return irregular_header(self.buf, pos, self.end, self.encoding, self.flags)
            return Element(group << 16 | number, vr, pos + 8, length)
        group, number, length = self.encoding.implicit.unpack_from(self.buf, pos)
        tag = group << 16 | number
        return Element(tag, "" if group == 0xFFFE else vr_of(tag), pos + 8, -1 if length == UNDEFINED else length)

    def _note(self, tag: int, previous: int) -> None:
        """Flag a tag that is out of order or does not belong in a data set."""
        if tag < 0x00020000:
            self.flags.add("command-group")
        elif tag < 0x00030000:
            self.flags.add("file-meta-group")
        elif tag == TRAILING_PADDING:
            self.flags.add("trailing-padding")
        elif tag == previous or tag in self.elements:
            self.flags.add("duplicate-tag")
        elif tag < previous != _LOWEST:
            self.flags.add("tag-order")

    def _delimiter(self, element: Element, pos: int) -> int:
        """A tag of group FFFE at the top level: a delimiter too many is passed over, an item is not."""
        if element.tag in (ITEM_DELIMITER, SEQUENCE_DELIMITER) and element.length == 0:
            self.flags.add("stray-delimiter")
            return pos + 8
        raise DataSetError(f"{path_of([element.tag])} out of nesting", offset=pos)

    def _after(self, element: Element) -> int:
        """The offset after an element; goes through sequences and fragments where their end must be found or proved."""
        tag, vr, offset, length = element
        if length >= 0:
            if length & 1:
                self.flags.add("odd-length")
            if vr != "SQ" or not self.whole:
                return offset + length
        elif tag in PIXEL_TAGS or vr in ("OB", "OW"):
            after = offset
            for at, _ in items(self.buf, offset, self.end, self.encoding, self.limits):
                after = at
            return after
        elif vr not in ("SQ", "UN"):
            if self.explicit:
                raise DataSetError(f"{vr} of undefined length", tag_path=path_of([tag]), offset=offset)
            self.flags.add("undefined-length")
        walker = Walker(self.buf, little=self.encoding.little, explicit=self.explicit, end=self.end, limits=self.limits)
        for _ in walker.sequence(element):
            pass
        self.flags |= walker.flags
        return walker.pos

    def finish(self, pos: int, begin: int, last: tuple[int, int, int]) -> None:
        """Check that a loop ended at the end; the value it read last (tag, offset, length) may be too long."""
        if pos > self.end:
            self.at = begin
            tag, offset, length = last
            self.elements.pop(tag, None)
            raise _too_long(tag, offset, length)
        self.at = pos
        if pos < self.end:
            if not self.nul.from_here(pos, self.end):
                raise TruncatedError("the data set ends within an element's header", offset=pos)
            self.flags.add("trailing-nul")


def _too_long(tag: int, offset: int, length: int) -> TruncatedError:
    return TruncatedError(f"a value of {length} bytes reaches beyond the end", tag_path=path_of([tag]), offset=offset)


def _explicit(scan: _Scan, pos: int) -> int:
    """Scan explicit VR data from `pos`; the offset after the last element read."""
    buf, elements = scan.buf, scan.elements
    end, encoding, limits, whole = scan.end, scan.encoding, scan.limits, scan.whole
    unpack, u32 = encoding.numbers.unpack_from, encoding.u32.unpack_from
    short, long, new = encoding.short_vrs, encoding.long_vrs, tuple.__new__
    wanted: Container[int] = _EVERYTHING if scan.wanted is None else scan.wanted
    previous, ceiling = _LOWEST, min(_CEILING, scan.stop)
    last, last_long = end - 8, end - 12
    tag = length = odd = 0
    begin = pos
    for _ in range(limits.elements):
        if pos > last:
            scan.finish(pos, begin, (tag, pos - length, length))
            break
        group, number, vr, length = unpack(buf, pos)
        tag = group << 16 | number
        if previous < tag < ceiling:
            if vr in short:
                if tag in wanted:
                    elements[tag] = new(Element, (tag, short[vr], pos + 8, length))
                begin = pos
                odd |= length
                previous = tag
                pos += length + 8
                continue
            if vr in long and not length and pos <= last_long:
                (length,) = u32(buf, pos + 8)
                size, after = length, pos + 12 + length
                if long[vr] == "SQ" and (whole or length == UNDEFINED):
                    size = -1 if length == UNDEFINED else length
                    after = regular_end(buf, pos + 12, size, end, encoding=encoding, explicit=True, limits=limits)
                    length = 0  # what is regular is even
                elif length == UNDEFINED:
                    after = -1
                if after >= 0:
                    if tag in wanted:
                        elements[tag] = new(Element, (tag, long[vr], pos + 12, size))
                    begin = pos
                    odd |= length
                    previous = tag
                    pos = after
                    continue
        after = scan.slow(pos, previous)
        if after < 0:
            break
        if previous < tag < _DELIMITERS:
            previous = tag
        pos = after
    else:
        raise _too_many(scan, pos)
    if odd & 1:
        scan.flags.add("odd-length")
    return pos


@lru_cache(maxsize=64)  # bounded: requests choose tags
def _vrs(wanted: frozenset[int]) -> dict[int, str]:
    """VRs of the wanted attributes, and "" for the sequences that are not."""
    return {**dict.fromkeys(sequence_tags(), ""), **{tag: vr_of(tag) for tag in wanted}}


def _implicit(scan: _Scan, pos: int) -> int:
    """Scan implicit VR data from `pos`; the offset after the last element read."""
    buf, elements = scan.buf, scan.elements
    unpack, new = scan.encoding.implicit.unpack_from, tuple.__new__
    vr_if_wanted = vr_of if scan.wanted is None else _vrs(scan.wanted).get
    sequences, whole = _SEQUENCES, scan.whole
    previous, ceiling = _LOWEST, min(_CEILING, scan.stop)
    end, encoding, limits = scan.end, scan.encoding, scan.limits
    last = end - 8
    tag = length = odd = 0
    begin = pos
    for _ in range(limits.elements):
        if pos > last:
            scan.finish(pos, begin, (tag, begin + 8, length))
            break
        group, number, length = unpack(buf, pos)
        tag = group << 16 | number
        if previous < tag < ceiling:
            vr = vr_if_wanted(tag)
            if vr in sequences and (whole or length == UNDEFINED):
                size = -1 if length == UNDEFINED else length
                after = regular_end(buf, pos + 8, size, end, encoding=encoding, explicit=False, limits=limits)
                if after >= 0:
                    if vr:
                        elements[tag] = new(Element, (tag, vr, pos + 8, size))
                    previous = tag
                    pos = after
                    continue
            elif length != UNDEFINED:
                if vr:
                    elements[tag] = new(Element, (tag, vr, pos + 8, length))
                begin = pos
                odd |= length
                previous = tag
                pos += length + 8
                continue
        after = scan.slow(pos, previous)
        if after < 0:
            break
        if previous < tag < _DELIMITERS:
            previous = tag
        pos = after
    else:
        raise _too_many(scan, pos)
    if odd & 1:
        scan.flags.add("odd-length")
    return pos


def _too_many(scan: _Scan, pos: int) -> LimitExceeded:
    return LimitExceeded(f"more than {scan.limits.elements} elements (limits.elements)", offset=pos)


def scan(
    buf: Buffer,
    *,
    little: bool,
    explicit: bool,
    start: int = 0,
    end: int | None = None,
    wanted: frozenset[int] | None = None,
    stop: int | None = None,
    limits: Limits = DEFAULT_LIMITS,
    whole: bool = True,
) -> ScanResult:
    """Find the top-level elements of the data set in buf[start:end].

    `wanted` are the tags to return (None: all). With `stop`, the first element whose tag is not below it ends the scan
    unread. `whole` proves the data set: sequences are walked through, and TruncatedError or DataSetError is raised,
    with offset and tag path, when anything does not fit. Without it, sequences of defined length are stepped over and
    the buffer may end anywhere (a header still being received): what is complete is returned, `end` is where to go on,
    and the flag is "truncated". Structure that is wrong raises in both cases. Pixel data are found in both, if `stop`
    lets them. Deflated data sets are inflated first (`inflate`).
    """
    state = _Scan(buf, len(buf) if end is None else end, LITTLE if little else BIG, explicit, limits, whole)
    state.wanted = wanted
    if stop is not None:
        state.stop = stop
    try:
        reached = (_explicit if explicit else _implicit)(state, start)
    except TruncatedError:
        if whole:
            raise
        state.flags.add("truncated")
        reached = state.at
    return ScanResult(state.elements, reached, state.pixel_data, frozenset(state.flags))
