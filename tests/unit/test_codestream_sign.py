"""JPEG 2000 codestreams of signed samples under Pixel Representation 0: the numbers below zero do not wrap around."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest

from isocenter.pixels.codecs import CODECS
from isocenter.pixels.image import Image
from isocenter.pixels.render import render
from isocenter.pixels.transcode import Wanted, can_transcode, loses, native_frame, transcoded
from isocenter.wire.limits import DEFAULT_LIMITS
from pixel_objects import EXPLICIT, HTJ2K, J2K, RLE, data_set, element, encapsulated, gradient, image

SIGN = "codestream samples are signed, Pixel Representation is 0"
PADDING = element(0x00280120, "US", 0xF800)  # -2048 in 16 bits
CT = gradient(20, 30, 1, 12, signed=True).astype(np.int16)


def codestream(pixels: np.ndarray, **options: object) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(pixels, level=0, reversible=True, **{"codecformat": "J2K"} | options))


def ct(*parts: bytes, syntax: str = J2K, signed: int = 0, **options: object) -> Image:
    described = {"rows": 20, "columns": 30, "allocated": 16, "stored": 16} | options
    return image(data_set(encapsulated(b"", *parts), signed=signed, **described), syntax)


def test_the_codestreams_sign_is_followed_and_told() -> None:
    found = ct(codestream(CT))
    np.testing.assert_array_equal(found.frame(1), CT)
    assert found.frame(1).dtype == np.int16
    assert found.pixel_representation == 1
    assert found.flags == {"signed-codestream"}
    assert found.decode(1).warnings == (SIGN,)


def test_nothing_is_told_where_the_header_says_so_too() -> None:
    found = ct(codestream(CT), signed=1)
    np.testing.assert_array_equal(found.frame(1), CT)
    assert not found.flags
    assert found.decode(1).warnings == ()


def test_under_an_unsigned_codestream_the_headers_sign_stands() -> None:
    """As scanners write it: 65535 next to 0 is -1."""
    found = ct(codestream(CT.view(np.uint16)), signed=1)
    np.testing.assert_array_equal(found.frame(1), CT)
    assert not found.flags
    assert len(found.decode(1).warnings) == 1


@pytest.mark.parametrize("cut", [4, 42, 200])
def test_in_the_first_of_several_fragments(cut: int) -> None:
    data = codestream(CT)
    np.testing.assert_array_equal(ct(data[:cut], data[cut:]).frame(1), CT)


def test_in_a_jp2_file_and_in_high_throughput() -> None:
    np.testing.assert_array_equal(ct(codestream(CT, codecformat="JP2")).frame(1), CT)
    found = ct(bytes(imagecodecs.htj2k_encode(CT, reversible=True)), syntax=HTJ2K)
    np.testing.assert_array_equal(found.frame(1), CT)


def test_colours_have_no_sign() -> None:
    """It is a label on the same bytes there: nothing else can be meant by a colour below zero."""
    colours = gradient(20, 30, 3, 8)
    data = codestream(colours.view(np.int8), mct=False)
    found = ct(data, samples=3, photometric="RGB", planar=0, allocated=8, stored=8)
    np.testing.assert_array_equal(found.frame(1), colours)


@pytest.mark.parametrize("data", [b"", b"\xff\x4f\xff\x51", b"\xff\x4f\xff\x51" + b"\xff" * 20, b"\0\0\0\x0cjP  " * 9])
def test_a_codestream_that_ends_early_has_no_sign(data: bytes) -> None:
    assert not ct(data).layout.signed


def test_the_picture_is_that_of_a_true_header() -> None:
    """Window, padding and range go by the sign."""
    extra = PADDING + element(0x00281050, "DS", "40") + element(0x00281051, "DS", "400")
    wrong, right = (ct(codestream(CT), signed=sign, extra=extra) for sign in (0, 1))
    np.testing.assert_array_equal(render(wrong), render(right))
    for one in (wrong, right):
        assert render(one)[CT < -160].max() == 0


TARGETS = [uid for uid in CODECS if can_transcode(J2K, uid) and not loses(J2K, uid)]


@pytest.mark.parametrize("target", TARGETS, ids=[CODECS[uid].name for uid in TARGETS])
def test_what_is_made_of_it_has_a_true_header(target: str) -> None:
    source = data_set(
        encapsulated(b"", codestream(CT)), rows=20, columns=30, allocated=16, stored=16, signed=0, extra=PADDING
    )
    made = image(b"".join(transcoded(source, 0, J2K, Wanted(target), DEFAULT_LIMITS)), target)
    assert made.attributes.integer(0x00280103) == (0 if target == J2K else 1)  # the same syntax: the same bytes
    np.testing.assert_array_equal(made.frame(1), CT)
    if target not in (J2K, "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99"):
        assert made.attributes.integers(0x00280120) == (-2048,)


def test_frames_of_other_precision_are_said_to_be_so() -> None:
    deep = gradient(20, 30, 1, 14)
    found = ct(codestream(deep, bitspersample=14), allocated=16, stored=12)
    data, said = native_frame(found, 1)
    np.testing.assert_array_equal(np.frombuffer(data, "<u2").reshape(20, 30), deep)
    assert said == {"BitsAllocated": 16, "BitsStored": 14, "HighBit": 13, "PixelRepresentation": 0}
    shallow = ct(codestream(deep >> 4, bitspersample=10), allocated=16, stored=12)
    assert native_frame(shallow, 1)[1] == {}, "the header's twelve bits hold ten"
    at_the_top = ct(codestream(deep >> 2, bitspersample=12), allocated=16, stored=12, high=15)
    assert native_frame(at_the_top, 1)[1]["HighBit"] == 11
    assert native_frame(ct(codestream(CT)), 1)[1]["PixelRepresentation"] == 1


def test_native_and_rle_frames_have_nothing_said_of_them() -> None:
    native = image(data_set(CT.tobytes(), rows=20, columns=30, allocated=16, stored=16, signed=1), EXPLICIT)
    assert native_frame(native, 1)[1] == {}
    packed = b"".join(
        transcoded(
            data_set(CT.tobytes(), rows=20, columns=30, allocated=16, stored=16, signed=1), 0, EXPLICIT, Wanted(RLE),
            DEFAULT_LIMITS,
        )
    )  # fmt: skip
    assert native_frame(image(packed, RLE), 1) == (CT.tobytes(), {})
