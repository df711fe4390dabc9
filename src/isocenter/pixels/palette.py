"""Palette Color Lookup Tables, plain and segmented (PS3.3 C.7.6.3.1.5, C.7.6.3.1.6, C.7.9.2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isocenter.errors import PixelError
from isocenter.pixels.header import Attributes
from isocenter.pixels.layout import Array
from isocenter.pixels.voi import read_descriptor, table_entries

_CHANNELS = ("Red", "Green", "Blue")
_DESCRIPTORS = (0x00281101, 0x00281102, 0x00281103)
_PLAIN = (0x00281201, 0x00281202, 0x00281203)
_SEGMENTED = (0x00281221, 0x00281222, 0x00281223)


@dataclass(frozen=True, slots=True, eq=False)
class Palette:
    """Colours for the stored values from `first` on: `colours` is uint8, shape (entries, 3).

    Values outside take the first or the last colour.
    """

    first: int
    colours: NDArray[np.uint8]

    def apply(self, values: Array) -> NDArray[np.uint8]:
        """RGB, shape (*values.shape, 3)."""
        index = np.clip(values.astype(np.int64) - self.first, 0, len(self.colours) - 1)
        return self.colours[index]


def has_palette(attributes: Attributes) -> bool:
    """Whether there is a palette to be read."""
    return _DESCRIPTORS[0] in attributes and (_PLAIN[0] in attributes or _SEGMENTED[0] in attributes)


def read_palette(attributes: Attributes, signed: bool) -> Palette:
    """The palette of a PALETTE COLOR image; PixelError if it is not complete. 16-bit entries keep their upper byte."""
    first = 0
    channels: list[NDArray[np.uint8]] = []
    for channel in range(3):
        count, first, bits = read_descriptor(attributes, _DESCRIPTORS[channel], signed)
        entries = _entries(attributes, channel, count, bits)
        # Writers of 8-bit palettes announce 16 bits now and then (C.7.6.3.1.6 allows 8 in 16).
        deep = bits > 8 and int(entries.max(initial=0)) > 255
        channels.append((entries >> 8 if deep else np.minimum(entries, 255)).astype(np.uint8))
    if len({len(channel) for channel in channels}) != 1:
        raise PixelError("the palette's three tables have different lengths", tag_path="(0028,1101)")
    return Palette(first, np.stack(channels, axis=-1))


def _entries(attributes: Attributes, channel: int, count: int, bits: int) -> NDArray[np.uint16]:
    plain, segmented = _PLAIN[channel], _SEGMENTED[channel]
    path = f"(0028,{plain & 0xFFFF:04X})"
    if plain in attributes:
        return table_entries(attributes.raw(plain), count, bits, attributes.little, path)
    if segmented in attributes:
        path = f"(0028,{segmented & 0xFFFF:04X})"
        if bits <= 8:
            data = attributes.raw(segmented)
            words = tuple(data) if attributes.little else tuple(_swapped(data))
        else:
            words = attributes.words(segmented)
        return expand(words, count, bits, path)
    raise PixelError(f"{_CHANNELS[channel]} Palette Color Lookup Table Data are missing", tag_path=path)


def _swapped(data: bytes) -> bytes:
    octets = bytearray(data)
    octets[0::2], octets[1::2] = data[1::2].ljust(len(octets[0::2]), b"\0"), data[0 : len(data) & ~1 : 2]
    return bytes(octets)


def expand(words: tuple[int, ...], count: int, bits: int, path: str = "") -> NDArray[np.uint16]:
    """A segmented table in full (C.7.9.2): discrete, linear and indirect segments of 8- or 16-bit words.

    PixelError unless exactly `count` entries come out (a padding word at the end is passed over).
    """
    out: list[int] = []
    at, end = 0, len(words)
    try:
        while at + 1 < end and len(out) < count:
            at = _segment(words, at, out, count, bits, path, indirect=True)
    except IndexError:
        raise PixelError("a palette segment is cut off", tag_path=path) from None
    if len(out) != count:
        raise PixelError(f"the palette segments give {len(out)} entries where {count} are announced", tag_path=path)
    return np.array(out, np.uint16)


def _segment(
    words: tuple[int, ...], at: int, out: list[int], count: int, bits: int, path: str, *, indirect: bool
) -> int:
    """Appends one segment's entries; the position after it."""
    opcode, length = words[at], words[at + 1]
    if not length:
        raise PixelError("a palette segment of no length", tag_path=path)
    if len(out) + length > count and opcode in (0, 1):
        raise PixelError(f"the palette segments give more than {count} entries", tag_path=path)
    if opcode == 0:
        if at + 2 + length > len(words):
            raise IndexError
        out.extend(words[at + 2 : at + 2 + length])
        return at + 2 + length
    if opcode == 1 and out:
        last, target = out[-1], words[at + 2]
        out.extend(round(last + (target - last) * step / length) for step in range(1, length + 1))
        return at + 3
    if opcode == 2 and indirect:
        # The offset is a byte offset from the first segment, least significant word first.
        width = 16 if bits > 8 else 8
        parts = words[at + 2 : at + (4 if bits > 8 else 6)]
        offset = sum(part << (width * i) for i, part in enumerate(parts))
        position = offset // 2 if bits > 8 else offset
        for _ in range(length):
            if len(out) >= count:
                break
            position = _segment(words, position, out, count, bits, path, indirect=False)
        return at + 2 + len(parts)
    raise PixelError(f"palette segment type {opcode} is not possible here", tag_path=path)
