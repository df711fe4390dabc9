"""Some attributes of a data set's top level said anew; every other byte stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct

from isocenter.errors import DataSetError
from isocenter.wire.elements import SEQUENCE_DELIMITER, SHORT_VRS, Element
from isocenter.wire.limits import DEFAULT_LIMITS, Limits
from isocenter.wire.scan import scan

_LONG = Struct("<HH2sHI")
_SHORT = Struct("<HH2sH")
_PLAIN = Struct("<HHI")
_GROUP_LENGTH = Struct("<I")
_SEQUENCE_END = _PLAIN.pack(SEQUENCE_DELIMITER >> 16, SEQUENCE_DELIMITER & 0xFFFF, 0)


class Head:
    """A data set, or the beginning of one up to some element, in Explicit VR Little Endian.

    Reading goes by tag; `spliced` gives the bytes with other values. Raises DataSetError for what cannot be read.
    """

    def __init__(self, data: bytes, limits: Limits = DEFAULT_LIMITS) -> None:
        self._data = data
        found = scan(data, little=True, explicit=True, start=0, wanted=None, limits=limits, whole=False)
        self._elements = found.elements
        self._spans: dict[int, tuple[int, int]] = {}
        begins = [self._begin(element) for element in found.elements.values()]
        for tag, begin, end in zip(found.elements, begins, [*begins[1:], found.end], strict=True):
            self._spans[tag] = (begin, end)
        self._end = found.end

    def _begin(self, element: Element) -> int:
        """Where its header begins: 8 bytes before the value, or 12 with a length of 32 bits."""
        plain = _PLAIN.pack(element.tag >> 16, element.tag & 0xFFFF, 0)[:4]
        return element.offset - (8 if self._data[element.offset - 8 : element.offset - 4] == plain else 12)

    def value(self, tag: int) -> bytes:
        """The value's bytes with their padding, b"" if the element is absent. Of a sequence: its items."""
        element = self._elements.get(tag)
        if element is None:
            return b""
        if element.length >= 0:
            return self._data[element.offset : element.offset + element.length]
        return self._data[element.offset : self._spans[tag][1]].removesuffix(_SEQUENCE_END)

    def spliced(self, edits: Mapping[int, tuple[str, bytes]]) -> bytes:
        """The bytes with these elements, each VR and value, in place of those there are; new ones where they belong.

        Values of odd length are padded: with a null byte in UI and OB, else with a space. A Group Length (gggg,0000)
        that stands there keeps being true.
        """
        pieces: dict[int, bytes] = {tag: explicit_element(tag, vr, value) for tag, (vr, value) in edits.items()}
        for tag in [tag for tag in self._elements if not tag & 0xFFFF and tag not in edits]:
            grown = sum(len(piece) - self._size(one) for one, piece in pieces.items() if one >> 16 == tag >> 16)
            if grown and len(old := self.value(tag)) == 4:
                length = max(0, _GROUP_LENGTH.unpack(old)[0] + grown)
                pieces[tag] = explicit_element(tag, "UL", _GROUP_LENGTH.pack(length))
        result: list[bytes] = []
        waiting = sorted(pieces)
        position = 0
        for tag, (begin, end) in self._spans.items():
            while waiting and waiting[0] < tag:
                result += (self._data[position:begin], pieces[waiting.pop(0)])
                position = begin
            if waiting and waiting[0] == tag:
                result += (self._data[position:begin], pieces[waiting.pop(0)])
                position = end
        result.append(self._data[position : self._end])
        result += (pieces[tag] for tag in waiting)
        return b"".join(result)

    def _size(self, tag: int) -> int:
        begin, end = self._spans.get(tag, (0, 0))
        return end - begin


def explicit_element(tag: int, vr: str, value: bytes) -> bytes:
    """One element in Explicit VR Little Endian, its value padded to even length. DataSetError if it is too long."""
    if len(value) % 2:
        value += b"\0" if vr in ("UI", "OB", "UN") else b" "
    code = vr.encode("ascii")
    if code not in SHORT_VRS:
        return _LONG.pack(tag >> 16, tag & 0xFFFF, code, 0, len(value)) + value
    if len(value) > 0xFFFF:
        raise DataSetError(f"a value of {len(value)} bytes is too long for {vr}")
    return _SHORT.pack(tag >> 16, tag & 0xFFFF, code, len(value)) + value


def sequence_item(*elements: bytes) -> bytes:
    """An item of defined length with these elements."""
    content = b"".join(elements)
    return _PLAIN.pack(0xFFFE, 0xE000, len(content)) + content
