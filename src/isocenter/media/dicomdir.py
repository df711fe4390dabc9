"""The DICOMDIR of a file-set (PS3.10 section 8, PS3.3 Annex F): bytes of its objects' records in, bytes of a file out.

Where a record lies is known before anything is written, as the size of each is; so one pass lays them out and another
writes them. Offsets count from the file's first byte (F.3.2.2). Records are in the order of the tree, each before those
below it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from struct import Struct

from isocenter.wire.part10 import file_meta
from isocenter.wire.splice import explicit_element

MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"
_EXPLICIT = "1.2.840.10008.1.2.1"

_LINK = Struct("<HH2sHI")  # an element of VR UL
_ITEM = Struct("<HHI")
_IN_USE = explicit_element(0x00041410, "US", b"\xff\xff")
_HEAD = _ITEM.size + 2 * _LINK.size + len(_IN_USE)  # of a record: what is before the elements it is made with
_SEQUENCE = Struct("<HH2sHI")
_LONGEST = 0xFFFFFFFE


@dataclass(slots=True)
class Node:
    """A directory record: its elements but for offsets and use, and the records below it."""

    elements: bytes
    below: list[Node] = field(default_factory=list)
    offset: int = 0

    @property
    def size(self) -> int:
        return _HEAD + len(self.elements)


def dicomdir(file_set_id: str, instance: str, root: list[Node]) -> bytes:
    """The file, with SOP Instance UID `instance`. Raises ValueError for over 4 GB, which offsets cannot reach."""
    head = file_meta(MEDIA_STORAGE_DIRECTORY, instance, _EXPLICIT)
    named = explicit_element(0x00041130, "CS", file_set_id.encode("ascii"))
    consistent = explicit_element(0x00041212, "US", b"\0\0")
    begin = len(head) + len(named) + 2 * _LINK.size + len(consistent) + _SEQUENCE.size
    order = _laid_out(root, begin)
    end = order[-1].offset + order[-1].size if order else begin
    if end > _LONGEST:
        raise ValueError("a directory of over 4 GB")
    first, last = (root[0].offset, root[-1].offset) if root else (0, 0)
    pieces = [
        head,
        named,
        _LINK.pack(4, 0x1200, b"UL", 4, first),
        _LINK.pack(4, 0x1202, b"UL", 4, last),
        consistent,
        _SEQUENCE.pack(4, 0x1220, b"SQ", 0, end - begin),
    ]
    after = _next_of(root)
    for node in order:
        pieces += (
            _ITEM.pack(0xFFFE, 0xE000, node.size - _ITEM.size),
            _LINK.pack(4, 0x1400, b"UL", 4, after.get(id(node), 0)),
            _IN_USE,
            _LINK.pack(4, 0x1420, b"UL", 4, node.below[0].offset if node.below else 0),
            node.elements,
        )
    return b"".join(pieces)


def _laid_out(root: list[Node], begin: int) -> list[Node]:
    """All records in the order in which they are written, each with its offset."""
    order: list[Node] = []
    open_nodes = list(reversed(root))
    while open_nodes:
        node = open_nodes.pop()
        node.offset = begin
        begin += node.size
        order.append(node)
        open_nodes += reversed(node.below)
    return order


def _next_of(root: list[Node]) -> dict[int, int]:
    """The offset of the record after each of the same directory entity."""
    after: dict[int, int] = {}
    entities = [root]
    while entities:
        entity = entities.pop()
        for one, following in pairwise(entity):
            after[id(one)] = following.offset
        entities += [node.below for node in entity if node.below]
    return after
