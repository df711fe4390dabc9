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
    header = encoding.implicit.unpack_from  # of items and delimiters in any encoding
    with_vr, short_vrs, special = encoding.numbers.unpack_from, encoding.short_vrs, _special()
    pos, odd, previous, numbers = start, 0, -1, _NOTHING
    # Where the sequence and its item end at the latest, and whether a delimiter says where; the same of those around
    sequence_open = length < 0
    sequence_end = end if sequence_open else start + length
    item_end, item_open, around = 0, False, list[tuple[int, bool, int, bool]]()
    alike = _Alike(buf, start, encoding, explicit)
    while True:
        if not around:
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
                break
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
                (size,) = encoding.u32.unpack_from(buf, pos + 8)
                pos += 12
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
    return pos if not odd & 1 else -1


class _Alike:
    """The items of one sequence that have been proved, to know those by that come after them."""

    def __init__(self, buf: Buffer, start: int, encoding: Encoding, explicit: bool) -> None:
        self._buf, self._encoding, self._explicit = buf, encoding, explicit
        self._begin = start  # of the item that is proved next
        self._items, self._patience = 0, _MANY
        self._shapes: list[tuple[int, int, int]] = []  # size, mask, and what is under it

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
        while True:
            for size, mask, under in self._shapes:
                if found + size <= end and int.from_bytes(self._buf[found : found + size], "little") & mask == under:
                    found += size
                    break
            else:
                break
        self._begin = found
        if found == pos:  # they are not: look ever more seldom
            self._patience = 2 * self._items
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
        under = int.from_bytes(self._buf[begin:end], "little") & (every := int.from_bytes(mask, "little"))
        self._shapes = [(size, every, under), *self._shapes[: _MOST_SHAPES - 1]]
