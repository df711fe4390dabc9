"""A data set without its bulk data: what Composite Instance Retrieve Without Bulk Data leaves out (PS3.4 Table Z.1-1).

Everything else keeps its bytes, private attributes and sequences included, so that nothing changes but what is missing.
Only a Waveform Sequence is written anew, because the data are within its items.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final

from isocenter.std.transfer_syntaxes import TransferSyntax
from isocenter.wire.elements import ITEM, ITEM_DELIMITER, SEQUENCE_DELIMITER, UNDEFINED, Buffer
from isocenter.wire.limits import DEFAULT_LIMITS, Limits
from isocenter.wire.walk import ELEMENT, FRAGMENTS, ITEM_BEGIN, ITEM_END, SEQUENCE, SEQUENCE_END, walk

_WAVEFORM_SEQUENCE: Final = 0x54000100
_WAVEFORM_DATA: Final = 0x54001010
_BULK: Final = frozenset(
    {
        0x7FE00010,  # Pixel Data
        0x7FE00008,  # Float Pixel Data
        0x7FE00009,  # Double Float Pixel Data
        0x00287FE0,  # Pixel Data Provider URL
        0x56000020,  # Spectroscopy Data
        0x00420011,  # Encapsulated Document
    }
)
# Of repeating groups: Overlay Data (60xx), Curve Data and Audio Sample Data (50xx)
_REPEATING: Final = frozenset({0x60003000, 0x50003000, 0x5000200C})
_PIECE: Final = 1024 * 1024


def is_bulk(tag: int) -> bool:
    """Whether an attribute of the top level is left out."""
    return tag in _BULK or tag & 0xFF01FFFF in _REPEATING


def without_bulk(
    buf: Buffer, *, start: int, source: TransferSyntax, limits: Limits = DEFAULT_LIMITS
) -> Iterator[bytes]:
    """The data set at buf[start:] without bulk data, in its own encoding, in pieces; not for deflated ones.

    Raises what walk() raises.
    """
    order = "<" if source.little else ">"
    plain = Struct(f"{order}HHI")
    header = (
        Struct(f"{order}HH2sHI").pack(0x5400, 0x0100, b"SQ", 0, UNDEFINED)
        if source.explicit
        else plain.pack(0x5400, 0x0100, UNDEFINED)
    )
    depth = 0  # of sequences
    in_waveforms = False
    kept = done = start  # what lies between is to be copied; `done` is the end of the last element
    for kind, tag, _, offset, length in walk(
        buf, little=source.little, explicit=source.explicit, start=start, limits=limits
    ):
        inside = depth == 1 and in_waveforms  # among the elements of one of its items
        if kind == SEQUENCE:
            if depth == 0 and tag == _WAVEFORM_SEQUENCE:
                yield from _pieces(buf, kept, done)
                yield header
                in_waveforms = True
            depth += 1
        elif kind == SEQUENCE_END:
            depth -= 1
            if depth == 0 and in_waveforms:
                yield plain.pack(SEQUENCE_DELIMITER >> 16, SEQUENCE_DELIMITER & 0xFFFF, 0)
                in_waveforms, kept = False, offset
            if depth == 0 or (depth == 1 and in_waveforms):
                done = offset
        elif kind == ITEM_BEGIN and inside:
            yield plain.pack(ITEM >> 16, ITEM & 0xFFFF, UNDEFINED)
            kept = done = offset
        elif kind == ITEM_END and inside:
            yield from _pieces(buf, kept, done)
            yield plain.pack(ITEM_DELIMITER >> 16, ITEM_DELIMITER & 0xFFFF, 0)
        elif kind in (ELEMENT, FRAGMENTS) and (depth == 0 or inside):
            end = offset + length
            if (is_bulk(tag) and depth == 0) or (inside and tag == _WAVEFORM_DATA):
                yield from _pieces(buf, kept, done)
                kept = end
            done = end
    yield from _pieces(buf, kept, done)


def _pieces(buf: Buffer, start: int, end: int) -> Iterator[bytes]:
    for position in range(start, end, _PIECE):
        yield bytes(buf[position : min(position + _PIECE, end)])
