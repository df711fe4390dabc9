"""The end of a sequence in which everything is regular, found without an event or an object for its elements.

Ingest proves the structure of every sequence (PS3.5 section 7.5), and in nearly all objects there is nothing to be
lenient about. So this is one loop over headers that does little but add up lengths. What is not plainly regular is not
judged here: the answer is then that somebody else must look, and walk.py, which knows every leniency and error, does.

What is proved of the sequence: it consists of items, each item of elements whose values fill it, and so on inward;
each defined length is exactly that of its content, each undefined one ends with its delimiter; all lengths are even,
all VRs are known and written as PS3.5 section 7.1.2 wants them; no delimiter and no padding stands among elements; no
limit is reached.

Sequences of thousands of items, as functional groups have one for each frame, mostly repeat themselves. An item whose
headers are those of one that was proved, at the same places, needs no second proof, and one comparison of its bytes
under a mask tells.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container
from functools import cache
from struct import error as StructError

from isocenter.std.dictionary import sequence_tags
from isocenter.wire.elements import (
    ITEM,
    ITEM_DELIMITER,
    SEQUENCE_DELIMITER,
    TRAILING_PADDING,
    UNDEFINED,
    Buffer,
    Encoding,
)
from isocenter.wire.limits import Limits

_DELIMITERS, _ITEM = ITEM >> 16, ITEM & 0xFFFF  # the group of items and delimiters
_PADDING = TRAILING_PADDING >> 16
_NOTHING: Container[int] = ()


_MANY = 8  # items, before it is worth while to look whether they are alike
_LARGEST_ITEM = 1 << 16
_MOST_SHAPES = 4
_RUN = 2048  # bytes of items of one shape that are compared at once, before which as many are seen singly


@cache
def _special() -> dict[int, Container[int]]:
    """By group, the numbers of elements that implicit VR data need a second look at: mostly sequences."""
    found: defaultdict[int, set[int]] = defaultdict(set)
    for tag in (*sequence_tags(), 0, TRAILING_PADDING):
        found[tag >> 16].add(tag & 0xFFFF)
    return {**found, _DELIMITERS: range(0x10000)}


def regular_end(
    buf: Buffer, start: int, length: int, end: int, *, encoding: Encoding, explicit: bool, limits: Limits
) -> int:
    """The offset after the sequence whose first item begins at `start`; -1 if a Walker must find or refuse it.

    `length` is the sequence's, -1 if undefined; nothing of it may be at or after `end`.
    """
    if end - start >= UNDEFINED:
        return -1  # or an undefined length could pass for one that fits
    try:
        after = _end(buf, start, length, end, encoding, explicit, limits.nesting)
    except StructError:
        return -1  # a header is cut off by the end of the buffer
    # A Walker takes a step for each header, of 8 bytes at least, and for each end that a length tells.
    return after if after <= end and (after - start) // 4 < limits.elements else -1


def _end(buf: Buffer, start: int, length: int, end: int, encoding: Encoding, explicit: bool, nesting: int) -> int:
    """The offset after the sequence, or -1; StructError where a header reaches beyond the buffer."""
    header, with_vr = encoding.implicit.unpack_from, encoding.numbers.unpack_from  # items have no VR in any encoding
    short_vrs, special = encoding.short_vrs, _special()
    pos, odd, previous, numbers, few, begin, item_end, item_open = start, 0, -1, _NOTHING, _MANY, start, 0, False
    # Where the sequence and its item end at the latest, and whether a delimiter says where; the same of those around
    sequence_open, sequence_end = length < 0, end if length < 0 else start + length
    around: list[tuple[int, bool, int, bool]] = []
    alike: _Alike | None = None  # most sequences have few items, and then a proof is all that is done
    while True:
        if few and not around:
            few, begin = few - 1, pos
        elif not around:
            alike = alike or _Alike(buf, begin, encoding, explicit)
            pos = alike.after(pos, sequence_end)
        closed = pos == sequence_end and not sequence_open
        if not closed:
            group, number, length = header(buf, pos)
            pos += 8
            if number == _ITEM and group == _DELIMITERS:
                item_open = length == UNDEFINED
                item_end = sequence_end if item_open else pos + length
                if item_end > sequence_end:
                    return -1
            else:
                closed = sequence_open and group << 16 | number == SEQUENCE_DELIMITER and not length
                if not closed:
                    return -1
        if closed:
            if not around:
                return pos if not odd & 1 else -1
            sequence_end, sequence_open, item_end, item_open = around.pop()
        # The elements of the item, as far as its end, its delimiter or a sequence
        inner, delimited = -1, False
        if explicit:
            while pos < item_end:
                group, number, vr, length = with_vr(buf, pos)
                if vr in short_vrs:
                    pos += length + 8
                    odd |= length
                    continue
                if not vr and not length:
                    delimited = True
                    break
                if vr not in encoding.long_vrs or length or group >= _PADDING:
                    return -1
                pos, (size,) = pos + 12, encoding.u32.unpack_from(buf, pos + 8)
                if encoding.long_vrs[vr] == "SQ":
                    inner = size
                    break
                pos += size
                odd |= size
        else:
            while pos < item_end:
                group, number, length = header(buf, pos)
                if group != previous:
                    previous = group
                    numbers = special.get(group, _NOTHING)
                if number in numbers:
                    delimited = group == _DELIMITERS
                    if not group or group == _PADDING:
                        return -1
                    if not delimited:
                        pos, inner = pos + 8, length
                    break
                pos += length + 8
                odd |= length
        if inner >= 0:
            around.append((sequence_end, sequence_open, item_end, item_open))
            sequence_open = inner == UNDEFINED
            sequence_end = item_end if sequence_open else pos + inner
            if sequence_end > item_end or len(around) >= nesting:
                return -1
        elif delimited:
            group, number, length = header(buf, pos)
            if not item_open or group << 16 | number != ITEM_DELIMITER or length:
                return -1
            pos += 8
        elif pos != item_end or item_open:
            return -1


class _Shape:
    """Of an item that was proved, which bytes decide its structure (`mask`), and what they are (`under`).

    `run` is the number of such items that are looked at together, 0 for large ones.
    """

    __slots__ = ("_runs", "mask", "run", "size", "under")

    def __init__(self, proved: bytes, mask: bytes) -> None:
        self.size = len(mask)
        self.run = _RUN // self.size if self.size <= _RUN // 4 else 0
        self.mask = int.from_bytes(mask, "little")
        self.under = int.from_bytes(proved, "little") & self.mask
        self._runs = (0, 0)

    def after_runs(self, buf: Buffer, pos: int, end: int) -> int:
        """The offset after as many whole runs of items like it as there are from `pos` on, before `end`."""
        width = self.run * self.size
        if not self._runs[0]:
            ones = sum(1 << 8 * at for at in range(0, width, self.size))
            self._runs = self.mask * ones, self.under * ones
        mask, under = self._runs
        while pos + width <= end and int.from_bytes(buf[pos : pos + width], "little") & mask == under:
            pos += width
        return pos


class _Alike:
    """The items of one sequence that have been proved, to know those by that come after them.

    Made when _MANY calls of `after` would have found nothing; `begin` is where the last of the items proved begins.
    """

    def __init__(self, buf: Buffer, begin: int, encoding: Encoding, explicit: bool) -> None:
        self._buf, self._encoding, self._explicit = buf, encoding, explicit
        self._begin = begin  # of the item that is proved next
        self._items = self._patience = _MANY
        self._shapes: list[_Shape] = []

    def after(self, pos: int, end: int) -> int:
        """The offset after the items from `pos` on, before `end`, that are like one before; `pos` where none is.

        To be called at the start of the sequence and after each item, which ends at `pos` and is proved.
        """
        self._items += 1
        if self._items <= self._patience:
            self._begin = pos
            return pos
        self._learn(self._begin, pos)
        found, end = pos, min(end, len(self._buf))
        last, alike = None, 0  # how many of the last shape came one after the other
        while True:
            for shape in self._shapes:
                after = found + shape.size
                if after <= end and int.from_bytes(self._buf[found:after], "little") & shape.mask == shape.under:
                    found = after
                    break
            else:
                break
            alike = alike + 1 if shape is last else 1
            last = shape
            if alike == shape.run:
                found, alike = shape.after_runs(self._buf, found, end), 0
        self._begin = found
        if found == pos:  # they are not: look ever more seldom
            self._patience = 2 * self._items + 1  # or of two that take turns the same one would always be learnt
        return found

    def _learn(self, begin: int, end: int) -> None:
        """Keep which bytes of the proved item from `begin` to `end` are headers, in which all of its structure lies."""
        size = end - begin
        if not 0 < size <= _LARGEST_ITEM:
            return
        mask, special = bytearray(size), _special()
        header, with_vr = self._encoding.implicit.unpack_from, self._encoding.numbers.unpack_from
        pos = begin
        while pos < end:
            group, number, length = header(self._buf, pos)
            head, inside = 8, group == _DELIMITERS  # after an item's header, and a sequence's, come other headers
            if self._explicit:
                _, _, vr, short = with_vr(self._buf, pos)
                if not inside and vr not in self._encoding.short_vrs:
                    head, inside = 12, self._encoding.long_vrs[vr] == "SQ"
                    (length,) = self._encoding.u32.unpack_from(self._buf, pos + 8)
                elif not inside:
                    length = short
                elif vr in self._encoding.short_vrs:
                    return  # an element with a tag of this group, or a length that looks like a VR
            elif not inside:
                inside = number in special.get(group, _NOTHING)
            mask[pos - begin : pos - begin + head] = b"\xff" * head
            pos += head if inside else head + length
        self._shapes = [_Shape(bytes(self._buf[begin:end]), bytes(mask)), *self._shapes[: _MOST_SHAPES - 1]]
