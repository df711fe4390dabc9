"""Where a frame's bytes are, found by number without reading the other frames.

Native pixel data (PS3.5 section 8.1): a multiplication, down to the bit. Encapsulated (section A.4): the Extended
Offset Table if there is one, else the Basic Offset Table, each entry checked against the item it points at; else one
walk over the fragment headers, kept. Who asks for one frame only need not wait for the walk to end, where all fragments
before it begin as frames do. Nothing is allocated for frames that are only claimed.
"""

from __future__ import annotations

import copy
from array import array
from collections.abc import Iterable
from dataclasses import replace
from struct import Struct
from typing import Protocol, Self

import numpy as np

from isocenter.errors import DataSetError, NoSuchFrame, PixelError, TruncatedError
from isocenter.pixels.layout import Layout
from isocenter.wire.elements import BIG, LITTLE, Buffer
from isocenter.wire.fragments import items, places
from isocenter.wire.limits import Limits

_BOT_ENTRY = Struct("<I")
_EOT_ENTRY = Struct("<Q")
# How codestreams begin: JPEG and JPEG-LS, JPEG 2000, JPEG XL, and the last two in their boxes.
_SIGNATURES = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\xff\x0a", b"\0\0\0\x0cJXL ", b"\0\0\0\x0cjP  ")


_RLE = Struct("<II")  # number of segments, and the offset of the first, which is 64 (PS3.5 section G.5)

WORTH = 1000
"""Fragments from which on a `Memory` keeps what a walk found: over fewer one walks in the time that reading takes."""


def begins_codestream(head: bytes) -> bool:
    """Whether a fragment with these first bytes begins a JPEG, JPEG-LS, JPEG 2000 or JPEG XL codestream."""
    return head.startswith(_SIGNATURES)


def check_number(number: int, frames: int) -> None:
    """NoSuchFrame unless `number` is in 1..`frames`."""
    if not 1 <= number <= frames:
        raise NoSuchFrame(f"there are {frames} frames", frame=number)


class _Frames:
    """What all have in common: they can be found in another view of the same bytes, with all that is known by now.

    `table` says, for people, by what frames are found.
    """

    _buf: Buffer
    table = ""

    def over(self, buf: Buffer) -> Self:
        """The same frames in `buf`, which has the same bytes; it may be empty, for one that is only to be kept."""
        other = copy.copy(self)
        other._buf = buf
        return other

    @property
    def known_bytes(self) -> int:
        """What the memory of where frames lie takes beside the object itself."""
        return 0


class Fragments:
    """The fragments of each frame in 16 bytes a fragment: what a walk has found is kept for as long as it is of use.

    `ends` is for each frame the number of fragments up to its last one.
    """

    def __init__(self, offsets: array[int], lengths: array[int], ends: array[int]) -> None:
        self._offsets, self._lengths, self._ends = offsets, lengths, ends

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> list[tuple[int, int]]:
        begin, end = self._ends[index - 1] if index else 0, self._ends[index]
        return list(zip(self._offsets[begin:end], self._lengths[begin:end], strict=True))

    @property
    def arrays(self) -> tuple[array[int], array[int], array[int]]:
        """Offsets, lengths and ends, to be kept elsewhere; codes Q, I and I."""
        return self._offsets, self._lengths, self._ends

    @property
    def known_bytes(self) -> int:
        return 12 * len(self._offsets) + 4 * len(self._ends)


class Memory(Protocol):
    """What was found once about the fragments of one object."""

    def find(self) -> Fragments | None:
        """What was kept; it is believed as far as an item header stands before each fragment."""
        ...

    def keep(self, found: Fragments) -> None: ...


class NativeFrames(_Frames):
    """Frames laid one after the other in `length` bytes from `offset` on."""

    def __init__(self, buf: Buffer, offset: int, length: int, layout: Layout, frames: int) -> None:
        self._buf, self._offset, self._length = buf, offset, length
        self._layout, self._frames = layout, frames
        self._swapped = layout.big_endian and layout.words and layout.bits_allocated <= 8

    def place(self, number: int) -> tuple[int, int, int]:
        """Offset and length of the bytes that hold frame `number`, and the bit of the first one it begins at."""
        check_number(number, self._frames)
        first, last = (number - 1) * self._layout.native_bits, number * self._layout.native_bits
        return self._offset + first // 8, -(-last // 8) - first // 8, first % 8

    def raw(self, number: int) -> tuple[bytes, int]:
        """The bytes that hold frame `number` and the bit of the first byte it begins at (0 unless Bits Allocated is 1).

        PixelError with the frame number if the data end before the frame does.
        """
        at, length, bit = self.place(number)
        start, end = at - self._offset, at - self._offset + length
        if end > self._length:
            raise PixelError(f"pixel data have {self._length} bytes, {end} are needed", frame=number)
        if not self._swapped:
            return bytes(self._buf[self._offset + start : self._offset + end]), bit
        # 8-bit and 1-bit samples in big endian OW: the bytes of each 16-bit word have changed places.
        even = start & ~1
        words = bytearray(self._buf[self._offset + even : self._offset + min(end + (end & 1), self._length)])
        words += b"\0" * (len(words) & 1)
        words[0::2], words[1::2] = words[1::2], words[0::2]
        return bytes(words[start - even : end - even]), bit

    def whole(self, number: int) -> tuple[int, int] | None:
        """Offset and length of the bytes that are `joined` as they lie there; None if there are none."""
        at, length, bit = self.place(number)
        layout = self._layout
        if self._swapped or self._shifted(bit) or (layout.big_endian and layout.bits_allocated > 8):
            return None
        return (at, length) if at - self._offset + length <= self._length else None

    def _shifted(self, bit: int) -> bool:
        """Whether the frame has to be moved to begin, or filled up to end, on a byte boundary."""
        return bool(bit) or (self._layout.bits_allocated == 1 and self._layout.native_bits % 8 != 0)

    def joined(self, number: int) -> bytes:
        """Frame `number` in native little endian form, beginning on a byte boundary."""
        data, bit = self.raw(number)
        layout = self._layout
        if self._shifted(bit):
            value = int.from_bytes(data, "little") >> bit & ((1 << layout.native_bits) - 1)
            return value.to_bytes(-(-layout.native_bits // 8), "little")
        size = layout.bits_allocated // 8
        if layout.big_endian and size > 1:
            octets = bytearray(len(data))
            for i in range(size):
                octets[i::size] = data[size - 1 - i :: size]
            return bytes(octets)
        return data


class BareCodestream(_Frames):
    """One codestream as the value of Pixel Data itself, without items: wrong, and written by some."""

    def __init__(self, buf: Buffer, offset: int, length: int) -> None:
        self._buf, self._offset, self._length = buf, offset, length

    def fragments(self, number: int) -> list[tuple[int, int]]:
        """The one there is."""
        check_number(number, 1)
        return [(self._offset, self._length)]

    def head(self, size: int) -> bytes:
        """At most `size` bytes that the codestream begins with."""
        return bytes(self._buf[self._offset : self._offset + min(size, self._length)])

    def whole(self, number: int) -> tuple[int, int]:
        """The only one there is."""
        check_number(number, 1)
        return self._offset, self._length

    def joined(self, number: int) -> bytes:
        check_number(number, 1)
        return bytes(self._buf[self._offset : self._offset + self._length])


class EncapsulatedFrames(_Frames):
    """Frames in fragments. `offset` is that of the Basic Offset Table's item, `end` bounds the search.

    `extended` tells where the values of Extended Offset Table and Extended Offset Table Lengths (C.7.6.3.1.8) are, as
    (offset, length), length 0 if absent. Tables are read in place, entry by entry; no view of the buffer is kept, so
    that a memory map can be closed while this object lives. `flags` collects what was found wrong and worked around.
    `memory` is asked before all fragments are walked over, and told what was found.
    """

    def __init__(
        self,
        buf: Buffer,
        offset: int,
        end: int,
        frames: int,
        limits: Limits,
        *,
        extended: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0)),
        little: bool = True,
    ) -> None:
        self._buf, self._end, self._frames, self._limits = buf, end, frames, limits
        self._encoding = LITTLE if little else BIG
        self._scanned: Fragments | None = None
        self._told = False  # whether `_scanned` is from `memory`
        self._first: tuple[array[int], array[int]] | None = None  # what `_begin` has found, each a frame
        self.memory: Memory | None = None
        self._cut: str = ""
        self.flags: set[str] = set()
        try:
            table, length = next(items(buf, offset, end, self._encoding, limits))
        except (DataSetError, StopIteration):
            table, length = end, -1
        if length < 0:
            raise PixelError("encapsulated pixel data have no Basic Offset Table item", tag_path="(7FE0,0010)")
        self._start = table + length
        (offsets_at, offsets_size), (lengths_at, lengths_size) = extended
        # Where the tables begin in the buffer; -1 is none
        self._table = self._lengths = -1
        self._entry = _BOT_ENTRY
        self.table = "no offset table"
        if offsets_size == 8 * frames and offsets_at + offsets_size <= end:
            self._table, self._entry = offsets_at, _EOT_ENTRY
            self.table = "Extended Offset Table"
            if lengths_size == offsets_size and lengths_at + lengths_size <= end:
                self._lengths = lengths_at
        elif length == 4 * frames:
            self._table = table
            self.table = "Basic Offset Table"
        elif length:
            self.flags.add("offset-table-ignored")

    def head(self, size: int) -> bytes:
        """At most `size` bytes that the first frame begins with, without a look at any table."""
        data = b""
        try:
            for offset, length in items(self._buf, self._start, self._end, self._encoding, self._limits):
                if length < 0:
                    break
                data += bytes(self._buf[offset : offset + min(length, size - len(data))])
                if len(data) == size:
                    break
        except DataSetError:
            pass  # what there is will do; frames are looked for later, and told of
        return data

    def fragments(self, number: int) -> list[tuple[int, int]]:
        """Offset and length of each fragment of frame `number`; PixelError with the number if it is not all there."""
        check_number(number, self._frames)
        if self._table >= 0 and self._scanned is None:
            found = self._from_table(number)
            if found is not None:
                return found
            self.flags.add("offset-table-ignored")
        if self._scanned is None:
            self._scanned = self.memory.find() if self.memory is not None else None
            self._told = self._scanned is not None
        if self._scanned is None:
            if self._first is None and (self.memory is None or number < WORTH):
                self._first = self._begin(number)
            offsets, lengths = self._first or ((), ())
            if number <= len(offsets):
                return [(offsets[number - 1], lengths[number - 1])]
            self._scanned = self._walk()
        if self._told and not self._is_true(self._scanned, number):
            self._scanned, self._told = self._walk(), False
        if number > len(self._scanned):
            raise PixelError(self._cut or f"there are fragments for {len(self._scanned)} frames only", frame=number)
        return self._scanned[number - 1]

    def _is_true(self, told: Fragments, number: int) -> bool:
        """Whether an item header stands before each fragment that is said to be the frame's."""
        unpack = self._encoding.implicit.unpack_from
        return number <= len(told) and all(
            self._start + 8 <= offset <= offset + length <= self._end
            and unpack(self._buf, offset - 8) == (0xFFFE, 0xE000, length)
            for offset, length in told[number - 1]
        )

    def _begin(self, number: int) -> tuple[array[int], array[int]]:
        """Where the fragments of frames 1 to `number` lie, walked no further than to the next one; none if not sure.

        They are where each, the next one included, begins as the first does: then, however many there are, `_scan`
        would find the same. Whoever asks for later frames, too, is better off with all.
        """
        none = array("Q"), array("I")
        if self._frames == 1 or number >= min(self._frames, self._limits.elements - 2):
            return none
        limits = replace(self._limits, elements=number + 2)
        offsets, lengths, _ = places(self._buf, self._start, self._end, self._encoding, limits)
        if len(offsets) <= number:
            return none
        signature = self._signature(offsets[0], lengths[0])
        if not signature or min(lengths) < len(signature):
            return none
        # In arrays: thousands of slices would take longer than the walk.
        wanted, octets = np.frombuffer(signature, np.uint8), np.frombuffer(self._buf, np.uint8)
        heads = octets[np.frombuffer(offsets, np.uint64)[:, None] + np.arange(len(signature), dtype=np.uint64)]
        if (heads != wanted).any():
            return none
        return offsets[:number], lengths[:number]

    def _walk(self) -> Fragments:
        found = self._scan()
        if self.memory is not None and not self._cut:
            self.memory.keep(found)
        return found

    @property
    def known_bytes(self) -> int:
        return 12 * len((self._first or ((),))[0]) if self._scanned is None else self._scanned.known_bytes

    def whole(self, number: int) -> tuple[int, int] | None:
        """Offset and length of the codestream where it is one fragment and nothing says that its last byte is padding;
        else None."""
        found = self.fragments(number)
        return found[0] if len(found) == 1 and self._lengths < 0 and found[0][1] else None

    def joined(self, number: int) -> bytes:
        """The frame's codestream: its fragments one after the other."""
        found = self.fragments(number)
        data = b"".join(bytes(self._buf[offset : offset + length]) for offset, length in found)
        if self._lengths >= 0 and "offset-table-ignored" not in self.flags:
            (length,) = _EOT_ENTRY.unpack_from(self._buf, self._lengths + 8 * (number - 1))
            # The table's length leaves out the padding byte; any other disagreement is not ours to settle.
            if length == len(data) - 1:
                data = data[:length]
        if not data:
            raise PixelError("the frame has no bytes", frame=number)
        return data

    def _from_table(self, number: int) -> list[tuple[int, int]] | None:
        """The fragments between this entry and the next; None if the table cannot be true."""
        size = self._entry.size
        (first,) = self._entry.unpack_from(self._buf, self._table + size * (number - 1))
        stop = self._end
        if number < self._frames:
            (following,) = self._entry.unpack_from(self._buf, self._table + size * number)
            stop = self._start + following
        pos = self._start + first
        if (number == 1 and first) or not pos < stop <= self._end:
            return None
        found: list[tuple[int, int]] = []
        try:
            for offset, length in items(self._buf, pos, self._end, self._encoding, self._limits):
                if length < 0:
                    return found if number == self._frames and found else None
                found.append((offset, length))
                if offset + length >= stop:
                    return found if offset + length == stop else None
        except TruncatedError:
            # The table is right and the data are not all there: the scan says so with the frame number.
            return None
        except DataSetError:
            return None
        return None

    def _scan(self) -> Fragments:
        """All fragments, grouped by frame. What cannot be read ends the list and is remembered in `_cut`."""
        offsets, lengths, error = places(self._buf, self._start, self._end, self._encoding, self._limits)
        if error is not None:
            self._cut = error.message
            self.flags.add("fragments-cut-off")
        count = len(offsets)
        ends: Iterable[int] = range(1, count + 1)
        if self._frames == 1:
            # Without a delimiter the fragments may still be all there: the decoder finds out.
            ends = [count] if count else []
        elif count != self._frames and count:
            signature = self._signature(offsets[0], lengths[0])
            # A frame of RLE Lossless is one fragment (PS3.5 section A.4.2): of too few, none is part of another.
            if signature and (signature in _SIGNATURES or count > self._frames):
                begins = [at for at in range(count) if self._begins(offsets[at], lengths[at], signature)]
                ends = [*begins[1:], count]
            elif count > self._frames:
                self._cut = f"{count} fragments for {self._frames} frames, and no table tells which is whose"
                ends = []
        return Fragments(offsets, lengths, array("I", ends))

    def _signature(self, offset: int, length: int) -> bytes:
        """What the first fragment, and so that of each frame, begins with; b"" if it could be anything."""
        for signature in _SIGNATURES:
            if self._begins(offset, length, signature):
                return signature
        head = bytes(self._buf[offset : offset + min(length, _RLE.size)])
        if len(head) == _RLE.size:
            segments, first = _RLE.unpack(head)
            if 1 <= segments <= 15 and first == 64:
                return head
        return b""

    def _begins(self, offset: int, length: int, signature: bytes) -> bool:
        return length >= len(signature) and bytes(self._buf[offset : offset + len(signature)]) == signature
