"""Every element of a data set in order, nested ones included, as a flat run of events (PS3.5 section 7.5).

One loop with an explicit stack: nesting costs list entries up to limits.nesting, never Python frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from isocenter.errors import DataSetError, LimitExceeded, TruncatedError
from isocenter.std.dictionary import private_entry, vr_of
from isocenter.wire.elements import (
    ANY_VR,
    BIG,
    ITEM,
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
    looks_explicit,
    path_of,
)
from isocenter.wire.fragments import items
from isocenter.wire.limits import DEFAULT_LIMITS, Limits

# Events. An event is (kind, tag, vr, offset, length).
ELEMENT: Final = 0  # a value; offset and length in bytes
SEQUENCE: Final = 1  # a sequence begins; length -1 is undefined
ITEM_BEGIN: Final = 2
ITEM_END: Final = 3  # offset is that of the first byte after the item
SEQUENCE_END: Final = 4
FRAGMENTS: Final = (
    5  # encapsulated pixel data, skipped; offset is that of the first item, length up to the delimiter's end
)

Event = tuple[int, int, str, int, int]

_DATA_SET_END: Final[Event] = (-1, 0, "", 0, 0)
_BIG_ITEM = b"\xff\xfe\xe0\x00"
_LITTLE_ITEM = b"\xfe\xff\x00\xe0"
_WIDTH = {"AT": 4, "FD": 8, "FL": 4, "SL": 4, "SS": 2, "SV": 8, "UL": 4, "US": 2, "UV": 8, "OW": 2}


class _Level:
    """One open data set (the outermost or an item) or sequence."""

    __slots__ = ("creators", "encoding", "end", "explicit", "is_sequence", "items", "tag", "undefined")

    def __init__(
        self, is_sequence: bool, tag: int, end: int, undefined: bool, explicit: bool, encoding: Encoding
    ) -> None:
        self.is_sequence = is_sequence
        self.tag = tag  # of the sequence, or of the element last read in an item
        self.end = end  # no byte of it is at or after this offset; exact unless `undefined`
        self.undefined = undefined
        self.explicit = explicit
        self.encoding = encoding
        self.items = 0
        self.creators: dict[int, str] = {}  # group and block to private creator


class Walker:
    """Walks one buffer. `flags` collects the leniencies; `pos` is the offset reached.

    `resolve_un`: elements whose VR is UN, or not told by implicit VR data, are given with the VR that the dictionary,
    or the private creator's, has for them if their value has its form; sequences among them are opened (PS3.5 section
    6.2.2, notes 2 to 4). Values of explicit VR UN are little endian. `little` is the byte order of the last element.
    """

    def __init__(
        self,
        buf: Buffer,
        *,
        little: bool,
        explicit: bool,
        end: int,
        limits: Limits = DEFAULT_LIMITS,
        resolve_un: bool = False,
    ) -> None:
        self.buf = buf
        self.end = end
        self.limits = limits
        self.flags: set[str] = set()
        self.pos = 0
        self._explicit = explicit
        self._encoding: Encoding = LITTLE if little else BIG
        self._resolve_un = resolve_un
        self._stack: list[_Level] = []
        self.little = little
        self.creators: dict[int, str] = {}  # of the outermost data set: group and block to private creator
        self._nul = NulPadding(buf)
        self._left = limits.elements

    def data_set(self, start: int) -> Iterator[Event]:
        """All events of the data set that fills the buffer from `start` to the end."""
        self.pos = start
        self._stack = [_Level(False, 0, self.end, False, self._explicit, self._encoding)]
        self._stack[0].creators = self.creators
        return self._run()

    def first(self, start: int) -> Event | None:
        """The first event of `data_set`, without the machinery for the others; None if something is passed over."""
        self.data_set(start)
        return self._next_element(self._stack[0])

    def sequence(self, element: Element) -> Iterator[Event]:
        """The events of one sequence found elsewhere, from ITEM_BEGIN of its first item to SEQUENCE_END."""
        self.pos = element.offset
        self._stack = [_Level(False, element.tag, self.end, False, self._explicit, self._encoding)]
        self._open(element, from_un=element.vr == "UN")
        return self._run()

    def path(self) -> str:
        """The tag path of the element last read."""
        parts: list[int | str] = []
        for level in self._stack:
            if not level.is_sequence:
                parts.append(level.tag)
            elif level.items:
                parts.append(f"[{level.items - 1}]")
        return path_of(part for part in parts if part)

    def _open(self, element: Element, *, from_un: bool) -> None:
        if len(self._stack) >= 2 * self.limits.nesting:
            raise LimitExceeded(
                f"sequences nested deeper than {self.limits.nesting} (limits.nesting)",
                tag_path=path_of([element.tag]),
                offset=element.offset,
            )
        parent = self._stack[-1]
        undefined = element.length < 0
        end = parent.end if undefined else element.offset + element.length
        explicit, encoding = parent.explicit, parent.encoding
        if from_un:
            # PS3.5 section 6.2.2, note 4: implicit VR little endian, whatever is around it
            explicit = False
            if encoding is BIG and bytes(self.buf[element.offset : element.offset + 4]) != _BIG_ITEM:
                encoding = LITTLE
        self._stack.append(_Level(True, element.tag, end, undefined, explicit, encoding))

    def _run(self) -> Iterator[Event]:
        stack = self._stack
        outer = len(stack)
        for _ in range(self.limits.elements):
            level = stack[-1]
            if level.is_sequence:
                event = self._next_item(level)
                if event is None:
                    continue
                yield event
                if event[0] == SEQUENCE_END and len(stack) < outer:
                    return
                continue
            if level.explicit:
                yield from self._regular(level)
            event = self._next_element(level)
            if event is _DATA_SET_END:
                return
            if event is not None:
                yield event
        raise self._too_many()

    def _too_many(self) -> LimitExceeded:
        return LimitExceeded(f"more than {self.limits.elements} elements (limits.elements)", offset=self.pos)

    def _regular(self, level: _Level) -> Iterator[Event]:
        """The elements from here on that are as PS3.5 wants them, with short VRs: the bulk of every data set."""
        buf, end, little = self.buf, level.end, level.encoding.little
        unpack, vrs = level.encoding.explicit.unpack_from, SHORT_VRS
        last = end - 8
        pos = self.pos
        while pos <= last:
            group, number, raw_vr, length = unpack(buf, pos)
            vr = vrs.get(raw_vr)
            offset = pos + 8
            pos = offset + length
            if vr is None or pos > end or length & 1 or (group & 1 and number <= 0xFF):
                return
            self._left -= 1
            if self._left < 0:
                raise self._too_many()
            self.pos = pos
            self.little = little
            level.tag = tag = group << 16 | number
            yield ELEMENT, tag, vr, offset, length

    # --- inside a sequence: items and the delimiter

    def _next_item(self, level: _Level) -> Event | None:
        """ITEM_BEGIN or SEQUENCE_END; None after something that was passed over."""
        pos = self.pos
        if pos >= level.end:
            if level.undefined:
                if self._cut_off():
                    raise TruncatedError("the data set ends within a sequence", tag_path=self.path(), offset=pos)
                self.flags.add("missing-delimiter")
            return self._close(level, pos, SEQUENCE_END)
        if pos + 8 > level.end:
            raise self._no_room("an item's header", pos, level)
        group, element, length = level.encoding.implicit.unpack_from(self.buf, pos)
        tag = group << 16 | element
        if tag == ITEM:
            self.pos = pos + 8
            level.items += 1
            undefined = length == UNDEFINED
            if not undefined and length > level.end - self.pos:
                raise self._no_room(f"an item of {length} bytes", pos, level)
            end = level.end if undefined else self.pos + length
            explicit = level.explicit
            if not explicit and self._explicit and end > self.pos and looks_explicit(self.buf, self.pos, end):
                self.flags.add("explicit-in-un")
                explicit = True
            self._stack.append(_Level(False, 0, end, undefined, explicit, level.encoding))
            return ITEM_BEGIN, level.tag, "", self.pos, -1 if undefined else length
        if tag == SEQUENCE_DELIMITER:
            self.pos = pos + 8
            if length:
                self.flags.add("delimiter-length")
            if level.undefined:
                return self._close(level, self.pos, SEQUENCE_END)
            self.flags.add("stray-delimiter")
            return None
        if tag == ITEM_DELIMITER:
            if len(self._stack) > 2 and level.undefined and self._stack[-2].undefined:
                # The enclosing item ends here, and with it this sequence, whose own delimiter is missing.
                self.flags.add("missing-delimiter")
                return self._close(level, pos, SEQUENCE_END)
            self.flags.add("stray-delimiter")
            self.pos = pos + 8
            return None
        raise DataSetError(
            f"{path_of([tag])} stands where an item of the sequence must begin", tag_path=self.path(), offset=pos
        )

    def _close(self, level: _Level, pos: int, kind: int) -> Event:
        self._stack.pop()
        self.pos = pos
        return kind, level.tag, "", pos, 0

    def _cut_off(self) -> bool:
        """Whether the innermost level, of undefined length, has no end but that of the buffer."""
        return all(level.undefined for level in self._stack[1:])

    def _no_room(self, what: str, pos: int, level: _Level) -> DataSetError:
        if level.end >= self.end:
            return TruncatedError(f"{what} reaches beyond the end", tag_path=self.path(), offset=pos)
        return DataSetError(f"{what} reaches beyond its sequence or item", tag_path=self.path(), offset=pos)

    # --- inside a data set or item: elements

    def _next_element(self, level: _Level) -> Event | None:
        """The next event; None after something that was passed over."""
        buf, pos, end = self.buf, self.pos, level.end
        if pos + 8 > end:
            return self._at_end(level, pos)
        if level.explicit:
            group, number, raw_vr, length = level.encoding.explicit.unpack_from(buf, pos)
            tag = group << 16 | number
            vr = SHORT_VRS.get(raw_vr)
            offset = pos + 8
            if vr is None:
                if not tag and self._nul.from_here(pos, end):
                    self.flags.add("trailing-nul")
                    return self._at_end(level, end)
                tag, vr, offset, length = irregular_header(buf, pos, end, level.encoding, self.flags)
        else:
            group, number, length = level.encoding.implicit.unpack_from(buf, pos)
            tag = group << 16 | number
            offset = pos + 8
            if not tag and not length and self._nul.from_here(pos, end):
                self.flags.add("trailing-nul")
                return self._at_end(level, end)
            vr = "" if group == 0xFFFE else vr_of(tag)
            if length == UNDEFINED:
                length = -1
        if not vr:
            return self._delimiter(level, tag, pos, length)
        level.tag = tag
        if length > end - offset:
            raise self._no_room(f"a value of {length} bytes", pos, level)
        if length & 1 and length > 0:
            self.flags.add("odd-length")
        from_un = vr == "UN" and level.explicit
        if self._resolve_un:
            self.little = level.encoding.little or from_un
            if length >= 0 and (vr == "UN" or group & 1):
                vr = self._resolved(level, tag, vr, offset, length)
        if tag == TRAILING_PADDING:
            self.flags.add("trailing-padding")
        if length >= 0 and vr != "SQ":
            self.pos = offset + length
            return ELEMENT, tag, vr, offset, length
        return self._compound(Element(tag, vr, offset, length), level, from_un)

    def _resolved(self, level: _Level, tag: int, vr: str, offset: int, length: int) -> str:
        """The VR of an element written as UN or without one, if it is known and fits; keeps private creators."""
        number = tag & 0xFFFF
        known = vr_of(tag)
        if tag & 0x10000:
            if 0x10 <= number <= 0xFF:
                raw = bytes(self.buf[offset : offset + min(length, 64)])
                level.creators[tag >> 8 & 0xFFFF00 | number] = raw.decode("latin_1").strip(" \0")
            elif vr == "UN":
                creator = level.creators.get(tag >> 8)
                entry = private_entry(tag, creator) if creator else None
                known = entry.vr.split("/")[-1] if entry else "UN"
        if vr != "UN" or known == "UN":
            return vr
        width = _WIDTH.get(known, 1)
        if known == "SQ" and length:
            return "SQ" if self._holds_items(Element(tag, "UN", offset, length)) else "UN"
        return known if length % width == 0 and known.encode() in ANY_VR else "UN"

    def _holds_items(self, element: Element) -> bool:
        """Whether a value is a whole sequence. Whoever proves a data set takes UN for bytes, so it may be anything;
        what is UN in its items is proved when they are opened."""
        if element.length < 8 or bytes(self.buf[element.offset : element.offset + 4]) not in (_LITTLE_ITEM, _BIG_ITEM):
            return False
        level = self._stack[-1]
        deepest = self.limits.nesting - len(self._stack) // 2
        limits = replace(self.limits, nesting=max(0, deepest))
        inner = Walker(self.buf, little=level.encoding is LITTLE, explicit=level.explicit, end=self.end, limits=limits)
        try:
            for _ in inner.sequence(element):
                pass
        except DataSetError:
            return False
        return True

    def _compound(self, element: Element, level: _Level, from_un: bool) -> Event:
        """A sequence, or encapsulated pixel data."""
        tag, vr, offset, length = element
        self.pos = offset
        if length < 0 and (tag in PIXEL_TAGS or vr in ("OB", "OW")):
            for at, size in items(self.buf, offset, level.end, level.encoding, self.limits):
                if size < 0:
                    self.pos = at
            return FRAGMENTS, tag, vr, offset, self.pos - offset
        if vr not in ("SQ", "UN"):
            if level.explicit:
                raise DataSetError(f"{vr} of undefined length", tag_path=self.path(), offset=offset)
            self.flags.add("undefined-length")
        self._open(element, from_un=from_un)
        return SEQUENCE, tag, vr, offset, length

    def _delimiter(self, level: _Level, tag: int, pos: int, length: int) -> Event | None:
        """A tag of group FFFE among elements."""
        outermost = len(self._stack) == 1
        if tag == ITEM_DELIMITER and level.undefined:
            if length:
                self.flags.add("delimiter-length")
            return self._close_item(pos + 8)
        if tag in (ITEM, SEQUENCE_DELIMITER) and level.undefined:
            self.flags.add("missing-delimiter")
            return self._close_item(pos)
        if tag in (ITEM_DELIMITER, SEQUENCE_DELIMITER) and length == 0 and not outermost and pos + 8 == level.end:
            # A delimiter that is the last bytes of an item of defined length.
            self.flags.add("stray-delimiter")
            return self._close_item(pos + 8)
        if tag in (ITEM_DELIMITER, SEQUENCE_DELIMITER) and length == 0 and outermost:
            self.flags.add("stray-delimiter")
            self.pos = pos + 8
            return None
        raise DataSetError(f"{path_of([tag])} out of nesting", tag_path=self.path(), offset=pos)

    def _close_item(self, pos: int) -> Event:
        level = self._stack.pop()
        self.pos = pos
        return ITEM_END, level.tag, "", pos, 0

    def _at_end(self, level: _Level, pos: int) -> Event:
        """Less than a header is left of this data set or item."""
        if pos == level.end:
            if len(self._stack) == 1:
                self.pos = pos
                return _DATA_SET_END
            if level.undefined:
                if self._cut_off():
                    raise TruncatedError("the data set ends within an item", tag_path=self.path(), offset=pos)
                self.flags.add("missing-delimiter")
            return self._close_item(pos)
        if self._nul.from_here(pos, level.end):
            self.flags.add("trailing-nul")
            return self._at_end(level, level.end)
        raise self._no_room("an element's header", pos, level)


def walk(
    buf: Buffer,
    *,
    little: bool,
    explicit: bool,
    start: int = 0,
    end: int | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Iterator[Event]:
    """Events (kind, tag, vr, offset, length) of a whole data set; for flags and paths use a Walker.

    Raises TruncatedError, DataSetError or LimitExceeded with tag path and offset.
    """
    walker = Walker(buf, little=little, explicit=explicit, end=len(buf) if end is None else end, limits=limits)
    return walker.data_set(start)
