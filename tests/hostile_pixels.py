"""Header combinations and codestreams that lie, over every codec: what an attacker or a broken writer may send.

Rows are (what it is, Pixel Data or its value, header, transfer syntax). The tests that use the table ask for a typed
error or a picture, soon and in bounded memory: of the decoders (tests/unit), of the server and of `isocenter render`
(tests/skins).
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import imagecodecs
import numpy as np

from isocenter.pixels.codecs import CODECS, encode
from isocenter.pixels.layout import Layout
from pixel_objects import (
    BIG_ENDIAN,
    DEFLATED_FRAME,
    ENCAPSULATED,
    EXPLICIT,
    HTJ2K,
    J2K,
    JPEG,
    JPEG_LOSSLESS,
    JPEG_LS,
    JXL,
    RLE,
    element,
    encapsulated,
    gradient,
)

SMALL = gradient(8, 8, 1, 8)
LAYOUT = Layout(8, 8)
NATIVE = bytes(64)


# Which encoder's codestream stands for a syntax that has none of its own here
STAND_INS = {"111": JXL}


def stream(uid: str) -> bytes:
    """An honest 8 by 8 frame in transfer syntax `uid`."""
    if CODECS[uid].encoder is not None:
        return encode(uid, SMALL, LAYOUT)
    other = STAND_INS.get(uid.rpartition(".")[2])
    return encode(other, SMALL, LAYOUT) if other else bytes(imagecodecs.jpeg8_encode(SMALL, level=90))


def patched(data: bytes, marker: bytes, offset: int, value: bytes) -> bytes:
    at = data.index(marker) + offset
    return data[:at] + value + data[at + len(value) :]


BOMB_ROWS = {"rows": 65535, "columns": 65535}
COLOUR = {"rows": 8, "columns": 8, "samples": 3, "photometric": "RGB"}
BOMB_FRAMES = {"rows": 8, "columns": 8, "frames": 1_000_000_000}

# (what it is, pixel data or its value, header, transfer syntax)
Row = tuple[str, bytes, dict[str, Any], str]

HEADERS: list[Row] = [
    ("65,535 squared, 64 bytes", NATIVE, BOMB_ROWS, EXPLICIT),
    ("65,535 squared of 32 bits", NATIVE, {**BOMB_ROWS, "allocated": 32}, EXPLICIT),
    ("65,535 by 32,767, under the limit", NATIVE, {"rows": 65535, "columns": 32767}, EXPLICIT),
    ("65,535 squared of one bit", NATIVE, {**BOMB_ROWS, "allocated": 1}, EXPLICIT),
    ("65,535 squared RGB", NATIVE, {**BOMB_ROWS, "samples": 3, "photometric": "RGB", "planar": 1}, EXPLICIT),
    ("negative frames", NATIVE, {"rows": 8, "columns": 8, "frames": -5}, EXPLICIT),
    ("frames that are no number", NATIVE, {"rows": 8, "columns": 8, "frames": "1A"}, EXPLICIT),
    ("no rows", NATIVE, {"rows": 0}, EXPLICIT),
    ("no columns", NATIVE, {"columns": 0}, EXPLICIT),
    ("no samples", NATIVE, {"rows": 8, "columns": 8, "samples": 0}, EXPLICIT),
    ("65,535 samples", NATIVE, {"rows": 8, "columns": 8, "samples": 65535}, EXPLICIT),
    ("RGB of one sample", NATIVE, {"rows": 8, "columns": 8, "photometric": "RGB"}, EXPLICIT),
    ("nothing allocated", NATIVE, {"rows": 8, "columns": 8, "allocated": 0, "stored": 0}, EXPLICIT),
    ("three bits allocated", NATIVE, {"rows": 8, "columns": 8, "allocated": 3}, EXPLICIT),
    ("nine bits allocated", NATIVE, {"rows": 8, "columns": 8, "allocated": 9}, EXPLICIT),
    ("128 bits allocated", NATIVE, {"rows": 1, "columns": 1, "allocated": 128}, EXPLICIT),
    ("65,528 bits allocated", NATIVE, {"rows": 1, "columns": 1, "allocated": 65528}, EXPLICIT),
    ("nothing stored", NATIVE, {"rows": 8, "columns": 8, "stored": 0}, EXPLICIT),
    ("more stored than allocated", NATIVE, {"rows": 8, "columns": 8, "stored": 12}, EXPLICIT),
    ("twice the bits there are", NATIVE, {"rows": 8, "columns": 8, "allocated": 16}, EXPLICIT),
    ("half a frame", NATIVE[:32], {"rows": 8, "columns": 8}, EXPLICIT),
    ("one byte", b"\0\0", {"rows": 8, "columns": 8}, EXPLICIT),
    ("no bytes", b"", {"rows": 8, "columns": 8}, EXPLICIT),
    ("no bytes, big endian", b"", {"rows": 8, "columns": 8, "little": False}, BIG_ENDIAN),
    (
        "4:2:2 of odd columns",
        NATIVE[:20],
        {"rows": 2, "columns": 5, "samples": 3, "photometric": "YBR_FULL_422"},
        EXPLICIT,
    ),
    ("short float pixel data", element(0x7FE00008, "OF", NATIVE), {"rows": 8, "columns": 8, "allocated": 32}, EXPLICIT),
    ("float of 16 bits", element(0x7FE00008, "OF", NATIVE), {"rows": 4, "columns": 8, "allocated": 16}, EXPLICIT),
    ("no fragments", encapsulated(b""), {"rows": 8, "columns": 8}, J2K),
    ("no offset table", b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff", {"rows": 8, "columns": 8}, J2K),
    ("a table of 3 bytes", encapsulated(b"\1\2\3", b"\xff\xd8"), {"rows": 8, "columns": 8}, JPEG),
    ("fragments under native", encapsulated(b"", NATIVE[:60]), {"rows": 8, "columns": 8}, EXPLICIT),
    ("native under compressed", NATIVE[:60], {"rows": 8, "columns": 8}, J2K),
    ("unknown transfer syntax", encapsulated(b"", NATIVE), {"rows": 8, "columns": 8}, "1.2.3.4"),
    ("video", encapsulated(b"", NATIVE), {"rows": 8, "columns": 8}, "1.2.840.10008.1.2.4.102"),
    ("an empty fragment", encapsulated(b"", b""), {"rows": 8, "columns": 8}, JPEG),
]


def codec_rows() -> list[Row]:
    """For every encapsulated syntax: bombs by header, bombs by codestream, noise, and a fragment in two."""
    rows: list[Row] = []
    noise = np.random.default_rng(3).bytes(4000)
    for uid, codec in CODECS.items():
        if not codec.needs and uid not in (ENCAPSULATED, DEFLATED_FRAME):
            continue
        name, honest = codec.name, stream(uid)
        one = encapsulated(b"", honest)
        rows += [
            (f"{name}: 65,535 squared in the header", one, BOMB_ROWS, uid),
            (f"{name}: Rows and Columns of another size", one, {"rows": 9, "columns": 8}, uid),
            (
                f"{name}: three samples in the header",
                one,
                {"rows": 8, "columns": 8, "samples": 3, "photometric": "RGB"},
                uid,
            ),
            (f"{name}: noise", encapsulated(b"", noise), {"rows": 64, "columns": 64}, uid),
            (f"{name}: noise after an honest start", encapsulated(b"", honest[:20] + noise), BOMB_ROWS, uid),
            (f"{name}: half of it", encapsulated(b"", honest[: len(honest) // 2]), {"rows": 8, "columns": 8}, uid),
        ]
    large = {"rows": 65535, "columns": 32767}
    for uid in (JPEG, JPEG_LOSSLESS):
        sof = b"\xff\xc0" if uid == JPEG else b"\xff\xc3"
        lie = patched(stream(uid), sof, 5, struct.pack(">HH", 65535, 32767))
        rows.append((f"{uid}: codestream and header lie alike", encapsulated(b"", lie), large, uid))
    for uid in (J2K, HTJ2K):
        honest = stream(uid)
        siz = patched(
            patched(honest, b"\xff\x51", 6, struct.pack(">II", 32767, 65535)),
            b"\xff\x51",
            22,
            struct.pack(">II", 32767, 65535),
        )
        rows.append((f"{uid}: codestream and header lie alike", encapsulated(b"", siz), large, uid))
        tiles = patched(honest, b"\xff\x51", 22, struct.pack(">II", 1, 1))
        rows.append((f"{uid}: 64 tiles of one pixel", encapsulated(b"", tiles), {"rows": 8, "columns": 8}, uid))
        none = patched(honest, b"\xff\x51", 22, struct.pack(">II", 0, 0))
        rows.append((f"{uid}: tiles of no size", encapsulated(b"", none), {"rows": 8, "columns": 8}, uid))
    ls = patched(stream(JPEG_LS), b"\xff\xf7", 5, struct.pack(">HH", 65535, 32767))
    rows.append(("JPEG-LS: codestream and header lie alike", encapsulated(b"", ls), large, JPEG_LS))
    rle = struct.pack("<16I", 15, *[64] * 15) + b"\0" * 64
    rows.append(("RLE: 15 segments", encapsulated(b"", rle), {"rows": 8, "columns": 8}, RLE))
    rows.append(
        (
            "RLE: offsets outside",
            encapsulated(b"", struct.pack("<16I", 1, 1 << 31, *[0] * 14) + NATIVE),
            {"rows": 8, "columns": 8},
            RLE,
        )
    )
    zeros = zlib.compressobj(9, wbits=-15)
    bomb = zeros.compress(bytes(64 << 20)) + zeros.flush()
    rows.append(
        (
            "deflate: 64 MiB where 64 bytes are wanted",
            encapsulated(b"", bomb),
            {"rows": 8, "columns": 9},
            DEFLATED_FRAME,
        )
    )
    return rows


def jxl_header(rows: int, columns: int) -> bytes:
    """A bare JPEG XL codestream's SizeHeader, in 30 bits each, and default metadata (ISO/IEC 18181-1 section D.2)."""
    bits = 0b110 | (rows - 1) << 3 | 0 << 33 | 0b11 << 36 | (columns - 1) << 38 | 1 << 68
    return b"\xff\x0a" + bits.to_bytes(9, "little")


def codestream_rows() -> list[Row]:
    """What codestreams can say that no decoder should believe."""
    eight, large = {"rows": 8, "columns": 8}, {"rows": 65535, "columns": 32767}
    jpeg, ls, lossless, j2k, ht, jxl = (stream(uid) for uid in (JPEG, JPEG_LS, JPEG_LOSSLESS, J2K, HTJ2K, JXL))
    scan = jpeg[jpeg.index(b"\xff\xda") : jpeg.rindex(b"\xff\xd9")]
    boxes = struct.pack(">I4s", 12, b"JXL ") + b"\r\n\x87\n"
    jp2 = struct.pack(">I4s", 12, b"jP  ") + b"\r\n\x87\n"
    made: list[tuple[str, bytes, dict[str, Any], str]] = [
        ("JPEG: no rows, told later (DNL)", patched(jpeg, b"\xff\xc0", 5, b"\0\0"), eight, JPEG),
        ("JPEG: 255 components", patched(jpeg, b"\xff\xc0", 9, b"\xff"), eight, JPEG),
        ("JPEG: precision 255", patched(jpeg, b"\xff\xc0", 4, b"\xff"), eight, JPEG),
        ("JPEG: arithmetic coding", patched(jpeg, b"\xff\xc0", 0, b"\xff\xc9"), eight, JPEG),
        ("JPEG: hierarchical", patched(jpeg, b"\xff\xc0", 0, b"\xff\xc5"), eight, JPEG),
        ("JPEG: 5,000 scans", jpeg[: jpeg.index(b"\xff\xda")] + scan * 5000 + b"\xff\xd9", eight, JPEG),
        ("JPEG: a segment of no length", patched(jpeg, b"\xff\xc4", 2, b"\0\0"), eight, JPEG),
        ("JPEG: a segment beyond the end", patched(jpeg, b"\xff\xdb", 2, b"\xff\xff"), eight, JPEG),
        ("JPEG: no tables", jpeg[:2] + jpeg[jpeg.index(b"\xff\xc0") :].replace(b"\xff\xc4", b"\xff\xfe"), eight, JPEG),
        ("JPEG: nothing but fill bytes", b"\xff\xd8" + b"\xff" * 4000, eight, JPEG),
        ("JPEG lossless: predictor 255", patched(lossless, b"\xff\xda", 7, b"\xff"), eight, JPEG_LOSSLESS),
        ("JPEG-LS: 255 components", patched(ls, b"\xff\xf7", 9, b"\xff"), eight, JPEG_LS),
        ("JPEG-LS: precision 1", patched(ls, b"\xff\xf7", 4, b"\1"), eight, JPEG_LS),
        ("JPEG-LS: NEAR 255", patched(ls, b"\xff\xda", 7, b"\xff"), eight, JPEG_LS),
        ("J2K: 16,384 components", patched(j2k, b"\xff\x51", 38, b"\x40\0"), eight, J2K),
        ("J2K: subsampled by 0", patched(j2k, b"\xff\x51", 41, b"\0\0"), eight, J2K),
        ("J2K: precision 128", patched(j2k, b"\xff\x51", 40, b"\x7f"), eight, J2K),
        ("J2K: 255 decompositions", patched(j2k, b"\xff\x52", 9, b"\xff"), eight, J2K),
        ("J2K: code blocks of 2^17", patched(j2k, b"\xff\x52", 10, b"\x0f\x0f"), eight, J2K),
        ("J2K: an image that begins after its end", patched(j2k, b"\xff\x51", 14, b"\xff" * 8), eight, J2K),
        ("J2K: 65,535 layers", patched(j2k, b"\xff\x52", 6, b"\xff\xff"), eight, J2K),
        ("J2K: no end of boxes", jp2 + struct.pack(">I4s", 8, b"free") * 400, eight, J2K),
        ("J2K: a box of no size", jp2 + struct.pack(">I4s", 0, b"free") + bytes(64), eight, J2K),
        ("HTJ2K: 255 decompositions", patched(ht, b"\xff\x52", 9, b"\xff"), eight, HTJ2K),
        ("HTJ2K: no capabilities", ht.replace(b"\xff\x50", b"\xff\x64", 1), eight, HTJ2K),
        ("JPEG XL: codestream and header lie alike", jxl_header(65535, 32767) + bytes(64), large, JXL),
        ("JPEG XL: 2^30 squared", jxl_header(1 << 30, 1 << 30) + bytes(64), eight, JXL),
        ("JPEG XL: nothing after the size", jxl_header(8, 8), eight, JXL),
        ("JPEG XL: boxes without a codestream", boxes + struct.pack(">I4s", 8, b"free") * 400, eight, JXL),
        ("JPEG XL: a box beyond the end", boxes + struct.pack(">I4s", 1 << 31, b"jxlc") + jxl[:20], eight, JXL),
        ("RLE: no segments", struct.pack("<16I", *[0] * 16) + NATIVE, eight, RLE),
        ("RLE: a segment that only skips", struct.pack("<16I", 1, 64, *[0] * 14) + b"\x80" * 200, eight, RLE),
        ("deflate: a stream of stored nothing", b"\0\0\0\xff\xff" * 800, eight, DEFLATED_FRAME),
    ]
    return [(what, encapsulated(b"", data), header, uid) for what, data, header, uid in made]


TABLE = HEADERS + codec_rows() + codestream_rows()
CERTAIN = {"RLE: no segments", "RLE: a segment that only skips", "deflate: a stream of stored nothing"}
# Lies that change nothing in what is decoded: layers may be empty, and code blocks say themselves that they are HT
HARMLESS = {"J2K: 65,535 layers", "HTJ2K: no capabilities"}
