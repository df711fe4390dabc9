"""Builders of data set bytes for tests: every header written by hand, so that any of them can be wrong."""

from __future__ import annotations

from struct import pack

LONG = ("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV")
UNDEFINED = 0xFFFFFFFF


def explicit(tag: int, vr: str, value: bytes = b"", *, length: int | None = None, order: str = "<") -> bytes:
    """An element with an explicit VR; `length` may lie."""
    size = len(value) if length is None else length
    head = pack(f"{order}HH2s", tag >> 16, tag & 0xFFFF, vr.encode("latin_1"))
    if vr in LONG:
        return head + pack(f"{order}HI", 0, size) + value
    return head + pack(f"{order}H", size) + value


def implicit(tag: int, value: bytes = b"", *, length: int | None = None, order: str = "<") -> bytes:
    """An element with an implicit VR; also items and delimiters in any encoding."""
    return pack(f"{order}HHI", tag >> 16, tag & 0xFFFF, len(value) if length is None else length) + value


def item(*elements: bytes, undefined: bool = False, order: str = "<") -> bytes:
    """A sequence item."""
    content = b"".join(elements)
    if undefined:
        return implicit(0xFFFEE000, length=UNDEFINED, order=order) + content + implicit(0xFFFEE00D, order=order)
    return implicit(0xFFFEE000, content, order=order)


def sequence(tag: int, *items: bytes, undefined: bool = False, order: str = "<", vr: str = "SQ") -> bytes:
    """An explicit VR sequence of ready items."""
    content = b"".join(items)
    if undefined:
        return explicit(tag, vr, content, length=UNDEFINED, order=order) + implicit(0xFFFEE0DD, order=order)
    return explicit(tag, vr, content, order=order)


def encapsulated(*fragments: bytes, table: bytes = b"", tag: int = 0x7FE00010, vr: str = "OB") -> bytes:
    """Encapsulated pixel data."""
    return (
        explicit(tag, vr, length=UNDEFINED)
        + implicit(0xFFFEE000, table)
        + b"".join(implicit(0xFFFEE000, fragment) for fragment in fragments)
        + implicit(0xFFFEE0DD)
    )


NAME = explicit(0x00100010, "PN", b"Doe^John")
MODALITY = explicit(0x00080060, "CS", b"CT")
PIXELS = explicit(0x7FE00010, "OW", bytes(range(16)))
