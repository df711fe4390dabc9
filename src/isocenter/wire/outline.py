"""A header whose structure was proved before, recognised when the next one comes.

The images of a series come one after the other and differ in a few values. Which bytes decide where elements begin and
end is known after the first: the headers of the elements, and sequences as a whole. When those bytes are the same, so
is everything a scan would find out; they are compared at once, as one integer, in a twentieth of a scan's time. Pixel
data and what follows them are not in it: whoever uses an outline has to prove those.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from isocenter.wire.elements import Buffer, Element

_TAG_AND_VR = 6


class Outline:
    """The structure of the header before an element, such as Pixel Data.

    `length`: its bytes; `elements`: what it consists of, with offsets from its beginning.
    """

    __slots__ = ("_following", "_proved", "_structure", "elements", "length")

    def __init__(
        self, data: Buffer, start: int, end: int, elements: Iterable[Element], fixed: frozenset[int] = frozenset()
    ) -> None:
        """The header data[start:end] with all its top-level `elements`, found by a scan that had no flags; the values
        of `fixed` count as structure."""
        self.length = end - start
        self.elements: Mapping[int, Element] = {
            element.tag: element._replace(offset=element.offset - start) for element in elements
        }
        self._following = bytes(data[end : end + _TAG_AND_VR])
        self._proved = int.from_bytes(data[start:end], "little")
        free = self.values(
            tag
            for tag, element in self.elements.items()
            if element.vr != "SQ" and element.length >= 0 and tag not in fixed
        )
        self._structure = free ^ ((1 << 8 * self.length) - 1)

    def values(self, tags: Iterable[int]) -> int:
        """Where the values of elements stand: ones in an integer of the header's length, its first byte lowest."""
        mask = bytearray(self.length)
        for tag in tags:
            element = self.elements.get(tag)
            if element is not None and element.length > 0:
                mask[element.offset : element.offset + element.length] = b"\xff" * element.length
        return int.from_bytes(mask, "little")

    def difference(self, data: Buffer, start: int) -> int | None:
        """In which values the header at `start` differs from the one this outline was made of: the bytes of one XOR
        those of the other, as an integer like `values`. None when its structure differs."""
        end = start + self.length
        if data[end : end + _TAG_AND_VR] != self._following:
            return None
        difference = int.from_bytes(data[start:end], "little") ^ self._proved
        return None if difference & self._structure else difference
