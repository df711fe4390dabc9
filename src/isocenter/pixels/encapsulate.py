"""Encapsulated Pixel Data written (PS3.5 section A.4): one fragment a frame, and a table of where each begins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from struct import Struct

import numpy as np

from isocenter.errors import NotAcceptable, PixelError
from isocenter.wire.elements import ITEM, SEQUENCE_DELIMITER, UNDEFINED
from isocenter.wire.splice import explicit_element

_LONG = Struct("<HH2sHI")
_PLAIN = Struct("<HHI")
_OFFSETS, _LENGTHS = 0x7FE00001, 0x7FE00002


def encapsulated(sizes: Sequence[int], frames: Iterable[Iterable[bytes]], *, extended: bool = False) -> Iterator[bytes]:
    """The elements of group 7FE0 in Explicit VR Little Endian, in pieces. `sizes` are bytes of the `frames` to come,
    each in pieces of its own.

    With a Basic Offset Table; with an extended one (PS3.3 C.7.6.3.1.8) where 32 bits do not suffice or it is asked for:
    then the basic one is empty. Raises NotAcceptable for a frame that no fragment holds, PixelError if the frames are
    not as long as was said.
    """
    if any(size + size % 2 >= UNDEFINED for size in sizes):
        raise NotAcceptable("a frame of over 4,294,967,294 bytes does not fit a fragment")
    padded = np.array(sizes, np.uint64)
    padded += padded % 2
    offsets = np.zeros(len(padded), np.uint64)
    np.cumsum(padded[:-1] + 8, out=offsets[1:])
    if extended or int(offsets[-1]) > 0xFFFFFFFF:
        yield explicit_element(_OFFSETS, "OV", offsets.astype("<u8").tobytes())
        yield explicit_element(_LENGTHS, "OV", np.array(sizes, "<u8").tobytes())
        table = b""
    else:
        table = offsets.astype("<u4").tobytes()
    yield _LONG.pack(0x7FE0, 0x0010, b"OB", 0, UNDEFINED) + _item(len(table)) + table
    for number, (size, pieces) in enumerate(zip(sizes, frames, strict=True), 1):
        yield _item(size + size % 2)
        left = size
        for piece in pieces:
            left -= len(piece)
            yield piece
        if left:
            raise PixelError(f"{size} bytes were announced, {size - left} came", frame=number)
        if size % 2:
            yield b"\0"
    yield _PLAIN.pack(SEQUENCE_DELIMITER >> 16, SEQUENCE_DELIMITER & 0xFFFF, 0)


def _item(length: int) -> bytes:
    return _PLAIN.pack(ITEM >> 16, ITEM & 0xFFFF, length)
