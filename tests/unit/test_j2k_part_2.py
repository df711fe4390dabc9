"""JPEG 2000 Part 2: what uses nothing of it is read, and what it adds is refused and never left out."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from isocenter.errors import CodecMissing
from isocenter.pixels.codecs import decode, encode
from isocenter.pixels.layout import Layout
from pixel_objects import HTJ2K, J2K, gradient

GREY, COLOUR = Layout(20, 30, 1, 16, 12, 11), Layout(20, 30, 3, photometric="RGB")


def test_a_part_2_codestream_that_uses_nothing_of_part_2() -> None:
    pixels = gradient(20, 30, 1, 12)
    data = bytearray(encode(J2K, pixels, GREY))
    data[6:8] = b"\x80\x00"  # Rsiz: extensions of Part 2 may be there (T.801 A.1)
    result = decode("1.2.840.10008.1.2.4.92", bytes(data), GREY)
    np.testing.assert_array_equal(result.pixels, pixels)


@pytest.mark.parametrize("marker", [0xFF74, 0xFF75, 0xFF77, 0xFF78, 0xFF70, 0xFF72, 0xFF76, 0xFF79])
@pytest.mark.parametrize("uid", [J2K, HTJ2K, "1.2.840.10008.1.2.4.92"])
def test_what_part_2_adds_is_refused_and_not_left_out(uid: str, marker: int) -> None:
    """OpenJPEG skips these segments and decodes as if they changed nothing."""
    pixels = gradient(20, 30, 3, 8)
    data = bytearray(encode(HTJ2K if uid == HTJ2K else J2K, pixels, COLOUR))
    data[6] |= 0x80
    start = data.index(b"\xff\x90")
    data[start:start] = struct.pack(">HH", marker, 8) + bytes(6)
    with pytest.raises(CodecMissing, match=f"extension of JPEG 2000 Part 2 .marker {marker:04X}"):
        decode(uid, bytes(data), COLOUR)


def test_a_component_transform_of_part_2_is_refused() -> None:
    pixels = gradient(20, 30, 3, 8)
    data = bytearray(encode(J2K, pixels, COLOUR))
    data[data.index(b"\xff\x52") + 8] = 2  # array-based (T.801 Table A.14)
    with pytest.raises(CodecMissing, match="component transform of JPEG 2000 Part 2"):
        decode("1.2.840.10008.1.2.4.93", bytes(data), COLOUR)
