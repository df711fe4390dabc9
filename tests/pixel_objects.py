"""Data sets with pixels for tests, built byte by byte so that every lie can be told."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

from isocenter.pixels.image import Image
from isocenter.wire.limits import DEFAULT_LIMITS, Limits

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
RLE = "1.2.840.10008.1.2.5"
JPEG = "1.2.840.10008.1.2.4.50"
JPEG12 = "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.70"
JPEG_LS = "1.2.840.10008.1.2.4.80"
J2K = "1.2.840.10008.1.2.4.90"
JXL = "1.2.840.10008.1.2.4.110"
HTJ2K = "1.2.840.10008.1.2.4.201"
DEFLATED_FRAME = "1.2.840.10008.1.2.8.1"
ENCAPSULATED = "1.2.840.10008.1.2.1.98"

_LONG = {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "UN", "UT"}
_FORMATS = {"US": "H", "SS": "h", "UL": "I", "FL": "f", "FD": "d"}


def element(tag: int, vr: str, value: object, *, little: bool = True, explicit: bool = True) -> bytes:
    """One element; numbers are packed by the VR, strings padded, bytes taken as they are."""
    order = "<" if little else ">"
    if vr in _FORMATS and not isinstance(value, bytes):
        values = value if isinstance(value, Sequence) else [value]
        data = struct.pack(f"{order}{len(values)}{_FORMATS[vr]}", *values)
    elif isinstance(value, bytes):
        data = value
    else:
        data = str(value).encode("ascii")
        data += b" " * (len(data) % 2)
    head = struct.pack(order + "HH", tag >> 16, tag & 0xFFFF)
    if not explicit:
        return head + struct.pack(order + "I", len(data)) + data
    if vr in _LONG:
        return head + vr.encode() + b"\0\0" + struct.pack(order + "I", len(data)) + data
    return head + vr.encode() + struct.pack(order + "H", len(data)) + data


def sequence(tag: int, *items: bytes) -> bytes:
    """A sequence of defined lengths, explicit little endian."""
    return element(tag, "SQ", b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item for item in items))


def fragments(table: bytes, *parts: bytes, delimiter: bool = True) -> bytes:
    """The value of encapsulated Pixel Data: offset table, fragments (padded to even length), delimiter."""
    data = b"".join(
        struct.pack("<HHI", 0xFFFE, 0xE000, len(part) + len(part) % 2) + part + b"\0" * (len(part) % 2)
        for part in (table, *parts)
    )
    return data + (struct.pack("<HHI", 0xFFFE, 0xE0DD, 0) if delimiter else b"")


def encapsulated(table: bytes, *parts: bytes, delimiter: bool = True) -> bytes:
    """The whole Pixel Data element, of undefined length."""
    return b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + fragments(table, *parts, delimiter=delimiter)


def offset_table(*parts: bytes) -> bytes:
    """A true Basic Offset Table for frames of one fragment each."""
    offsets, at = [], 0
    for part in parts:
        offsets.append(at)
        at += 8 + len(part) + len(part) % 2
    return struct.pack(f"<{len(offsets)}I", *offsets)


def data_set(
    pixels: bytes,
    *,
    rows: int = 4,
    columns: int = 6,
    samples: int = 1,
    allocated: int = 8,
    stored: int | None = None,
    high: int | None = None,
    signed: int = 0,
    photometric: str = "MONOCHROME2",
    planar: int | None = None,
    frames: int | None = None,
    extra: bytes = b"",
    last: bytes = b"",
    little: bool = True,
    explicit: bool = True,
) -> bytes:
    """A data set of Image Pixel attributes. `pixels` is a whole element, or the value of native Pixel Data (OW).

    `extra` holds elements to stand before them (it is put where its first tag belongs only if that is after 0028,0103),
    `last` elements just before Pixel Data.
    """
    stored = allocated if stored is None else stored
    rest: list[tuple[int, str, object]] = [
        (0x00280002, "US", samples),
        (0x00280004, "CS", photometric),
    ]
    if planar is not None:
        rest.append((0x00280006, "US", planar))
    if frames is not None:
        rest.append((0x00280008, "IS", frames))
    rest += [
        (0x00280010, "US", rows),
        (0x00280011, "US", columns),
        (0x00280100, "US", allocated),
        (0x00280101, "US", stored),
        (0x00280102, "US", (stored - 1) & 0xFFFF if high is None else high),
        (0x00280103, "US", signed),
    ]
    head = b"".join(element(tag, vr, value, little=little, explicit=explicit) for tag, vr, value in rest)
    if pixels[:4] not in (b"\xe0\x7f\x10\x00", b"\xe0\x7f\x08\x00", b"\xe0\x7f\x09\x00"):
        pixels = element(0x7FE00010, "OW", pixels, little=little, explicit=explicit)
    return head + extra + last + pixels


def image(data: bytes, transfer_syntax: str = EXPLICIT, limits: Limits = DEFAULT_LIMITS) -> Image:
    """The Image of a bare data set."""
    return Image.of(data, transfer_syntax, 0, limits)


def gradient(rows: int, columns: int, samples: int, bits: int, *, signed: bool = False, seed: int = 7) -> np.ndarray:
    """A smooth picture with some noise that uses the whole range of `bits`, in the smallest dtype."""
    rng = np.random.default_rng(seed)
    ramp = np.add.outer(np.linspace(0, 0.7, rows), np.linspace(0, 0.3, columns))
    values = np.stack([np.roll(ramp, 3 * s, axis=1) for s in range(samples)], axis=-1)
    values = np.rint(values * ((1 << bits) - 1)).astype(np.int64) + rng.integers(0, 3, values.shape)
    values = np.clip(values, 0, (1 << bits) - 1)
    values[0, 0], values[-1, -1] = 0, (1 << bits) - 1
    if signed:
        values -= 1 << (bits - 1)
    size = 1 if bits <= 8 else 2 if bits <= 16 else 4
    result = values.astype(f"{'i' if signed else 'u'}{size}")
    return result[..., 0] if samples == 1 else result
