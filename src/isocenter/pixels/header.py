"""Values of a data set's elements and sequence items, read from the bytes when somebody asks.

This is the little that pixels need of a data set: numbers, code strings, lookup table data and items, without building
an object for anything else.
"""

from __future__ import annotations

import copy
import struct
from array import array
from collections.abc import Iterator, Mapping

from isocenter.errors import DataSetError, PixelError
from isocenter.std.dictionary import vr_of
from isocenter.wire.charset import decode
from isocenter.wire.elements import BIG, LITTLE, Buffer, Element, path_of
from isocenter.wire.limits import Limits
from isocenter.wire.scan import scan
from isocenter.wire.walk import ITEM_BEGIN, ITEM_END, Walker

_INTEGERS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "UV": "Q", "SV": "q", "AT": "H"}
_FLOATS = {"FL": "f", "FD": "d", "OF": "f", "OD": "d"}
_CHARACTER_SET = 0x00080005
_TEXT_LIMIT = 1 << 16
_DATA_LIMIT = 1 << 22
_ITEM_TAG = 0xFFFEE000


class Attributes:
    """The elements of one data set or item, over the buffer they came from."""

    def __init__(
        self, buf: Buffer, elements: Mapping[int, Element], *, little: bool, explicit: bool, limits: Limits
    ) -> None:
        self._buf, self._elements, self._limits = buf, elements, limits
        self.little, self.explicit = little, explicit
        self._items: dict[int, array[int]] = {}  # where items begin and end, in turn
        self._inherited: tuple[str, ...] = ()

    def over(self, buf: Buffer) -> Attributes:
        """The same elements in `buf`, which has the same bytes; where items lie is known to both from now on."""
        other = copy.copy(self)
        other._buf = buf
        return other

    @property
    def known_bytes(self) -> int:
        """About what the memory of where elements and items lie takes."""
        return 256 * len(self._elements) + sum(8 * len(spans) for spans in list(self._items.values()))

    def __contains__(self, tag: int) -> bool:
        """Whether the element is there with a value."""
        element = self._elements.get(tag)
        return element is not None and element.length != 0

    @property
    def character_set(self) -> tuple[str, ...]:
        """The terms of Specific Character Set; an item without it has those of the data set it is in."""
        return tuple(self.texts(_CHARACTER_SET)) or self._inherited

    def vr(self, tag: int) -> str:
        """The VR the element was read with, "" if it is absent; the dictionary's for UN (PS3.5 section 6.2.2)."""
        element = self._elements.get(tag)
        if element is None:
            return ""
        return vr_of(tag) if element.vr == "UN" else element.vr

    def raw(self, tag: int, limit: int = _DATA_LIMIT) -> bytes:
        """The value's bytes, b"" if absent; PixelError if they are more than `limit` or not all there."""
        element = self._elements.get(tag)
        if element is None or element.length <= 0:
            return b""
        if element.length > limit:
            raise PixelError(f"a value of {element.length} bytes is too long here", tag_path=path_of([tag]))
        value = bytes(self._buf[element.offset : element.offset + element.length])
        if len(value) != element.length:
            raise PixelError("the value is cut off", tag_path=path_of([tag]))
        return value

    def part(self, tag: int, start: int, length: int) -> bytes:
        """Some bytes of a value; PixelError unless they are all there."""
        element = self._elements.get(tag)
        if element is None or start < 0 or start + length > element.length:
            raise PixelError("the value is too short", tag_path=path_of([tag]))
        value = bytes(self._buf[element.offset + start : element.offset + start + length])
        if len(value) != length:
            raise PixelError("the value is cut off", tag_path=path_of([tag]))
        return value

    def length(self, tag: int) -> int:
        """Bytes of a value; 0 if the element is absent, or a sequence of undefined length."""
        element = self._elements.get(tag)
        return max(0, element.length) if element is not None else 0

    def words(self, tag: int) -> tuple[int, ...]:
        """The value as unsigned 16-bit words, whatever its VR (lookup table data and descriptors)."""
        data = self.raw(tag)
        return struct.unpack(f"{'<' if self.little else '>'}{len(data) // 2}H", data[: len(data) & ~1])

    def text(self, tag: int) -> str:
        """The first value of a code string or the like, without padding; "" if absent."""
        return self._strings(tag)[0]

    def prose(self, tag: int, vr: str = "ST") -> str:
        """The text of a VR that Specific Character Set applies to, by the terms of this data set or item."""
        return decode(self.raw(tag, _TEXT_LIMIT), self.character_set, vr).rstrip(" \0")

    def texts(self, tag: int) -> list[str]:
        """All values of a code string or the like, without padding; [] if absent."""
        return self._strings(tag) if tag in self else []

    def integers(self, tag: int) -> tuple[int, ...]:
        """All values as whole numbers, from a binary VR or IS; () if absent, PixelError if they are none."""
        return tuple(int(number) for number in self.numbers(tag))

    def numbers(self, tag: int) -> tuple[float, ...]:
        """All values as numbers, from a binary VR, IS or DS; () if absent, PixelError if they are none."""
        vr = self.vr(tag)
        if not vr:
            return ()
        code = _INTEGERS.get(vr) or _FLOATS.get(vr)
        if code is None and vr not in ("IS", "DS", "LO", "SH", "CS"):
            # Implicit VR: US or SS elements that the dictionary cannot decide; the caller knows the sign.
            code = "H"
        try:
            if code is not None:
                data = self.raw(tag, _TEXT_LIMIT)
                return struct.unpack(f"{'<' if self.little else '>'}{len(data) // struct.calcsize(code)}{code}", data)
            return tuple(float(part) for part in self._strings(tag) if part)
        except (struct.error, ValueError):
            raise PixelError("the value is not a number", tag_path=path_of([tag])) from None

    def integer(self, tag: int, default: int | None = None) -> int:
        """The first value; `default` if there is none, PixelError without a default."""
        values = self.integers(tag)
        if values:
            return values[0]
        if default is None:
            raise PixelError("a value is needed", tag_path=path_of([tag]))
        return default

    def _strings(self, tag: int) -> list[str]:
        return [part.strip(" \0") for part in self.raw(tag, _TEXT_LIMIT).decode("latin-1").split("\\")]

    def count(self, tag: int) -> int:
        """Number of items of a sequence, 0 if absent."""
        return len(self._item_spans(tag)) // 2

    def item(self, tag: int, index: int = 0) -> Attributes | None:
        """One item of a sequence, None if there is none; PixelError if it cannot be read."""
        spans = self._item_spans(tag)
        if not 0 <= 2 * index < len(spans):
            return None
        start, end = spans[2 * index : 2 * index + 2]
        # What is in UN is implicit little endian, whatever is around it (PS3.5 section 6.2.2)
        unknown = self._elements[tag].vr == "UN"
        little, explicit = self.little or unknown, self.explicit and not unknown
        try:
            found = scan(
                self._buf,
                little=little,
                explicit=explicit,
                start=start,
                end=end,
                limits=self._limits,
                whole=False,
            )
        except DataSetError as error:
            raise PixelError(error.message, tag_path=path_of([tag, f"[{index}]"])) from None
        inner = Attributes(self._buf, found.elements, little=little, explicit=explicit, limits=self._limits)
        inner._inherited = self.character_set
        return inner

    def _item_spans(self, tag: int) -> array[int]:
        spans = self._items.get(tag)
        if spans is None:
            element = self._elements.get(tag)
            try:
                found = () if element is None or not element.length else self._spans(element)
                spans = array("Q", (place for span in found for place in span))
            except DataSetError as error:
                raise PixelError(error.message, tag_path=path_of([tag])) from None
            self._items[tag] = spans
        return spans

    def _spans(self, element: Element) -> Iterator[tuple[int, int]]:
        """Where the items' elements begin and end: from item lengths alone where all are defined, else by walking."""
        if element.length > 0:
            spans = self._defined(element)
            if spans is not None:
                yield from spans
                return
        walker = Walker(
            self._buf,
            little=self.little,
            explicit=self.explicit,
            end=len(self._buf) if element.length < 0 else element.offset + element.length,
            limits=self._limits,
        )
        depth, start, defined = 0, 0, True
        for kind, _, _, offset, length in walker.sequence(element):
            if kind == ITEM_BEGIN:
                if not depth:
                    start, defined = offset, length >= 0
                depth += 1
            elif kind == ITEM_END:
                depth -= 1
                if not depth:
                    yield start, offset if defined else offset - 8

    def _defined(self, element: Element) -> list[tuple[int, int]] | None:
        header = (LITTLE if self.little or element.vr == "UN" else BIG).implicit
        pos, end = element.offset, element.offset + element.length
        spans: list[tuple[int, int]] = []
        while pos + 8 <= end:
            group, number, length = header.unpack_from(self._buf, pos)
            pos += 8
            if group << 16 | number != _ITEM_TAG or length > end - pos:
                return None
            spans.append((pos, pos + length))
            pos += length
        return spans
