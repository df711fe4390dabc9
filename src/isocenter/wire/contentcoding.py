"""Content codings gzip and zstd (RFC 9110 section 8.4.1, RFC 1952, RFC 8878), made of pieces that are compressed once.

Both formats are made to be joined: a run of deflate blocks that ends on a byte boundary may be followed by any other,
and a zstd stream is any number of frames. So a piece compressed once can stand in many answers, among others. What
gzip wants of the whole, the checksum, is computed from those of its pieces.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from typing import Final, NamedTuple

GZIP: Final = "gzip"
ZSTD: Final = "zstd"

_HEAD: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # no name, no time, unknown system
_LAST_BLOCK: Final = b"\x03\x00"  # a final deflate block with nothing in it
_LEVEL: Final = 3
_POLYNOMIAL: Final = 0xEDB88320

_CODING = re.compile(
    r"[ \t]*([!#$%&'*+\-.^_`|~0-9A-Za-z]+|\*)[ \t]*(?:;[ \t]*[qQ]=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)[ \t]*)?"
)

Compress = Callable[[bytes], bytes]


class Piece(NamedTuple):
    """Compressed text that can follow any other of its coding; `crc` and `length` are those of the text."""

    data: bytes
    crc: int
    length: int


def gzip_piece(text: bytes) -> Piece:
    """`text` as deflate blocks that end on a byte boundary."""
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    data = compressor.compress(text) + compressor.flush(zlib.Z_FULL_FLUSH)
    return Piece(data, zlib.crc32(text), len(text))


class GzipJoiner:
    """One gzip member of many pieces: `head`, `add` each, `end`."""

    def __init__(self) -> None:
        self._crc = 0
        self._length = 0

    def head(self) -> bytes:
        return _HEAD

    def add(self, piece: Piece) -> bytes:
        self._crc = _combined(self._crc, piece.crc, piece.length)
        self._length += piece.length
        return piece.data

    def end(self) -> bytes:
        return _LAST_BLOCK + self._crc.to_bytes(4, "little") + (self._length & 0xFFFFFFFF).to_bytes(4, "little")


def _product(a: int, b: int) -> int:
    """a times b modulo the polynomial of CRC-32, bits reflected."""
    result = 0
    for bit in range(31, -1, -1):
        if a >> bit & 1:
            result ^= b
        b = b >> 1 ^ (_POLYNOMIAL if b & 1 else 0)
    return result


def _combined(first: int, second: int, length: int) -> int:
    """The checksum of two texts one after the other; `length` is that of the second."""
    shift, power = 1 << 31, 1 << 23  # x to the 0th, x to the 8th: one byte
    while length:
        if length & 1:
            shift = _product(shift, power)
        power = _product(power, power)
        length >>= 1
    return _product(shift, first) ^ second


def chosen_coding(accept_encoding: str | None) -> str:
    """ "zstd", "gzip" or "": what a client likes best of what there is (RFC 9110 section 12.5.3)."""
    if not accept_encoding:
        return ""
    weights: dict[str, float] = {}
    for word in accept_encoding.split(","):
        match = _CODING.fullmatch(word)
        if match is not None:
            weights.setdefault(match[1].lower(), float(match[2] or "1"))
    anything = weights.get("*", 0.0)
    plain = weights.get("identity", 0.0)
    weight, coding = max((weights.get(name, anything), name) for name in (GZIP, ZSTD))
    return coding if weight > 0 and weight >= plain else ""
