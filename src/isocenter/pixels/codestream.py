"""What a compressed frame says about itself, read from its first bytes without decoding anything.

A decoder allocates what the codestream announces, so the announcement is compared with Rows, Columns and Samples per
Pixel before a decoder sees the bytes; and precision, sign and colour transform are taken from here when the header of
the object says otherwise (PS3.5 section 8.2: the codestream controls the decompression).

Sources: ITU-T T.81 Annex B (JPEG), T.87 Annex C (JPEG-LS), T.800 Annex A (JPEG 2000), T.814 (HTJ2K),
T.801 Annex A (JPEG 2000 Part 2), ISO/IEC 18181-1 (JPEG XL).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from isocenter.errors import CodecMissing, PixelError


@dataclass(frozen=True, slots=True)
class Codestream:
    """The announcement. `precision` is in bits a sample; `signed` is None where the format cannot say.

    `ycc` tells whether the decoder has a YCbCr (or RCT/ICT) transform to undo: True, False, or None if the format
    leaves it to the container. `payload` is the offset of the codestream proper (JP2 boxes may stand before it), `body`
    that of what follows the header read here.
    `kind` is "dct", "lossless", "jpegls", "j2k", "htj2k" or "jxl".
    """

    kind: str
    rows: int
    columns: int
    samples: int
    precision: int
    signed: bool | None = None
    ycc: bool | None = None
    payload: int = 0
    tiles: int = 1
    subsampled: bool = False
    body: int = 0


def read_codestream(data: bytes | memoryview) -> Codestream:
    """The announcement of the JPEG-family codestream in `data`; PixelError if there is none or it is cut off."""
    head = bytes(data[:12])
    try:
        if head[:2] == b"\xff\xd8":
            return _jpeg(data)
        if head[:4] == b"\xff\x4f\xff\x51":
            return _j2k(data, 0)
        if head[:12] == b"\x00\x00\x00\x0cjP  \r\n\x87\n":
            return _j2k(data, _jp2_codestream(data))
        if head[:2] == b"\xff\x0a" or head[:12] == b"\x00\x00\x00\x0cJXL \r\n\x87\n":
            return _jxl(data)
    except (struct.error, IndexError):
        raise PixelError("the codestream ends inside its own header") from None
    raise PixelError("no JPEG, JPEG-LS, JPEG 2000 or JPEG XL codestream begins here")


# --- JPEG and JPEG-LS -----------------------------------------------------------------------------------------------

_SOF_DCT = {0xC0, 0xC1, 0xC2}
_SOF_LOSSLESS = {0xC3}
_SOF_OTHER = {0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_SOF_JPEGLS = 0xF7
_ALONE = {0x01, *range(0xD0, 0xD9)}


def _jpeg(data: bytes | memoryview) -> Codestream:
    at, end = 2, len(data)
    adobe: int | None = None
    jfif = False
    while at < end:
        if data[at] != 0xFF:
            raise PixelError("no JPEG marker where one must be", offset=at)
        while data[at] == 0xFF:
            at += 1
        marker = data[at]
        at += 1
        if marker in _ALONE:
            continue
        if marker in (0xD9, 0xDA):
            break
        (length,) = struct.unpack_from(">H", data, at)
        if length < 2 or at + length > end:
            raise PixelError("a JPEG marker segment does not fit the frame", offset=at)
        if marker == 0xEE and length >= 14 and bytes(data[at + 2 : at + 7]) == b"Adobe":
            adobe = data[at + 13]
        elif marker == 0xE0 and bytes(data[at + 2 : at + 7]) == b"JFIF\0":
            jfif = True
        elif marker in _SOF_DCT or marker in _SOF_LOSSLESS or marker == _SOF_JPEGLS:
            return _frame_header(data, at, length, marker, adobe, jfif)
        elif marker in _SOF_OTHER:
            raise PixelError(f"JPEG process SOF{marker - 0xC0} is not one DICOM knows", offset=at)
        at += length
    raise PixelError("the JPEG codestream has no frame header (SOF)")


def _frame_header(
    data: bytes | memoryview, at: int, length: int, marker: int, adobe: int | None, jfif: bool
) -> Codestream:
    precision, rows, columns, samples = struct.unpack_from(">BHHB", data, at + 2)
    if length < 8 + 3 * samples:
        raise PixelError("a JPEG frame header lists fewer components than it announces", offset=at)
    ids = [data[at + 8 + 3 * i] for i in range(samples)]
    factors = [data[at + 9 + 3 * i] for i in range(samples)]
    subsampled = len(set(factors)) > 1
    if marker == _SOF_JPEGLS:
        return Codestream("jpegls", rows, columns, samples, precision, body=at + length)
    if marker in _SOF_LOSSLESS:
        return Codestream("lossless", rows, columns, samples, precision, subsampled=subsampled, body=at + length)
    ycc: bool | None = None
    if samples == 3:
        # The order in which decoders trust the signs: Adobe's marker, letters as component numbers, JFIF (always
        # YCbCr), and subsampling, which nobody does to RGB. None: only the DICOM header knows.
        if adobe is not None:
            ycc = adobe == 1
        elif bytes(ids) == b"RGB":
            ycc = False
        elif jfif or subsampled:
            ycc = True
    return Codestream("dct", rows, columns, samples, precision, ycc=ycc, subsampled=subsampled, body=at + length)


# --- JPEG 2000 and HTJ2K --------------------------------------------------------------------------------------------


def _jp2_codestream(data: bytes | memoryview) -> int:
    """Offset of the contiguous codestream box's content. DICOM wants the codestream bare; some writers do not."""
    at, end = 0, len(data)
    while at + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, at + 8)
            head = 16
        if kind == b"jp2c":
            return at + head
        if size < head:
            break
        at += size
    raise PixelError("a JP2 file without codestream box")


def _ceil(a: int, b: int) -> int:
    return -(-a // b)


def _j2k(data: bytes | memoryview, start: int) -> Codestream:
    at = start + 2
    if bytes(data[start : start + 4]) != b"\xff\x4f\xff\x51":
        raise PixelError("a JPEG 2000 codestream begins with SOC and SIZ", offset=start)
    x, y, xo, yo, tx, ty, txo, tyo, samples = struct.unpack_from(">8IH", data, at + 6)
    (length,) = struct.unpack_from(">H", data, at + 2)
    if length != 38 + 3 * samples or not samples:
        raise PixelError("the SIZ marker segment has the wrong length", offset=at)
    parts = [struct.unpack_from(">BBB", data, at + 40 + 3 * i) for i in range(samples)]
    if not (tx and ty and all(dx and dy for _, dx, dy in parts)) or x <= xo or y <= yo:
        raise PixelError("the SIZ marker segment describes no image", offset=at)
    if txo > xo or tyo > yo or txo + tx <= xo or tyo + ty <= yo:
        raise PixelError("the SIZ marker segment has no tile at its image", offset=at)
    ssiz, dx, dy = parts[0]
    mct, high_throughput, body = _main_header(data, at + 2 + length)
    return Codestream(
        "htj2k" if high_throughput else "j2k",
        rows=_ceil(y, dy) - _ceil(yo, dy),
        columns=_ceil(x, dx) - _ceil(xo, dx),
        samples=samples,
        precision=max(s & 0x7F for s, _, _ in parts) + 1,
        signed=bool(ssiz & 0x80),
        ycc=mct,
        payload=start,
        tiles=_ceil(x - txo, tx) * _ceil(y - tyo, ty),
        subsampled=len({(dx, dy) for _, dx, dy in parts}) > 1,
        body=body,
    )


def announces_signed(head: bytes) -> bool:
    """Whether the JPEG 2000 codestream that begins so has signed samples (Ssiz of its first component, T.800 A.5.1).

    A look at 43 bytes, and at the boxes before them where there are some; False for anything else.
    """
    try:
        start = _jp2_codestream(head) if head[4:8] == b"jP  " else 0
        return head[start : start + 4] == b"\xff\x4f\xff\x51" and bool(head[start + 42] & 0x80)
    except (PixelError, struct.error, IndexError):
        return False


# T.801 Annex A: each changes what the samples are (transforms across components, decompositions, wavelets, offsets,
# non-linearities, quantization by precinct). OpenJPEG skips them and gives other samples without a word.
_PART_2 = frozenset({*range(0xFF70, 0xFF7A), 0xFF5A, 0xFF5B})


def _main_header(data: bytes | memoryview, at: int) -> tuple[bool, bool, int]:
    """Component transform from COD, HT from CAP, and the offset of the first tile-part."""
    mct: bool | None = None
    high_throughput = False
    end = len(data)
    while at + 4 <= end:
        marker, length = struct.unpack_from(">HH", data, at)
        if marker == 0xFF90:
            break
        if marker == 0xFF52:
            if data[at + 8] > 1:
                raise CodecMissing("the codestream has a component transform of JPEG 2000 Part 2", offset=at)
            mct = data[at + 8] != 0
        elif marker == 0xFF50:
            high_throughput = True
        elif marker in _PART_2:
            raise CodecMissing(f"the codestream has an extension of JPEG 2000 Part 2 (marker {marker:04X})", offset=at)
        if marker < 0xFF00 or length < 2:
            raise PixelError("no JPEG 2000 marker where one must be", offset=at)
        at += 2 + length
    if mct is None:
        raise PixelError("the JPEG 2000 main header has no COD marker segment", offset=min(at, end))
    return mct, high_throughput, at


# --- whether all of it is there ------------------------------------------------------------------------------------


def is_complete(data: bytes, stream: Codestream) -> bool:
    """Whether nothing is cut off, as far as markers tell: some decoders fill what is missing without a word.

    JPEG and JPEG-LS: an EOI stands after the frame header. JPEG 2000: the tile-parts lie inside the data and leave out
    no tile. True for formats whose decoders find out by themselves.
    """
    if stream.kind in ("dct", "lossless", "jpegls"):
        return data.rfind(b"\xff\xd9", stream.body) >= 0
    if stream.kind not in ("j2k", "htj2k"):
        return True
    at, end = stream.body, len(data)
    seen: set[int] = set()
    while at + 12 <= end:
        marker, _, tile, length = struct.unpack_from(">HHHI", data, at)
        if marker != 0xFF90:
            break
        if length == 0:  # the last tile-part may leave its length open; then it ends with EOC
            if data.rfind(b"\xff\xd9", at) < 0:
                return False
            length = end - at
        if length < 14 or at + length > end:
            return False
        seen.add(tile)
        at += length
    return len(seen) == stream.tiles


# --- JPEG XL --------------------------------------------------------------------------------------------------------


class _Bits:
    """Least significant bit first, as ISO/IEC 18181-1 section 9 reads headers."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "little")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        if count > self._left:
            raise IndexError
        result = self._value & ((1 << count) - 1)
        self._value >>= count
        self._left -= count
        return result

    def u32(self, *choices: tuple[int, int]) -> int:
        """U32(): two bits choose (base, bits)."""
        base, count = choices[self.take(2)]
        return base + self.take(count)


_JXL_SIZE = ((1, 9), (1, 13), (1, 18), (1, 30))
_JXL_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
_JXL_HEADER = 256  # more than SizeHeader and ImageMetadata up to the bit depth can take


def _jxl(data: bytes | memoryview) -> Codestream:
    start = 0 if bytes(data[:2]) == b"\xff\x0a" else _jxl_codestream(data)
    if bytes(data[start : start + 2]) != b"\xff\x0a":
        raise PixelError("no JPEG XL codestream signature", offset=start)
    bits = _Bits(bytes(data[start + 2 : start + 2 + _JXL_HEADER]))
    small = bits.take(1)
    rows = 8 * (bits.take(5) + 1) if small else bits.u32(*_JXL_SIZE)
    ratio = bits.take(3)
    if ratio:
        a, b = _JXL_RATIOS[ratio]
        columns = rows * a // b
    else:
        columns = 8 * (bits.take(5) + 1) if small else bits.u32(*_JXL_SIZE)
    precision, samples = _jxl_metadata(bits)
    return Codestream("jxl", rows, columns, samples, precision, ycc=False)


def _jxl_metadata(bits: _Bits) -> tuple[int, int]:
    """Bit depth and number of colour channels of ImageMetadata (samples 0: not told without reading further)."""
    if bits.take(1):  # all_default
        return 8, 3
    if bits.take(1):  # extra_fields: orientation, intrinsic size, preview, animation
        bits.take(3)
        if bits.take(1):
            return 0, 0
        if bits.take(1) or bits.take(1):
            raise PixelError("a JPEG XL frame with preview or animation is not one image")
    if bits.take(1):
        raise PixelError("floating-point JPEG XL has no place in DICOM")
    return bits.u32((8, 0), (10, 0), (12, 0), (1, 6)), 0


def _jxl_codestream(data: bytes | memoryview) -> int:
    at, end = 0, len(data)
    while at + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, at + 8)
            head = 16
        if kind == b"jxlc":
            return at + head
        if kind == b"jxlp":
            return at + head + 4
        if size < head:
            break
        at += size
    raise PixelError("a JPEG XL container without codestream box")
